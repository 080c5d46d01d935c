"""What calls cost: by day, model, step, project, user, provider and outcome, in one pass over their rows.

What a call counts as is what the budgets count: its cost, or where that is not known the worst case that
was reserved for it. A call without either is unpriced: it is counted, and its cost said to be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, TextClause, text

from blocks.database import database_errors
from schemas.errors import BadInput
from tasks.ledger.budgets import BudgetState, zone
from tasks.ledger.limits import list_budgets
from tasks.ledger.session import open_ledger

Dimension = Literal["model", "step", "project", "user", "provider", "day", "outcome"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
ONE_DAY = timedelta(days=1)
EARLIEST = date(2000, 1, 1)
"""No call is older; ids of moments before 1970 do not sort."""


class CostLine(BaseModel):
    """What some calls came to.

    Attributes:
        key: what the calls have in common; None for calls without a user, and for all together.
        calls: made, those in flight included, replays not.
        spent_usd: cost of the calls that are over; None where calls were made and no cost is known of any.
        at_worst_usd: the part of it that is a worst case, because the outcome or the usage is not known.
        unpriced_calls: calls without a known price, of which `spent_usd` has nothing.
        failed_usd, unknown_usd: the parts of `spent_usd` of calls that failed, and whose outcome nobody knows.
        open_usd: reserved by calls in flight; not in `spent_usd`.
        replays: uses of a stored answer, which cost nothing.
        saved_usd: what these answers had cost; None where no price is known of any.
        input_tokens, output_tokens: of the calls, replays not among them.
    """

    model_config = ConfigDict(frozen=True)

    key: str | None = None
    calls: int
    spent_usd: Decimal | None
    at_worst_usd: Decimal
    unpriced_calls: int
    failed_calls: int
    failed_usd: Decimal
    unknown_calls: int
    unknown_usd: Decimal
    open_calls: int
    open_usd: Decimal
    replays: int
    saved_usd: Decimal | None
    input_tokens: int
    output_tokens: int


class CostGroup(BaseModel):
    """Lines by one dimension, the most expensive first; days in order."""

    model_config = ConfigDict(frozen=True)

    by: Dimension
    lines: tuple[CostLine, ...]


class DayCost(BaseModel):
    """What was spent on one day: 0 without calls, None where no cost is known of any."""

    model_config = ConfigDict(frozen=True)

    day: date
    spent_usd: Decimal | None


class CostReport(BaseModel):
    """Costs of the days `since` to `until`, both included, beside those of today and of this month.

    Attributes:
        timezone: whose midnights begin the days.
        total: of the days of the report; `outcomes` are its parts, by what became of the calls.
        days: each of these days, in order.
        limits: of projects and users, in their present periods.
    """

    model_config = ConfigDict(frozen=True)

    timezone: str
    since: date
    until: date
    present_day: date
    today: CostLine
    month: CostLine
    total: CostLine
    outcomes: tuple[CostLine, ...]
    days: tuple[DayCost, ...]
    groups: tuple[CostGroup, ...]
    limits: tuple[BudgetState, ...]

    @property
    def month_began(self) -> date:
        """The first day of this month."""
        return self.present_day.replace(day=1)


@dataclass(frozen=True)
class _Selection:
    """Which calls: of these days, of this project and user where one is named."""

    since: date
    until: date
    timezone: str
    project: str | None
    user: str | None

    def parameters(self) -> dict[str, Any]:
        """For `_lines_by`; the midnights that begin each day and the one that ends the last."""
        days = (self.until - self.since).days + 1
        named = zone(self.timezone)
        midnights = [datetime.combine(self.since + n * ONE_DAY, time.min, named) for n in range(days + 1)]
        return {
            "midnights": midnights,
            "begin": midnights[0],
            "end": midnights[-1],
            "project": self.project,
            "user": self.user,
        }


_COLUMNS: Mapping[Dimension, str] = {
    "model": "coalesce(answered_model, model)",
    "step": "coalesce(purpose, kind)",
    "project": "project",
    "user": "user_id",
    "provider": "provider",
    "day": "width_bucket(created_at, CAST(:midnights AS timestamptz[]))",
    "outcome": "status",
}


# An id is made before its row, perhaps long before, and by another clock: a day of slack still spares other months.
_ALIKE = """
    SELECT {columns}, status,
           count(*) AS calls,
           count(*) FILTER (WHERE cost_usd IS NULL AND reserved_usd IS NULL) AS unpriced,
           sum(coalesce(cost_usd, reserved_usd)) AS usd,
           sum(reserved_usd) FILTER (WHERE cost_usd IS NULL) AS at_worst_usd,
           sum(saved_usd) AS saved_usd, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
    FROM llm_requests
    WHERE id >= lowest_id_at(CAST(:begin AS timestamptz) - interval '1 day')
      AND id < lowest_id_at(CAST(:end AS timestamptz) + interval '1 day')
      AND created_at >= :begin AND created_at < :end AND cardinality(CAST(:midnights AS timestamptz[])) > 0
      AND (CAST(:project AS text) IS NULL OR project = :project)
      AND (CAST(:user AS text) IS NULL OR user_id = :user)
    GROUP BY {names}, status
"""
_LINES = """
    WITH alike AS MATERIALIZED ({alike})
    SELECT CASE 0 {dimensions} END AS dimension, coalesce({keys}) AS key,
           sum(calls) FILTER (WHERE status <> 'replayed') AS calls,
           sum(usd) FILTER (WHERE status NOT IN ('replayed', 'reserved')) AS spent_usd,
           sum(at_worst_usd) FILTER (WHERE status NOT IN ('replayed', 'reserved')) AS at_worst_usd,
           sum(unpriced) FILTER (WHERE status NOT IN ('replayed', 'reserved')) AS unpriced_calls,
           sum(calls) FILTER (WHERE status = 'failed') AS failed_calls,
           sum(usd) FILTER (WHERE status = 'failed') AS failed_usd,
           sum(calls) FILTER (WHERE status = 'unknown') AS unknown_calls,
           sum(usd) FILTER (WHERE status = 'unknown') AS unknown_usd,
           sum(calls) FILTER (WHERE status = 'reserved') AS open_calls,
           sum(usd) FILTER (WHERE status = 'reserved') AS open_usd,
           sum(calls) FILTER (WHERE status = 'replayed') AS replays,
           sum(saved_usd) FILTER (WHERE status = 'replayed') AS saved_usd,
           sum(input_tokens) FILTER (WHERE status <> 'replayed') AS input_tokens,
           sum(output_tokens) FILTER (WHERE status <> 'replayed') AS output_tokens
    FROM alike
    GROUP BY GROUPING SETS ((), {sets})
    ORDER BY spent_usd DESC NULLS LAST, key
"""


@lru_cache
def _lines_by(dimensions: frozenset[Dimension]) -> TextClause:
    """SQL for the lines of `dimensions`, and of all calls together: one pass over the rows, then sums of its sums."""
    listed = sorted(dimensions)
    names = [f"by_{name}" for name in listed]
    columns = ", ".join(f"{_COLUMNS[name]} AS by_{name}" for name in listed)
    return text(
        _LINES.format(
            alike=_ALIKE.format(columns=columns, names=", ".join(names)),
            dimensions=" ".join(f"WHEN grouping(by_{name}) THEN '{name}'" for name in listed),
            keys=", ".join(f"CAST({name} AS text)" for name in names),
            sets=", ".join(f"({name})" for name in names),
        )
    )


_Lines = dict[str | None, list[CostLine]]


async def read_costs(
    *,
    since: date | None = None,
    until: date | None = None,
    by: Sequence[Dimension] = ("model", "step", "project", "user"),
    project: str | None = None,
    user: str | None = None,
) -> CostReport:
    """What calls cost, on days of the time zone whose midnight begins a day of the budgets.

    Args:
        since: first day; that of the month of `until` by default.
        until: last day; today by default, and at most.
        by: what the lines are grouped by.
        project, user: only calls of this project, or for this user.

    Raises:
        BadInput: the days are in the wrong order or in the future.
    """
    async with open_ledger() as ledger:
        timezone = ledger.settings.budget_timezone
        today = datetime.now(UTC).astimezone(zone(timezone)).date()
        first, last = _check_days(since, until, today)
        chosen = _Selection(first, last, timezone, project, user)
        month = _Selection(today.replace(day=1), today, timezone, project, user)
        with database_errors():
            async with ledger.engine.connect() as connection:
                lines = await connection.run_sync(_read, chosen, by)
                present = lines if chosen == month else await connection.run_sync(_read, month, ())
        states = await list_budgets(unset=True)
    by_day = {line.key: line for line in lines.get("day", [])}
    days = [first + n * ONE_DAY for n in range((last - first).days + 1)]
    return CostReport(
        timezone=timezone,
        since=first,
        until=last,
        present_day=today,
        today=next((line for line in present.get("day", []) if line.key == today.isoformat()), _NOTHING),
        month=present[None][0],
        total=lines[None][0],
        outcomes=tuple(lines.get("outcome", [])),
        days=tuple(DayCost(day=day, spent_usd=by_day.get(day.isoformat(), _NOTHING).spent_usd) for day in days),
        groups=tuple(CostGroup(by=dimension, lines=tuple(lines.get(dimension, []))) for dimension in by),
        limits=tuple(state for state in states if _concerns(state, project, user)),
    )


def _check_days(since: date | None, until: date | None, today: date) -> tuple[date, date]:
    last = min(until or today, today)
    first = since or last.replace(day=1)
    if first > today:
        raise BadInput(f"--since {first} is in the future; today is {today}")
    if first > last:
        raise BadInput(f"--since {first} is after --until {last}")
    if first < EARLIEST:
        raise BadInput(f"--since {first} is before {EARLIEST}, and no call is so old")
    return first, last


def _read(connection: Connection, chosen: _Selection, by: Sequence[Dimension]) -> _Lines:
    """The lines of each dimension of `by`, of days and outcomes, and under None that of all calls.

    Users are read by themselves: there may be so many that sums by user and all the rest would not be few.
    """
    found: _Lines = {}
    together: frozenset[Dimension] = frozenset({"day", "outcome", *by})
    for dimensions in (together - {"user"}, together & {"user"}):
        if not dimensions:
            continue
        for row in connection.execute(_lines_by(dimensions), chosen.parameters()).mappings():
            found.setdefault(row["dimension"], []).append(_line(row, chosen.since))
    if "day" in found:
        found["day"].sort(key=lambda line: line.key or "")
    return found


def _line(row: Any, since: date) -> CostLine:
    """A line of the report; an empty sum is 0, but what is spent on calls of unknown price is unknown."""
    settled = (row["calls"] or 0) - (row["open_calls"] or 0)
    known = row["spent_usd"] is not None or settled == 0
    filled = {name: row[name] or 0 for name in CostLine.model_fields if name not in _MAY_BE_UNKNOWN}
    return CostLine(
        key=(since + (int(row["key"]) - 1) * ONE_DAY).isoformat() if row["dimension"] == "day" else row["key"],
        spent_usd=(row["spent_usd"] or Decimal(0)) if known else None,
        saved_usd=row["saved_usd"] if row["replays"] else Decimal(0),
        **filled,
    )


_MAY_BE_UNKNOWN = {"key", "spent_usd", "saved_usd"}
_NOTHING = CostLine(
    spent_usd=Decimal(0),
    saved_usd=Decimal(0),
    **dict.fromkeys(CostLine.model_fields.keys() - _MAY_BE_UNKNOWN, 0),
)


def _concerns(state: BudgetState, project: str | None, user: str | None) -> bool:
    """True for the limits that bear on the calls reported: all but runs' own where nobody is named."""
    if project is None and user is None:
        return state.scope_kind != "run"
    return (state.scope_kind, state.scope_id) in {("project", project), ("user", user)}
