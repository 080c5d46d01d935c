"""Budgets as people set and read them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import BadInput
from tasks.ledger.budgets import CENT_FRACTION, MOST_USD, ZERO, BudgetState, Period, ScopeKind, period_start
from tasks.ledger.session import open_ledger

_SET = text("""
    INSERT INTO budgets (scope_kind, scope_id, period, limit_usd) VALUES (:kind, :scope, :period, :limit)
    ON CONFLICT (scope_kind, scope_id, period)
    DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = clock_timestamp()
""")
_UNSET = text("DELETE FROM budgets WHERE scope_kind = :kind AND scope_id = :scope AND period = :period")
_STATES = text("""
    SELECT budgets.scope_kind, budgets.scope_id, budgets.period, present.start AS period_start, budgets.limit_usd,
           coalesce(usage.reserved_usd, 0) AS reserved_usd, coalesce(usage.spent_usd, 0) AS spent_usd
    FROM budgets
    JOIN unnest(CAST(:periods AS text[]), CAST(:starts AS date[])) AS present(period, start) USING (period)
    LEFT JOIN budget_usage AS usage
        ON (usage.scope_kind, usage.scope_id, usage.period, usage.period_start)
         = (budgets.scope_kind, budgets.scope_id, budgets.period, present.start)
    ORDER BY 1, 2, 3
""")


async def set_budgets(
    *, project: str = "", user: str = "", day: str | None = None, month: str | None = None
) -> list[BudgetState]:
    """The limits of a project or a user are as given; returns all limits.

    Args:
        project: the configured project when neither it nor `user` is given.
        day, month: US dollars, `none` for no limit, None to leave it as it is.

    Raises:
        BadInput: an amount is no number of dollars, or none is given.
    """
    if day is None and month is None:
        raise BadInput("give --day or --month, in US dollars, or `none` to take a limit away")
    if project and user:
        raise BadInput("a budget is for a project or for a user, not for both at once")
    amounts: dict[Period, Decimal | None] = {}
    for period, said in (("day", day), ("month", month)):
        if said is not None:
            amounts["day" if period == "day" else "month"] = parse_amount(said, f"--{period}")
    async with open_ledger() as ledger:
        kind: ScopeKind = "user" if user else "project"
        scope = user or project or ledger.settings.project
        with database_errors():
            async with ledger.engine.begin() as connection:
                await connection.run_sync(_write, kind, scope, amounts)
    return await list_budgets()


def _write(connection: Connection, kind: ScopeKind, scope: str, amounts: dict[Period, Decimal | None]) -> None:
    for period, limit in amounts.items():
        values = {"kind": kind, "scope": scope, "period": period, "limit": limit}
        connection.execute(_UNSET if limit is None else _SET, values)


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


async def list_budgets() -> list[BudgetState]:
    """Every limit that is set, with what is reserved and spent in its present period."""
    async with open_ledger() as ledger:
        now, timezone = datetime.now(UTC), ledger.settings.budget_timezone
        periods: tuple[Period, ...] = ("day", "month", "total")
        starts = [period_start(period, now, timezone) for period in periods]
        with database_errors():
            async with ledger.engine.connect() as connection:
                found = await connection.execute(_STATES, {"periods": list(periods), "starts": starts})
                return [BudgetState(**row) for row in found.mappings()]
