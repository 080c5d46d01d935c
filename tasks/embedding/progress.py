"""How far a refresh is: counted by what works, read by whoever shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Moment:
    """How far it is now; `total` is None while nobody knows."""

    phase: str
    done: int
    total: int | None
    per_second: float

    @property
    def percent(self) -> float | None:
        """Of the phase."""
        return min(100.0, 100.0 * self.done / self.total) if self.total else None

    def __str__(self) -> str:
        if not self.done:
            return f"{self.phase}: {self.total:,}" if self.total else f"{self.phase} …"
        share = f" of {self.total:,}" if self.total else ""
        left = f", {(self.total - self.done) / self.per_second:,.0f} s left" if self.total and self.per_second else ""
        return f"{self.phase}: {self.done:,}{share}, {self.per_second:,.0f}/s{left}"


@dataclass
class Progress:
    """Counts, phase by phase."""

    phase: str = "looking for changes"
    done: int = 0
    total: int | None = None
    _began: float = field(default_factory=time.monotonic)

    def begin(self, phase: str, total: int | None = None) -> None:
        """A phase begins."""
        self.phase, self.done, self.total, self._began = phase, 0, total, time.monotonic()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count

    def now(self) -> Moment:
        """How far it is."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        return Moment(self.phase, self.done, self.total, self.done / seconds)
