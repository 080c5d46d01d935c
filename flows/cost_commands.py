"""The commands about money: `headrace budget` and `headrace costs`."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import Json

budget = App(name="budget", help="Limits on what may be spent.")

Dimension = Literal["model", "step", "project", "user", "provider", "day", "outcome"]
DIMENSIONS: list[Dimension] = ["model", "step", "project", "user"]


@budget.command(name="set")
def budget_set(
    *,
    project: str = "",
    user: str = "",
    run: UUID | None = None,
    day: str | None = None,
    month: str | None = None,
    total: str | None = None,
    warn_day: str | None = None,
    warn_month: str | None = None,
    warn_total: str | None = None,
    json: Json = False,
) -> int:
    """Set what a project, user or run may spend; `none` takes a limit away.

    What does not fit a limit is refused. A soft limit (`--warn-…`) refuses nothing: that it was reached is said
    once a period, and kept on record.

    Parameters
    ----------
    project
        Project the limits are for; HEADRACE_PROJECT when no user and no run is given.
    user
        User the limits are for.
    run
        Run the limits are for; HEADRACE_RUN_BUDGET_USD limits every new run.
    day
        US dollars a day, or `none`.
    month
        US dollars a month, or `none`.
    total
        US dollars the run may spend, or `none`.
    warn_day
        US dollars a day from which on it is said, or `none`.
    warn_month
        US dollars a month from which on it is said, or `none`.
    warn_total
        US dollars of the run from which on it is said, or `none`.
    """
    from flows.presentation import show_budgets
    from tasks.ledger.limits import set_budgets

    hard = {"day": day, "month": month, "total": total}
    soft = {"warn_day": warn_day, "warn_month": warn_month, "warn_total": warn_total}
    return show_budgets(asyncio.run(set_budgets(project=project, user=user, run=run, **hard, **soft)), as_json=json)


@budget.command(name="show")
def budget_show(*, json: Json = False) -> int:
    """The limits, those that are not set included, and what is used of them."""
    from flows.presentation import show_budgets
    from tasks.ledger.limits import list_budgets

    return show_budgets(asyncio.run(list_budgets(unset=True)), as_json=json)


def costs(
    *,
    since: date | None = None,
    until: date | None = None,
    by: Annotated[list[Dimension], Parameter(negative="")] = DIMENSIONS,
    project: str | None = None,
    user: str | None = None,
    csv: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    rebuild: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """What calls cost: today and this month beside the limits, then by model, step, project and user.

    Parameters
    ----------
    since
        First day, as 2026-03-01; the first of the month when not given. Days are those of HEADRACE_BUDGET_TIMEZONE.
    until
        Last day, included; today when not given.
    by
        What costs are added up by; several can be given.
    project
        Only calls of this project.
    user
        Only calls for this user.
    csv
        A file the sums by `--by` are written to; - for standard output.
    rebuild
        Instead of showing costs, recompute the counters of the budgets from the calls and say which were wrong.
    """
    from flows.cost_report import show_costs, show_rebuild

    if rebuild:
        from tasks.ledger.rebuild import rebuild_usage

        return show_rebuild(asyncio.run(rebuild_usage()), as_json=json)
    from tasks.ledger.costs import read_costs

    report = asyncio.run(read_costs(since=since, until=until, by=by, project=project, user=user))
    return show_costs(report, as_json=json, csv_to=csv)
