"""How far a sweep is: counted as answers come, read by whoever shows it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

RECENT = 200
"""Answers whose pace tells how long the others take."""


@dataclass(frozen=True)
class Moment:
    """How far it is now."""

    done: int
    total: int
    failed: int
    replayed: int
    best: float | None
    mean: float | None
    cost_usd: Decimal
    parameters: str
    seconds_left: float | None
    passing: str = ""
    passed: int = 0
    to_pass: int = 0
    unit: str = ""

    @property
    def percent(self) -> float | None:
        """Of the calls, or of what is done with the answers after them."""
        if self.passing:
            return min(100.0, 100.0 * self.passed / self.to_pass) if self.to_pass else None
        return min(100.0, 100.0 * self.done / self.total) if self.total else None

    def __str__(self) -> str:
        if self.passing:
            return f"{self.done:,} answers; {self.passing}: {self.passed:,} of {self.to_pass:,} {self.unit}"
        parts = [f"{self.done:,} of {self.total:,} answers"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"best {100 * self.best:.1f}, mean {100 * self.mean:.1f}"] if self.best and self.mean else []
        parts += [f"${self.cost_usd:.4f}"] if self.cost_usd else []
        parts += [f"{self.seconds_left:,.0f} s left"] if self.seconds_left is not None else []
        return ", ".join([*parts, self.parameters] if self.parameters else parts)


@dataclass
class Progress:
    """Counts answers."""

    total: int = 0
    done: int = 0
    failed: int = 0
    replayed: int = 0
    scored: int = 0
    sum_of_scores: float = 0.0
    best: float | None = None
    cost_usd: Decimal = Decimal(0)
    parameters: str = ""
    passing: str = ""
    passed: int = 0
    to_pass: int = 0
    unit: str = ""
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, parameters: str, score: float | None, cost_usd: Decimal | None, *, replayed: bool) -> None:
        """An answer more is stored, or, without a score, the reason why there is none."""
        self.done += 1
        self.parameters = parameters
        self.cost_usd += cost_usd or 0
        self.replayed += replayed
        if score is None:
            self.failed += 1
        else:
            self.scored += 1
            self.sum_of_scores += score
            self.best = score if self.best is None else max(self.best, score)
        self._times.append(time.monotonic())

    def take(self, done: int, failed: int, replayed: int, cost_usd: Decimal) -> None:
        """So far it is, as somebody else counted."""
        self._times.extend([time.monotonic()] * max(0, min(RECENT, done - self.done)))
        self.done, self.failed, self.replayed, self.cost_usd = done, failed, replayed, cost_usd

    def take_scores(self, scored: int, total: float, best: float | None) -> None:
        """So good the answers are, as somebody else counted; `total` is the sum of their scores."""
        self.scored, self.sum_of_scores, self.best = scored, total, best

    def begin_pass(self, name: str, total: int, unit: str) -> None:
        """What is done from now on is `name`, over `total` of `unit`."""
        self.passing, self.passed, self.to_pass, self.unit = name, 0, total, unit

    def count_pass(self, more: int) -> None:
        """So many more of the pass are done."""
        self.passed += more

    def now(self) -> Moment:
        """How far it is."""
        left = None
        if len(self._times) > 1 and self.total:
            each = (time.monotonic() - self._times[0]) / (len(self._times) - 1)
            left = each * max(0, self.total - self.done)
        mean = self.sum_of_scores / self.scored if self.scored else None
        return Moment(
            self.done, self.total, self.failed, self.replayed, self.best, mean, self.cost_usd, self.parameters, left,
            self.passing, self.passed, self.to_pass, self.unit,
        )  # fmt: skip
