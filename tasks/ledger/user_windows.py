"""Requests of users in the last minute: counted in Postgres, so that all processes count together.

One row a user holds the moments of their recent requests. It is locked, read and written in the
transaction that reserves a call, by Postgres's clock: in any 60 seconds there are no more moments than
the limit, whichever processes and machines the requests come from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from blocks.scripts import Reply, Script

WINDOW = timedelta(seconds=60)


@dataclass
class UserWindow:
    """Recent requests of one user while their row is locked.

    Attributes:
        admitted: when they were admitted, in order; older ones than `WINDOW` may be among them.
        now: the moment since which the row has been locked.
        added: how many more are admitted now.
    """

    admitted: list[datetime]
    now: datetime
    added: int = 0

    def seconds_until_room(self, limit: int) -> float:
        """Seconds until one more request is within `limit`; 0 when it is now."""
        recent = [moment for moment in self.admitted if moment > self.now - WINDOW] + [self.now] * self.added
        if len(recent) < limit:
            return 0.0
        return (recent[-limit] + WINDOW - self.now).total_seconds()


# The clock is read row by row, after the row's lock was waited for.
_LOCK = text("""
    WITH locked AS MATERIALIZED (
        SELECT user_id, admitted FROM rate_windows WHERE user_id = ANY(:users) ORDER BY user_id FOR UPDATE
    )
    SELECT user_id, admitted, clock_timestamp() AS now FROM locked
""")
_MAKE = text("""
    INSERT INTO rate_windows (user_id) SELECT unnest(CAST(:users AS text[])) ON CONFLICT DO NOTHING
""")
_WRITE = text("""
    UPDATE rate_windows SET admitted =
        ARRAY(SELECT moment FROM unnest(admitted) AS moment
              WHERE moment > changed.now - CAST(:window AS interval) ORDER BY moment)
        || array_fill(changed.now, ARRAY[changed.added])
    FROM unnest(CAST(:users AS text[]), CAST(:moments AS timestamptz[]), CAST(:added AS int[]))
        AS changed(user_id, now, added)
    WHERE rate_windows.user_id = changed.user_id
""")


def ask_windows(script: Script, users: Collection[str]) -> Reply:
    """The rows of `users`, made where missing, are locked in a fixed order until the transaction ends."""
    if not users:
        return Reply.empty()
    script.add(_MAKE, {"users": sorted(users)})
    return script.add(_LOCK, {"users": sorted(users)})


def windows_of(reply: Reply) -> dict[str, UserWindow]:
    """What `ask_windows` found."""
    return {row.user_id: UserWindow(row.admitted, row.now) for row in reply.rows}


def write_windows(script: Script, windows: Mapping[str, UserWindow]) -> None:
    """What was added to `windows` will be on their rows, which the caller has locked."""
    changed = {user: window for user, window in windows.items() if window.added}
    if changed:
        columns = {
            "users": list(changed),
            "moments": [window.now for window in changed.values()],
            "added": [window.added for window in changed.values()],
            "window": WINDOW,
        }
        script.add(_WRITE, columns)
