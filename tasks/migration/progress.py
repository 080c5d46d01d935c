"""How far a migration is: counted by the thread that works, read by whoever shows it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from schemas.errors import TerminalError


class Stopped(TerminalError):
    """The work was interrupted; the run can be resumed."""

    code = "cancelled"


@dataclass(frozen=True)
class Moment:
    """How far it is now; `total` and `seconds_left` are None while nobody knows."""

    phase: str
    table: str
    rows: int
    total: int | None
    rows_per_second: float
    seconds_left: float | None

    @property
    def percent(self) -> float | None:
        """Of the phase."""
        return min(100.0, 100.0 * self.rows / self.total) if self.total else None

    def __str__(self) -> str:
        doing = f"{self.phase} {self.table}".rstrip()
        if not self.rows:
            return f"{doing}: {self.total:,} rows" if self.total else f"{doing} …"
        share = f" of {self.total:,}" if self.total else ""
        left = f", {self.seconds_left:,.0f} s left" if self.seconds_left is not None else ""
        return f"{doing}: {self.rows:,}{share} rows, {self.rows_per_second:,.0f}/s{left}"


@dataclass
class Progress:
    """Counts rows, phase by phase; every count is a moment to stop at."""

    phase: str = "reading"
    table: str = ""
    rows: int = 0
    total: int | None = None
    _began: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, phase: str, total: int | None = None) -> None:
        """A phase begins."""
        self.phase, self.table, self.rows, self.total = phase, "", 0, total
        self._began = time.monotonic()

    def add(self, rows: int) -> None:
        """So many rows more are done.

        Raises:
            Stopped: somebody asked to stop.
        """
        self.rows += rows
        if self._stop.is_set():
            raise Stopped("the migration was interrupted")

    def stop(self) -> None:
        """The next count raises `Stopped`."""
        self._stop.set()

    def now(self) -> Moment:
        """How far it is."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        rate = self.rows / seconds
        left = (self.total - self.rows) / rate if self.total and rate else None
        return Moment(self.phase, self.table, self.rows, self.total, rate, left)
