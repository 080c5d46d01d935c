"""Budgets: what a call reserves, against which limits, and when it does not fit.

`spent + reserved` never passes a limit. Each reservation names the `budget_usage` rows that hold it,
so that it is settled in the period it was made in, whenever that happens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from blocks.scripts import Reply, Script
from schemas.errors import ConfigurationError
from tasks.ledger.alerts import BudgetAlert, record_alerts

ScopeKind = Literal["project", "user", "run"]
Period = Literal["day", "month", "total"]
PERIODS: Mapping[str, tuple[Period, ...]] = {"project": ("day", "month"), "user": ("day", "month"), "run": ("total",)}
"""What limits are for, by kind of scope."""
ALL_TIME = date(1, 1, 1)
ZERO = Decimal(0)
MOST_USD = Decimal(10) ** 9
"""No amount reaches this; the tables hold ten times as much."""
CENT_FRACTION = Decimal("1e-10")
"""The smallest amount the tables hold; whatever is reserved or spent is a multiple of it, so that sums stay exact."""

COUNTED_USD = "CASE WHEN calls.status IN ('reserved', 'unknown') THEN calls.reserved_usd ELSE calls.cost_usd END"
"""SQL: what a row of `llm_requests AS calls` comes to, at worst where nobody knows; NULL where no price is known."""


class UsageKey(NamedTuple):
    """One row of `budget_usage`; ordered, because rows are locked in this order."""

    scope_kind: str
    scope_id: str
    period: str
    period_start: date

    def as_json(self) -> list[str]:
        """The form kept on the request's row."""
        return [self.scope_kind, self.scope_id, self.period, self.period_start.isoformat()]

    @classmethod
    def from_json(cls, parts: Sequence[str]) -> UsageKey:
        """The key that `as_json` wrote."""
        return cls(parts[0], parts[1], parts[2], date.fromisoformat(parts[3]))


class BudgetState(BaseModel):
    """A budget with what is used of it now; `limit_usd` and `warn_usd` are None where no such limit is set.

    Attributes:
        limit_usd: hard, what does not fit is refused.
        warn_usd: soft, that it was reached is said once a period.
        warned_at: when that was said in the present period.
    """

    model_config = ConfigDict(frozen=True)

    scope_kind: ScopeKind
    scope_id: str
    period: Period
    period_start: date
    limit_usd: Decimal | None
    warn_usd: Decimal | None = None
    reserved_usd: Decimal
    spent_usd: Decimal
    warned_at: datetime | None = None


@dataclass
class Usage:
    """Money of one period while its row is locked; `warn_usd` is a soft limit that nobody was told of yet."""

    limit_usd: Decimal | None
    reserved_usd: Decimal
    spent_usd: Decimal
    warn_usd: Decimal | None = None

    def fits(self, amount: Decimal) -> bool:
        """True when `amount` more can be reserved."""
        return self.limit_usd is None or self.spent_usd + self.reserved_usd + amount <= self.limit_usd

    def could_fit(self, amount: Decimal) -> bool:
        """True when `amount` would fit if every open reservation came to nothing."""
        return self.limit_usd is None or self.spent_usd + amount <= self.limit_usd

    def alert(self, key: UsageKey) -> BudgetAlert | None:
        """What is to be said of this period, if it has come to that."""
        if self.warn_usd is None or self.spent_usd < max(self.warn_usd, CENT_FRACTION):
            return None
        return BudgetAlert(**key._asdict(), warn_usd=self.warn_usd, spent_usd=self.spent_usd)


@dataclass(frozen=True)
class Reservation:
    """What a request holds, and in which budget rows."""

    amount: Decimal
    keys: tuple[UsageKey, ...]

    @classmethod
    def of(cls, reserved_usd: Decimal | None, budget_scopes: Sequence[Sequence[str]]) -> Reservation:
        """The reservation as the request's row has it."""
        return cls(reserved_usd or ZERO, tuple(UsageKey.from_json(parts) for parts in budget_scopes))

    def settle(self, was: str, spent_usd: Decimal | None, usage: Mapping[UsageKey, Usage]) -> None:
        """The money is spent instead of reserved; a row given up as `unknown` has it spent already.

        Args:
            was: status of the request until now.
            spent_usd: None for as much as was reserved.
            usage: the locked rows of `keys`.
        """
        spent = self.amount if spent_usd is None else spent_usd
        for key in self.keys:
            if was == "reserved":
                usage[key].reserved_usd -= self.amount
                usage[key].spent_usd += spent
            elif was == "unknown":
                usage[key].spent_usd += spent - self.amount


def zone(name: str) -> ZoneInfo:
    """The time zone whose midnight begins a day of the budget.

    Raises:
        ConfigurationError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"HEADRACE_BUDGET_TIMEZONE: there is no time zone {name!r}; use a name like Europe/Berlin"
        ) from error


def period_start(period: str, now: datetime, timezone: str) -> date:
    """The first day of the `period` that `now` falls in."""
    today = now.astimezone(zone(timezone)).date()
    match period:
        case "day":
            return today
        case "month":
            return today.replace(day=1)
    return ALL_TIME


def present() -> datetime:
    """The moment by which a call is counted in its periods; a batch has one, as a day may end while it is written."""
    return datetime.now(UTC)


def usage_keys(
    scopes: Iterable[tuple[str, str]], timezone: str, limits: Iterable[tuple[str, str, str]], now: datetime
) -> tuple[UsageKey, ...]:
    """The rows a call of these scopes (kind, id) is counted in: `PERIODS` always, others if limited.

    What is always counted is known when a limit is set in the middle of a period, or of a run.
    """
    mine = set(scopes)
    counted: set[tuple[str, str, str]] = {(*scope, period) for scope in mine for period in PERIODS[scope[0]]}
    counted |= {limit for limit in limits if limit[:2] in mine}
    return tuple(sorted(UsageKey(*scope, period_start(scope[2], now, timezone)) for scope in counted))


def possible_keys(scopes: Iterable[tuple[str, str]], timezone: str, now: datetime) -> set[UsageKey]:
    """All rows that a call of these scopes can be counted in, whatever limits are set."""
    starts = [(period, period_start(period, now, timezone)) for period in get_args(Period)]
    return {UsageKey(*scope, *start) for scope in scopes for start in starts}


LIMITS = text("""
    SELECT scope_kind, scope_id, period, limit_usd FROM budgets
    WHERE (scope_kind, scope_id) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])))
""")

MAKE_USAGE = text("""
    INSERT INTO budget_usage (scope_kind, scope_id, period, period_start)
    SELECT * FROM unnest(
        CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[]))
    ON CONFLICT DO NOTHING
""")

LOCK_USAGE = text("""
    SELECT scope_kind, scope_id, period, period_start, budget_usage.reserved_usd, budget_usage.spent_usd,
           CASE WHEN budget_alerts.warn_usd IS NULL THEN budgets.warn_usd END AS warn_usd
    FROM budget_usage
    LEFT JOIN budgets USING (scope_kind, scope_id, period)
    LEFT JOIN budget_alerts USING (scope_kind, scope_id, period, period_start, warn_usd)
    WHERE (scope_kind, scope_id, period, period_start) IN (SELECT * FROM
        unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[])))
    ORDER BY scope_kind, scope_id, period, period_start
    FOR UPDATE OF budget_usage
""")

WRITE_USAGE = text("""
    UPDATE budget_usage SET reserved_usd = changed.reserved, spent_usd = changed.spent
    FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[]),
                CAST(:reserved AS numeric[]), CAST(:spent AS numeric[]))
        AS changed(scope_kind, scope_id, period, period_start, reserved, spent)
    WHERE budget_usage.scope_kind = changed.scope_kind AND budget_usage.scope_id = changed.scope_id
      AND budget_usage.period = changed.period AND budget_usage.period_start = changed.period_start
""")


def key_columns(keys: Collection[UsageKey]) -> dict[str, list[Any]]:
    """`keys` as the parameters of statements that find rows by them."""
    return {
        "kinds": [key.scope_kind for key in keys],
        "ids": [key.scope_id for key in keys],
        "periods": [key.period for key in keys],
        "starts": [key.period_start for key in keys],
    }


Limits = Mapping[tuple[str, str, str], Decimal | None]
"""By scope kind, scope id and period: the hard limit; None where only a soft one is set."""


def ask_limits(script: Script, scopes: Iterable[tuple[str, str]]) -> Reply:
    """The limits set for any of `scopes` (kind, id) are read; `limits_of` tells them."""
    listed = sorted(set(scopes))
    return script.add(LIMITS, {"kinds": [kind for kind, _ in listed], "ids": [name for _, name in listed]})


def limits_of(reply: Reply) -> Limits:
    """What `ask_limits` found."""
    return {(row.scope_kind, row.scope_id, row.period): row.limit_usd for row in reply.rows}


def make_usage(script: Script, keys: Collection[UsageKey]) -> None:
    """The rows of `keys` will be there. They are made in the order in which they are locked, before any is."""
    if keys:
        script.add(MAKE_USAGE, key_columns(sorted(keys)))


def ask_usage(script: Script, keys: Iterable[UsageKey]) -> Reply:
    """Those rows of `keys` that exist are locked, in a fixed order, until the transaction ends."""
    return script.add(LOCK_USAGE, key_columns(sorted(set(keys))))


def usage_of(script: Script, reply: Reply, wanted: Iterable[UsageKey], limits: Limits) -> dict[UsageKey, Usage]:
    """The rows of `wanted`, all locked: as `ask_usage` found them, or made now."""
    ordered = sorted(set(wanted))
    found = _usage(reply, limits)
    if any(key not in found for key in ordered):
        make_usage(script, ordered)
        found = _usage(ask_usage(script, ordered), limits)
    return {key: found[key] for key in ordered}


def _usage(reply: Reply, limits: Limits) -> dict[UsageKey, Usage]:
    return {
        UsageKey(*row[:4]): Usage(limits.get(row[:3]), row.reserved_usd, row.spent_usd, row.warn_usd)
        for row in reply.rows
    }


def lock_usage(script: Script, keys: Iterable[UsageKey], limits: Limits) -> dict[UsageKey, Usage]:
    """The rows of `keys`, made where missing and locked in a fixed order until the transaction ends."""
    wanted = set(keys)
    return usage_of(script, ask_usage(script, wanted), wanted, limits) if wanted else {}


def write_usage(script: Script, usage: Mapping[UsageKey, Usage]) -> list[BudgetAlert]:
    """What `usage` holds will be on its rows, which the caller has locked; returns the soft limits reached by it.

    These are on record when the transaction is committed, and are to be announced then.
    """
    if not usage:
        return []
    keys = list(usage)
    money = {
        "reserved": [usage[key].reserved_usd for key in keys],
        "spent": [usage[key].spent_usd for key in keys],
    }
    script.add(WRITE_USAGE, key_columns(keys) | money)
    return record_alerts(script, [alert for key in keys if (alert := usage[key].alert(key)) is not None])
