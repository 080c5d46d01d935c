"""A call's turn: when it may be made under the limits of its model and its user.

What waits holds nothing: no reservation, no place among the calls in flight. What is replayed waits for
no rate and counts nowhere. Two queues, each first come, first served: before the model's gate, which all
event loops of this process share, and of one user's calls in this event loop. Between processes, a user's
next request goes to whichever asks Postgres first.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

from schemas.calls import CostEstimate, ModelInfo, Usage
from schemas.errors import RateLimited
from schemas.named_models import CallLimits
from schemas.rate_limits import ModelLimits, effective_limits, limits_of
from schemas.settings import Settings
from tasks.ledger.clock import Clock, SystemClock
from tasks.ledger.flights import Flights
from tasks.ledger.model_gate import LEAST_RETRY_SECONDS, ModelGate, Passage, gate_of
from tasks.ledger.operations import Answered, NotAnswered, OverUserLimit, Reserved, Unfinished
from tasks.ledger.sliding_window import WINDOW_SECONDS


class Ask(Protocol):
    """Asks the ledger for the call's reservation."""

    async def __call__(
        self, *, user_limit: int | None = None, replay_only: bool = False
    ) -> Reserved | Answered | Unfinished | OverUserLimit | NotAnswered:
        """The reservation, a replay, or why there is neither."""
        ...


class UserLine:
    """Those of one user's calls that wait, in order.

    Attributes:
        free_at: before this moment there is no use in asking.
    """

    def __init__(self) -> None:
        self.free_at = float("-inf")
        self._waiting: deque[asyncio.Event] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def place(self) -> Iterator[asyncio.Event]:
        """Inside, one stands in line; the event is set for whoever becomes the first."""
        woken = asyncio.Event()
        self._waiting.append(woken)
        try:
            yield woken
        finally:
            self._waiting.remove(woken)
            if self._waiting:
                self._waiting[0].set()

    def ahead_of(self, place: asyncio.Event) -> int:
        """How many go first."""
        return self._waiting.index(place)


class RateLimits:
    """The limits that calls of one ledger are under."""

    def __init__(self, settings: Settings, flights: Flights) -> None:
        self.clock: Clock = SystemClock()
        self.flights = flights
        self.wait_seconds = settings.limit_wait_seconds
        self.user_limit = settings.user_requests_per_minute or None
        self._settings = settings
        self._lines: dict[str, UserLine] = {}

    def limits_of(self, model: str) -> ModelLimits:
        """The limits of `model`."""
        return limits_of(model, self._settings)

    def turn(self, model: ModelInfo, estimate: CostEstimate, user: str | None, *, attempt: int) -> CallTurn:
        """The turn of one attempt at a call; a user's request that we try again is still one request."""
        limits = effective_limits(model, self._settings)
        called = model.litellm_model.removeprefix("openai/")  # with it or without, it is the same model
        name = called if model.limits == CallLimits() else model.model
        place = f"{model.identity} by {model.key_variable}" if model.key_variable else model.identity
        gate = gate_of(name, place, limits, self._settings.parallel_calls, called=called)
        counted = user if attempt == 1 and self.user_limit else None
        return CallTurn(self, gate, estimate.input_tokens + estimate.max_output_tokens, counted)

    def has_line(self, user: str) -> bool:
        """True when calls of `user` wait."""
        return user in self._lines

    @contextmanager
    def place(self, user: str) -> Iterator[tuple[UserLine, asyncio.Event]]:
        """Inside, one is the last in the line of `user`; the last to leave takes the line away."""
        line = self._lines.setdefault(user, UserLine())
        try:
            with line.place() as place:
                yield line, place
        finally:
            if not line:
                self._lines.pop(user, None)


class CallTurn(AbstractAsyncContextManager["CallTurn"]):
    """One attempt at a call: `take` its turn, make the call, say what came of it; all is given back at the end."""

    def __init__(self, limits: RateLimits, gate: ModelGate, tokens: int, user: str | None) -> None:
        self._limits = limits
        self._clock = limits.clock
        self._gate = gate
        self._tokens = tokens
        self._user = user
        self._passage: Passage | None = None
        self._held = AsyncExitStack()
        self._deadline = self._clock.now() + limits.wait_seconds
        self._is_unanswered = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._held.aclose()

    async def take(self, ask: Ask) -> Reserved | Answered | Unfinished:
        """The call is reserved and may be made now, or it is answered, or its job may be waited for.

        Raises:
            RateLimited: its turn did not come in time; nothing is held and nothing was written.
        """
        if self._user is None:
            outcome = await self._pass_gate(ask)
            assert not isinstance(outcome, OverUserLimit)
            return outcome
        if self._limits.has_line(self._user):
            return await self._replay(ask) or await self._stand(self._user, ask)
        outcome = await self._pass_gate(ask)
        if isinstance(outcome, OverUserLimit):
            return await self._stand(self._user, ask, refused_for=outcome.seconds)
        return outcome

    def note_answer(self, usage: Usage | None) -> None:
        """The provider answered, with this usage."""
        assert self._passage is not None
        self._passage.note_answer(None if usage is None else usage.input_tokens + usage.output_tokens)

    def note_refusal(self, error: RateLimited) -> None:
        """The provider asks to wait: so does everybody in this process who wants to call the model."""
        assert self._passage is not None
        self._passage.note_refusal(error.retry_after)

    async def _replay(self, ask: Ask) -> Answered | None:
        """The answer that is there, before one waits for leave to ask for one."""
        if self._is_unanswered:
            return None
        outcome = await ask(replay_only=True)
        self._is_unanswered = not isinstance(outcome, Answered)
        return outcome if isinstance(outcome, Answered) else None

    async def _pass_gate(self, ask: Ask) -> Reserved | Answered | Unfinished | OverUserLimit:
        """Through the model's gate to a reservation; without one, everything is given back."""
        passage = self._gate.enter_at_once(self._tokens)
        if passage is None:
            if self._gate.is_held_back(self._tokens) and (answer := await self._replay(ask)):
                return answer
            try:
                passage = await self._gate.enter(self._tokens, self._deadline - self._clock.now())
            except RateLimited:
                if answer := await self._replay(ask):
                    return answer
                raise
        self._held.callback(passage.leave)
        await self._held.enter_async_context(self._limits.flights.slot())
        outcome = await ask(user_limit=self._limits.user_limit if self._user is not None else None)
        assert not isinstance(outcome, NotAnswered)
        if isinstance(outcome, Reserved | Unfinished):
            self._passage = passage
            passage.begin()
        else:
            await self._held.aclose()
        return outcome

    async def _stand(self, user: str, ask: Ask, refused_for: float = 0.0) -> Reserved | Answered | Unfinished:
        """In the line of `user` until it is this call's turn."""
        with self._limits.place(user) as (line, place):
            line.free_at = max(line.free_at, self._clock.now() + refused_for)
            while True:
                ahead, now = line.ahead_of(place), self._clock.now()
                if ahead == 0 and now >= line.free_at:
                    outcome = await self._pass_gate(ask)
                    if not isinstance(outcome, OverUserLimit):
                        return outcome
                    line.free_at = self._clock.now() + outcome.seconds
                elif now >= self._deadline:
                    raise self._refusal(line.free_at - now, ahead)
                else:
                    place.clear()
                    seconds = math.inf if ahead else line.free_at - now
                    await self._clock.wait(place, min(seconds, self._deadline - now))

    def _refusal(self, seconds: float, ahead: int) -> RateLimited:
        limit = self._limits.user_limit or 1
        return RateLimited(
            f"user {self._user!r} may make {limit} requests a minute (HEADRACE_USER_REQUESTS_PER_MINUTE), {ahead} "
            f"calls go first: no turn in the time that a call may wait (HEADRACE_LIMIT_WAIT_SECONDS)",
            retry_after=max(LEAST_RETRY_SECONDS, seconds) + ahead // limit * WINDOW_SECONDS,
            user=self._user,
            limit="user",
        )
