"""The counters of the budgets, recomputed from the calls they count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from blocks.database import database_errors
from tasks.ledger.session import open_ledger


class CounterDifference(BaseModel):
    """A counter that was not what the calls come to; both amounts before and after the rebuild."""

    model_config = ConfigDict(frozen=True)

    scope_kind: str
    scope_id: str
    period: str
    period_start: date
    reserved_before_usd: Decimal
    reserved_usd: Decimal
    spent_before_usd: Decimal
    spent_usd: Decimal


class Rebuild(BaseModel):
    """What a rebuild found: how many counters there are, and those it had to put right."""

    model_config = ConfigDict(frozen=True)

    counters: int
    differences: tuple[CounterDifference, ...]


# Of two rebuilds at once the second sees what the first has put right.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(:key)")
REBUILD_LOCK = 0x48454145  # "HEAE"

# Calls and counters change in one transaction, and a statement sees all of a transaction or nothing: so what it finds
# between the two is wrong, whoever writes meanwhile. The calls of one project, user, run and day name the same
# counters: they are added up, by the text of that list, which compares quicker than its JSON, before it is opened.
_DIFFERENCES = text("""
    WITH alike AS (
        SELECT CAST(budget_scopes AS text) AS budget_scopes,
               sum(reserved_usd) FILTER (WHERE status = 'reserved') AS reserved_usd,
               sum(coalesce(cost_usd, reserved_usd)) FILTER (WHERE status <> 'reserved') AS spent_usd
        FROM llm_requests WHERE budget_scopes <> '[]' AND status <> 'replayed'
        GROUP BY 1
    ), counted AS (
        SELECT scope ->> 0 AS scope_kind, scope ->> 1 AS scope_id, scope ->> 2 AS period,
               CAST(scope ->> 3 AS date) AS period_start,
               coalesce(sum(alike.reserved_usd), 0) AS reserved_usd, coalesce(sum(alike.spent_usd), 0) AS spent_usd
        FROM alike CROSS JOIN jsonb_array_elements(CAST(alike.budget_scopes AS jsonb)) AS scope
        GROUP BY 1, 2, 3, 4
    )
    SELECT scope_kind, scope_id, period, period_start,
           coalesce(budget_usage.reserved_usd, 0) AS reserved_before_usd,
           coalesce(counted.reserved_usd, 0) AS reserved_usd,
           coalesce(budget_usage.spent_usd, 0) AS spent_before_usd,
           coalesce(counted.spent_usd, 0) AS spent_usd
    FROM counted FULL JOIN budget_usage USING (scope_kind, scope_id, period, period_start)
    WHERE (coalesce(counted.reserved_usd, 0), coalesce(counted.spent_usd, 0))
          <> (coalesce(budget_usage.reserved_usd, 0), coalesce(budget_usage.spent_usd, 0))
""")
# By how much it was wrong: calls have come and gone since. Rows are locked in the order of every transaction.
_PUT_RIGHT = text("""
    INSERT INTO budget_usage (scope_kind, scope_id, period, period_start, reserved_usd, spent_usd)
    SELECT * FROM unnest(
        CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[]),
        CAST(:reserved AS numeric[]), CAST(:spent AS numeric[]))
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (scope_kind, scope_id, period, period_start)
    DO UPDATE SET reserved_usd = budget_usage.reserved_usd + excluded.reserved_usd,
                  spent_usd = budget_usage.spent_usd + excluded.spent_usd
""")
_COUNT = text("SELECT count(*) FROM budget_usage")


async def rebuild_usage() -> Rebuild:
    """Every counter is what the calls that name it come to, in one transaction.

    Calls go on meanwhile: only those of a counter that is put right wait, for that one statement. A call counts
    where its `budget_scopes` say: in flight with what it reserved, afterwards with its cost, or with what it
    reserved where that is not known.

    Raises:
        DatabaseUnavailable: Postgres cannot be reached; nothing was changed.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(rebuild)


def rebuild(connection: Connection) -> Rebuild:
    """As `rebuild_usage`, in the transaction of `connection`, which holds no lock of the ledger yet."""
    connection.execute(_ONE_AT_A_TIME, {"key": REBUILD_LOCK})
    found = connection.execute(_DIFFERENCES).mappings()
    differences = tuple(sorted((CounterDifference(**row) for row in found), key=_place))
    if differences:
        connection.execute(_PUT_RIGHT, _columns(differences))
    return Rebuild(counters=connection.execute(_COUNT).scalar_one(), differences=differences)


def _place(item: CounterDifference) -> tuple[str, str, str, date]:
    return item.scope_kind, item.scope_id, item.period, item.period_start


def _columns(differences: Sequence[CounterDifference]) -> dict[str, list[Any]]:
    return {
        "kinds": [item.scope_kind for item in differences],
        "ids": [item.scope_id for item in differences],
        "periods": [item.period for item in differences],
        "starts": [item.period_start for item in differences],
        "reserved": [item.reserved_usd - item.reserved_before_usd for item in differences],
        "spent": [item.spent_usd - item.spent_before_usd for item in differences],
    }
