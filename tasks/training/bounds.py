"""What counts for an export: what was committed when it first began, whatever moment it bears.

A moment alone does not tell: a call that is migrated later was settled earlier, and one that was settled earlier may be
committed later. So the export keeps the snapshot it began with (`pg_current_snapshot()`), and rows that were written by
a transaction that it could not see are left out. Where a transaction is older than 2³² others its number may be taken
for a later one, with the chance that the export's length in transactions has among these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

_WRAPS = 2**32
"""Rows have the lower half of the number of the transaction that wrote them."""
_VISIBLE = """
    (%(snapshot)s::pg_snapshot IS NULL OR pg_visible_in_snapshot((CASE
        WHEN {row_id} < 3 THEN 3  -- of no transaction
        WHEN {row_id} < %(epoch_next)s THEN {row_id} + %(epoch)s
        ELSE greatest(3, {row_id} + %(epoch)s - %(wraps)s) END)::text::xid8, %(snapshot)s::pg_snapshot))
"""
# It is asked only where the moment does not tell: no transaction of an application takes an hour to be committed.
_BEFORE = "{moment} <= %(until)s AND ({alias}.source IS NULL AND {moment} < %(until)s - interval '1 hour' OR {visible})"


@dataclass(frozen=True)
class Bound:
    """The end of what counts.

    Attributes:
        until: what bears a later moment does not.
        snapshot: what was committed then; None of exports begun before it was kept.
    """

    until: datetime
    snapshot: str | None = None

    def values(self, connection: Connection) -> dict[str, Any]:
        """What the conditions have placeholders for, in the transaction of `connection`."""
        following = "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
        following_id: int = connection.execute(text(following)).scalar_one()
        epoch_next = following_id % _WRAPS
        return {
            "until": self.until,
            "snapshot": self.snapshot,
            "epoch": following_id - epoch_next,
            "epoch_next": epoch_next,
            "wraps": _WRAPS,
        }


def committed(alias: str) -> str:
    """The condition that the row was committed as it is when the export began."""
    return _VISIBLE.format(row_id=f"{alias}.xmin::text::bigint")


def before(alias: str, moment: str) -> str:
    """The condition that the row, which can be a migrated one, bears an earlier `moment` and was committed as well."""
    return _BEFORE.format(alias=alias, moment=moment, visible=committed(alias))
