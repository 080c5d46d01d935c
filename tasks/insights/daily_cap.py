"""The daily cap of the keyword service: its old variable, as a budget of its project."""

from __future__ import annotations

import logging

from schemas.settings import Settings
from tasks.ledger.budgets import BudgetState
from tasks.ledger.limits import list_budgets, set_budgets

log = logging.getLogger(__name__)

PROJECT = "lexybrain"
CENTS = 100


async def hold_daily_cap(settings: Settings, project: str) -> BudgetState | None:
    """The project's budget for a day, as LEXYBRAIN_DAILY_COST_CAP says where that is set; None: nothing limits it.

    The variable holds for the project `lexybrain`; other projects have the budgets that were set for them.
    """
    cap = settings.lexybrain_daily_cost_cap if project == PROJECT else None
    budget = _of_the_day(await list_budgets(), project)
    if cap is not None and (budget is None or budget.limit_usd != cap / CENTS):
        budget = _of_the_day(await set_budgets(project=project, day=str(cap / CENTS)), project)
    if budget is None:
        log.info(
            "project %s has no daily cap (LEXYBRAIN_DAILY_COST_CAP, or `headrace budget set --project %s --day USD`)",
            project,
            project,
        )
    return budget


def _of_the_day(budgets: list[BudgetState], project: str) -> BudgetState | None:
    return next(
        (item for item in budgets if (item.scope_id, item.scope_kind, item.period) == (project, "project", "day")), None
    )
