"""What the variable MAX_DAILY_LLM_COST asks for, as a budget.

It is the daily budget of the configured project wherever nobody has set that one with `headrace budget set`. Such a
budget is told from one that was set by `updated_at`: nobody set it at any time, which is written as the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors
from schemas.settings import Settings
from tasks.ledger.budgets import CENT_FRACTION

SET_BY_NOBODY = datetime(1970, 1, 1, tzinfo=UTC)

_HOLD = text("""
    INSERT INTO budgets (scope_kind, scope_id, period, limit_usd, updated_at)
    VALUES ('project', :project, 'day', :limit, :nobody)
    ON CONFLICT (scope_kind, scope_id, period) DO UPDATE
    SET limit_usd = excluded.limit_usd, updated_at = excluded.updated_at
    WHERE budgets.limit_usd IS NULL
       OR budgets.updated_at = excluded.updated_at AND budgets.limit_usd <> excluded.limit_usd
""")
_READ = text("""
    SELECT limit_usd, updated_at FROM budgets
    WHERE scope_kind = 'project' AND scope_id = :project AND period = 'day' AND limit_usd IS NOT NULL
""")


@dataclass(frozen=True)
class DailyLimit:
    """What a project may spend a day; `by_variable` where nobody but MAX_DAILY_LLM_COST says so."""

    limit_usd: Decimal
    by_variable: bool


async def hold_daily_limit(engine: AsyncEngine, settings: Settings) -> None:
    """The project has the daily budget that MAX_DAILY_LLM_COST says, unless it has one that was set."""
    if settings.max_daily_llm_cost is None:
        return
    limit = settings.max_daily_llm_cost.quantize(CENT_FRACTION)
    with database_errors():
        async with engine.begin() as connection:
            await connection.execute(_HOLD, {"project": settings.project, "limit": limit, "nobody": SET_BY_NOBODY})


def read_daily_limit(connection: Connection, settings: Settings) -> DailyLimit | None:
    """What the project may spend a day; None where nothing limits it."""
    row = connection.execute(_READ, {"project": settings.project}).one_or_none()
    said = settings.max_daily_llm_cost
    if row is None or (said is not None and row.updated_at == SET_BY_NOBODY):
        return None if said is None else DailyLimit(said, by_variable=True)
    return DailyLimit(row.limit_usd, by_variable=False)
