"""A sliding window: so much, and no more, in any 60 seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60.0


@dataclass(eq=False)
class Share:
    """What one call takes of a window.

    Attributes:
        begun_at: when the call was made; None while it is still about to be, and counted all the same.
    """

    amount: int
    begun_at: float | None = None
    counted: bool = True


class SlidingWindow:
    """At most `limit` of something, requests or tokens, in any `seconds` that are looked at.

    Exact, unlike a counter reset each minute or a leaky bucket, which let nearly twice the limit pass
    within some minute. What a call takes can be corrected once it is known.
    """

    def __init__(self, limit: int, seconds: float = WINDOW_SECONDS) -> None:
        self.limit = limit
        self._seconds = seconds
        self._used = 0
        self._begun: deque[Share] = deque()

    def seconds_until(self, amount: int, now: float, *, ahead: int = 0) -> float:
        """Seconds until `amount` more fits, 0 when it does now; infinite while only calls not yet made are in the way.

        Args:
            ahead: what goes first.
        """
        self._forget(now)
        windows, wanted = divmod(ahead + max(1, self._clamped(amount)) - 1, self.limit)
        excess = self._used + wanted + 1 - self.limit
        if excess <= 0:
            return windows * self._seconds
        for share in self._begun:
            excess -= share.amount
            if excess <= 0:
                assert share.begun_at is not None
                return share.begun_at + self._seconds - now + windows * self._seconds
        return float("inf")

    def take(self, amount: int) -> Share:
        """`amount` is counted from now on; more than the limit counts as the limit, so that such a call goes alone."""
        share = Share(self._clamped(amount))
        self._used += share.amount
        return share

    def begin(self, share: Share, now: float) -> None:
        """The call of `share` is made now; its window begins."""
        share.begun_at = now
        self._begun.append(share)

    def correct(self, share: Share, amount: int) -> None:
        """The call took `amount` after all; one that was never made, 0."""
        amount = self._clamped(amount)
        if share.counted:
            self._used += amount - share.amount
        share.amount = amount

    def _clamped(self, amount: int) -> int:
        return min(amount, self.limit)

    def _forget(self, now: float) -> None:
        while self._begun and self._begun[0].begun_at is not None and self._begun[0].begun_at + self._seconds <= now:
            share = self._begun.popleft()
            share.counted = False
            self._used -= share.amount
