"""Soft limits that were reached: on record once a period, then told to whoever listens in this process.

The record is a row of `budget_alerts`, written in the transaction that spent the money; channels of other
processes read these rows. Channels of this process register with `on_budget_alert`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from blocks.scripts import Script
from tasks.ledger.rows import add_rows

log = logging.getLogger(__name__)


class BudgetAlert(BaseModel):
    """So much was spent in a period that somebody wants to be told."""

    model_config = ConfigDict(frozen=True)

    scope_kind: str
    scope_id: str
    period: str
    period_start: date
    warn_usd: Decimal
    spent_usd: Decimal

    def __str__(self) -> str:
        """One sentence for people."""
        when = "" if self.period == "total" else f" in the {self.period} that began on {self.period_start:%F}"
        return (
            f"the {self.scope_kind} {self.scope_id!r} has spent {_plain(self.spent_usd)} USD{when}; "
            f"it was to be said at {_plain(self.warn_usd)}"
        )


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


Listener = Callable[[BudgetAlert], None]
_listeners: list[Listener] = []


def on_budget_alert(listener: Listener) -> Callable[[], None]:
    """`listener` is called with each alert of this process, once it is on record; returns how to stop that.

    It is called between two writes of the ledger, so it should hand slow work to somebody else.
    """
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def record_alerts(script: Script, reached: Sequence[BudgetAlert]) -> list[BudgetAlert]:
    """Those of `reached` that were not on record are, when the transaction is committed; returns them."""
    if not reached:
        return []
    rows = [alert.model_dump() for alert in reached]
    found = add_rows(script, "budget_alerts", rows, suffix="ON CONFLICT DO NOTHING RETURNING *").rows
    new = {(row.scope_kind, row.scope_id, row.period, row.period_start) for row in found}
    return [alert for alert in reached if (alert.scope_kind, alert.scope_id, alert.period, alert.period_start) in new]


def announce(alerts: Iterable[BudgetAlert]) -> None:
    """Each alert, now on record, is in the log and told to the listeners; one that fails stops nobody else."""
    for alert in alerts:
        log.warning("soft limit reached: %s", alert)
        for listener in tuple(_listeners):
            try:
                listener(alert)
            except Exception:
                log.exception("a listener failed to pass on: %s", alert)
