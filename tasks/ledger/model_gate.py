"""The gate before a model: who may call it now, who waits, in order.

One gate serves all event loops of a process; what it guards is cheap to look at and kept by a lock. It
knows nothing of other processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import deque
from dataclasses import dataclass, field

from schemas.errors import RateLimited
from schemas.rate_limits import ModelLimits
from tasks.ledger.adaptive import AdaptiveLimit
from tasks.ledger.clock import Clock, SystemClock
from tasks.ledger.sliding_window import Share, SlidingWindow

LEAST_RETRY_SECONDS = 1.0
"""What a refused caller is told to wait where nobody knows when a call in flight will end."""


@dataclass(eq=False)
class _Waiter:
    tokens: int
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """It looks again, in its own event loop."""
        if _running_loop() is self.loop:  # as a rule; waking another loop costs a system call
            self.woken.set()
            return
        with contextlib.suppress(RuntimeError):  # it was closed over its head
            self.loop.call_soon_threadsafe(self.woken.set)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Passage:
    """Leave to make one call; `leave` gives it back."""

    def __init__(self, gate: ModelGate, shares: list[tuple[SlidingWindow, Share]], tokens: Share | None) -> None:
        self._gate = gate
        self._shares = shares
        self._tokens = tokens
        self._begun_at: float | None = None
        self._left = False

    def begin(self) -> None:
        """The call is made now."""
        with self._gate.lock:
            self._begun_at = self._gate.clock.now()
            for window, share in self._shares:
                window.begin(share, self._begun_at)
            self._gate.wake_first()  # from now on it can tell how long it waits

    def note_answer(self, tokens: int | None) -> None:
        """The call was answered and took so many tokens; None where the provider did not say."""
        with self._gate.lock:
            self._gate.parallel.note_answer()
            if tokens is not None and self._tokens is not None and self._gate.tokens is not None:
                self._gate.tokens.correct(self._tokens, tokens)

    def note_refusal(self, retry_after: float | None) -> None:
        """The provider said that it is too much: fewer at once from now on, and nobody before `retry_after` seconds.

        So it is for every gate to the same model, whatever name it has there.
        """
        for gate in tuple(self._gate.beside):
            gate.note_refusal(self._begun_at, retry_after)

    def leave(self) -> None:
        """Another call may take its place; one that was not made counts nowhere."""
        with self._gate.lock:
            if self._left:
                return
            self._left = True
            if self._begun_at is None:
                for window, share in self._shares:
                    window.correct(share, 0)
            self._gate.in_flight -= 1
            self._gate.wake_first()


class ModelGate:
    """Lets calls of one model pass within its limits, first come, first served.

    Args:
        model: for messages.
        ceiling: calls of this process at the same time, at most.

    Attributes:
        beside: all gates to the model that the provider limits as one, this gate among them.
        lock: held by whoever looks at or changes what is below.
    """

    def __init__(self, model: str, limits: ModelLimits, ceiling: int, clock: Clock) -> None:
        self.model = model
        self.clock = clock
        self.beside: list[ModelGate] = [self]
        self.lock = threading.Lock()
        self.parallel = AdaptiveLimit(min(ceiling, limits.parallel_calls or ceiling))
        self.requests = SlidingWindow(limits.requests_per_minute) if limits.requests_per_minute else None
        self.tokens = SlidingWindow(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self.in_flight = 0
        self._paused_until = float("-inf")
        self._line: deque[_Waiter] = deque()

    def enter_at_once(self, tokens: int) -> Passage | None:
        """A passage for a call of up to `tokens`, or None where it has to wait."""
        with self.lock:
            return None if self._line or self._seconds_until_free(tokens) > 0 else self._admit(tokens)

    def is_held_back(self, tokens: int) -> bool:
        """True when a rate or a pause is in the way, and not just calls in flight."""
        with self.lock:
            return self._seconds_until_timely(tokens) > 0

    async def enter(self, tokens: int, within_seconds: float) -> Passage:
        """A passage for a call of up to `tokens`, once it is its turn.

        Raises:
            RateLimited: its turn does not come within `within_seconds`; nothing is held.
        """
        deadline = self.clock.now() + within_seconds
        waiter = _Waiter(tokens, asyncio.get_running_loop())
        with self.lock:
            self._line.append(waiter)
        try:
            while True:
                waiter.woken.clear()
                with self.lock:
                    seconds = self._seconds_until_free(tokens) if self._line[0] is waiter else math.inf
                    if seconds <= 0:
                        return self._admit(tokens)
                    left = deadline - self.clock.now()
                    if left <= 0 or self._paused_until > deadline:
                        raise self._refusal(waiter)
                await self.clock.wait(waiter.woken, min(seconds, left))
        finally:
            with self.lock:
                with contextlib.suppress(ValueError):
                    self._line.remove(waiter)
                self.wake_first()

    def join(self, beside: list[ModelGate]) -> None:
        """This gate is one of `beside`, and nobody passes it while they are paused."""
        self._paused_until = max((gate._paused_until for gate in beside), default=self._paused_until)
        self.beside = beside
        beside.append(self)

    def note_refusal(self, begun_at: float | None, retry_after: float | None) -> None:
        """The provider refused a call made at `begun_at`, be it through this gate or one beside it."""
        with self.lock:
            now = self.clock.now()
            self.parallel.note_refusal(now if begun_at is None else begun_at, now)
            self.pause(now + (retry_after or 0.0))

    def pause(self, until: float) -> None:
        """Nobody passes before `until`; those who wait look how long that is."""
        if until > self._paused_until:
            self._paused_until = until
            for waiter in self._line:
                waiter.wake()

    def wake_first(self) -> None:
        """Whoever is first in line looks whether it may pass; who was left there by a closed event loop is gone."""
        while self._line and self._line[0].loop.is_closed():
            self._line.popleft()
        if self._line:
            self._line[0].wake()

    def _seconds_until_free(self, tokens: int) -> float:
        if self.in_flight >= self.parallel.allowed:
            return math.inf
        return self._seconds_until_timely(tokens)

    def _seconds_until_timely(self, tokens: int, ahead: tuple[int, int] = (0, 0)) -> float:
        """Seconds until neither a window nor a pause is in the way; `ahead` are calls and tokens that go first."""
        now = self.clock.now()
        waits = [0.0, self._paused_until - now]
        if self.requests is not None:
            waits.append(self.requests.seconds_until(1, now, ahead=ahead[0]))
        if self.tokens is not None:
            waits.append(self.tokens.seconds_until(tokens, now, ahead=ahead[1]))
        return max(waits)

    def _admit(self, tokens: int) -> Passage:
        self.in_flight += 1
        taken = self.tokens.take(tokens) if self.tokens is not None else None
        shares = [] if self.tokens is None or taken is None else [(self.tokens, taken)]
        if self.requests is not None:
            shares.append((self.requests, self.requests.take(1)))
        return Passage(self, shares, taken)

    def _refusal(self, waiter: _Waiter) -> RateLimited:
        first = list(self._line)[: self._line.index(waiter)]
        seconds = self._seconds_until_timely(waiter.tokens, (len(first), sum(other.tokens for other in first)))
        retry_after = LEAST_RETRY_SECONDS if math.isinf(seconds) else max(LEAST_RETRY_SECONDS, seconds)
        return RateLimited(
            f"{self.model} is called as often as its limits allow, {len(first)} calls go first: no turn in the time "
            f"that a call may wait (HEADRACE_LIMIT_WAIT_SECONDS)",
            retry_after=retry_after,
            model=self.model,
            limit="model",
        )


_gates: dict[tuple[str, str, ModelLimits, int], ModelGate] = {}
_beside: dict[tuple[str, str], list[ModelGate]] = {}
_making = threading.Lock()


def gate_of(name: str, place: str, limits: ModelLimits, ceiling: int, *, called: str | None = None) -> ModelGate:
    """The gate of this process for calls by `name`; one and the same for all who ask.

    Args:
        name: what is limited: a model, or a name for one that has limits of its own.
        place: who is asked, and with whose key: what one provider limits as one.
        called: the model that the name leads to; `name` itself where not given.
    """
    key = (name, place, limits, ceiling)
    with _making:
        if key not in _gates:
            gate = _gates[key] = ModelGate(name, limits, ceiling, SystemClock())
            gate.join(_beside.setdefault((called or name, place), []))
        return _gates[key]
