"""Budgets as people set and read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import BadInput, NotFound
from tasks.ledger.budgets import CENT_FRACTION, MOST_USD, PERIODS, ZERO, BudgetState, ScopeKind, period_start
from tasks.ledger.daily_limit import SET_BY_NOBODY
from tasks.ledger.session import Ledger, open_ledger

MOST_RUNS = 20
"""Runs whose budgets are listed."""

_SET = text("""
    INSERT INTO budgets (scope_kind, scope_id, period, limit_usd, warn_usd)
    VALUES (:kind, :scope, :period, :limit, :warn)
    ON CONFLICT (scope_kind, scope_id, period) DO UPDATE
    SET limit_usd = CASE WHEN :limit_said THEN excluded.limit_usd ELSE budgets.limit_usd END,
        warn_usd = CASE WHEN :warn_said THEN excluded.warn_usd ELSE budgets.warn_usd END,
        updated_at = CASE WHEN :limit_said OR budgets.updated_at <> :nobody THEN clock_timestamp()
                          ELSE budgets.updated_at END
    RETURNING limit_usd, warn_usd
""")
_UNSET = text("""
    DELETE FROM budgets
    WHERE scope_kind = :kind AND scope_id = :scope AND limit_usd IS NULL AND warn_usd IS NULL
""")
_HAS_RUN = text("SELECT EXISTS (SELECT FROM runs WHERE id = :run)")
# Of a project or user that has any limit, both periods are told; so are projects that spend without one. Every run may
# have a budget: of those that are not done, the latest are told.
_STATES = text("""
    WITH present AS (
        SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[]))
            AS present(scope_kind, period, period_start)
    ), scopes AS (
        SELECT scope_kind, scope_id FROM budgets WHERE scope_kind <> 'run'
        UNION (SELECT scope_kind, scope_id FROM budgets JOIN runs ON CAST(runs.id AS text) = scope_id
               WHERE scope_kind = 'run' AND runs.status <> 'completed' ORDER BY updated_at DESC LIMIT :runs)
        UNION SELECT scope_kind, scope_id FROM budget_usage JOIN present USING (scope_kind, period, period_start)
              WHERE scope_kind = 'project' AND period = 'month'
        UNION SELECT 'project', CAST(:project AS text)
    )
    SELECT scope_kind, scope_id, period, period_start, budgets.limit_usd, budgets.warn_usd,
           coalesce(budget_usage.reserved_usd, 0) AS reserved_usd, coalesce(budget_usage.spent_usd, 0) AS spent_usd,
           budget_alerts.alerted_at AS warned_at
    FROM scopes
    JOIN present USING (scope_kind)
    LEFT JOIN budgets USING (scope_kind, scope_id, period)
    LEFT JOIN budget_usage USING (scope_kind, scope_id, period, period_start)
    LEFT JOIN budget_alerts USING (scope_kind, scope_id, period, period_start, warn_usd)
    WHERE :unset OR budgets.scope_kind IS NOT NULL
    ORDER BY 1, 2, 3
""")


@dataclass(frozen=True)
class _Change:
    """What is to become of one budget; None for a limit that is taken away."""

    period: str
    limit_said: bool
    limit: Decimal | None
    warn_said: bool
    warn: Decimal | None

    @classmethod
    def of(cls, period: str, limit: str | None, warn: str | None) -> _Change:
        """What was said on the command line; None is what was not said."""
        return cls(
            period,
            limit is not None,
            None if limit is None else parse_amount(limit, f"--{period}"),
            warn is not None,
            None if warn is None else parse_amount(warn, f"--warn-{period}"),
        )


async def set_budgets(
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
) -> list[BudgetState]:
    """The limits of a project, user or run are as given; returns all limits.

    Amounts are US dollars, `none` for no limit, None to leave it as it is.

    Args:
        project: the configured project when no other scope is given.
        day, month: hard limits of a project or user: what does not fit is refused.
        total: the hard limit of a run.
        warn_day, warn_month, warn_total: soft limits: once so much is spent, that is said, once a period.

    Raises:
        BadInput: an amount is no number of dollars, none is given, it is for another kind of scope, or a
            soft limit is above the hard one, where it would never be reached.
        NotFound: there is no such run.
    """
    said = {"day": (day, warn_day), "month": (month, warn_month), "total": (total, warn_total)}
    kind = _kind_of(project, user, run)
    changes = _read_changes(kind, said)
    async with open_ledger() as ledger:
        scope = user or project or (str(run) if run else ledger.settings.project)
        with database_errors():
            async with ledger.engine.begin() as connection:
                await connection.run_sync(_write, kind, scope, changes)
    return await list_budgets()


def _kind_of(project: str, user: str, run: UUID | None) -> ScopeKind:
    if len([scope for scope in (project, user, run) if scope]) > 1:
        raise BadInput("a budget is for a project, for a user or for a run, not for both at once")
    return "run" if run else "user" if user else "project"


def _read_changes(kind: ScopeKind, said: dict[str, tuple[str | None, str | None]]) -> list[_Change]:
    changes = [_Change.of(period, *amounts) for period, amounts in said.items() if amounts != (None, None)]
    for change in changes:
        if change.period not in PERIODS[kind]:
            wanted = " or ".join(PERIODS[kind])
            raise BadInput(f"the budget of a {kind} is for its {wanted}: --{change.period} does not go with it")
    if not changes:
        options = " or ".join(f"--{period}" for period in PERIODS[kind])
        raise BadInput(
            f"give {options}, in US dollars, or `none` to take a limit away; "
            f"--warn-{PERIODS[kind][0]} and the like only say when so much is spent"
        )
    return changes


def _write(connection: Connection, kind: ScopeKind, scope: str, changes: list[_Change]) -> None:
    if kind == "run" and not connection.execute(_HAS_RUN, {"run": UUID(scope)}).scalar_one():
        raise NotFound(f"there is no run {scope}", run_id=scope)
    for change in changes:
        values: dict[str, Any] = {"kind": kind, "scope": scope, "nobody": SET_BY_NOBODY, **vars(change)}
        now = connection.execute(_SET, values).one()
        if now.limit_usd is not None and now.warn_usd is not None and now.warn_usd > now.limit_usd:
            raise BadInput(
                f"--warn-{change.period} of {now.warn_usd:f} USD is above the limit of {now.limit_usd:f} USD and would "
                f"never be reached"
            )
    connection.execute(_UNSET, {"kind": kind, "scope": scope})


def parse_amount(said: str, option: str) -> Decimal | None:
    """US dollars, or None for `none`.

    Raises:
        BadInput: it is neither a number from 0 on nor `none`.
    """
    if said.strip().lower() == "none":
        return None
    try:
        amount = Decimal(said.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not ZERO <= amount < MOST_USD:
        raise BadInput(f"{option} {said!r} is no amount of US dollars; write a number from 0 on, or none")
    return amount.quantize(CENT_FRACTION)


async def list_budgets(*, unset: bool = False) -> list[BudgetState]:
    """Every limit that is set, with what is reserved and spent in its present period; of runs, those still to do.

    Args:
        unset: also periods without a limit, of projects that spend and of whoever has another limit.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                found = await connection.execute(_STATES, {**_present(ledger), "unset": unset})
                return [BudgetState(**row) for row in found.mappings()]


def _present(ledger: Ledger) -> dict[str, Any]:
    """The periods that go on now, for each kind of scope."""
    now, timezone = datetime.now(UTC), ledger.settings.budget_timezone
    listed = [(kind, period) for kind, periods in PERIODS.items() for period in periods]
    return {
        "kinds": [kind for kind, _ in listed],
        "periods": [period for _, period in listed],
        "starts": [period_start(period, now, timezone) for _, period in listed],
        "project": ledger.settings.project,
        "runs": MOST_RUNS,
    }
