"""How many calls of a model may be in flight, found out by trying."""

from __future__ import annotations


class AdaptiveLimit:
    """Halved when the provider says that it is too much, raised by one after each round of answers.

    Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the Increase and Decrease
    Algorithms for Congestion Avoidance in Computer Networks", 1989; RFC 5681, 3.1). It begins at the
    ceiling: most providers allow what is configured.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self._level = float(ceiling)
        self._lowered_at = float("-inf")

    @property
    def allowed(self) -> int:
        """Calls that may be in flight at the same time; at least one."""
        return int(self._level)

    def note_answer(self) -> None:
        """A call was answered: as many answers as calls are allowed make it one more."""
        self._level = min(float(self.ceiling), self._level + 1 / self._level)

    def note_refusal(self, begun_at: float, now: float) -> None:
        """The provider refused a call made at `begun_at` as one too many.

        Calls made before the last cut say nothing new: what was in flight together is cut for once.
        """
        if begun_at < self._lowered_at:
            return
        self._level = max(1.0, self._level / 2)
        self._lowered_at = now
