"""The gate before a model: order, bounds, pauses, and nothing left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from schemas.errors import RateLimited
from schemas.rate_limits import ModelLimits
from tasks.ledger.clock import SystemClock
from tasks.ledger.model_gate import ModelGate, Passage, gate_of
from tests.tasks.ledger.turned_clock import TurnedClock, settle

BOUND = 300.0


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def gate_with(clock: TurnedClock, ceiling: int = 64, **limits: int) -> ModelGate:
    """A gate with these limits."""
    return ModelGate("m", ModelLimits(**limits), ceiling, clock)


class Callers:
    """Calls that come to a gate one after the other; who passed, in order."""

    def __init__(self, gate: ModelGate) -> None:
        self.gate = gate
        self.passed: list[str] = []
        self.passages: dict[str, Passage] = {}

    async def come(self, name: str, tokens: int = 1, within: float = BOUND) -> asyncio.Task[None]:
        """One more call comes and, if it can, passes and is made."""
        task = asyncio.create_task(self._pass(name, tokens, within))
        await settle()
        return task

    async def _pass(self, name: str, tokens: int, within: float) -> None:
        passage = self.gate.enter_at_once(tokens) or await self.gate.enter(tokens, within)
        passage.begin()
        self.passages[name] = passage
        self.passed.append(name)

    async def leave(self, name: str, *, tokens: int | None = None) -> None:
        """The call was answered."""
        self.passages[name].note_answer(tokens)
        self.passages[name].leave()
        await settle()


def untouched(gate: ModelGate) -> bool:
    """True when nobody is in it, waits before it, or is counted."""
    passage = gate.enter_at_once(10**9)
    if passage is None:
        return False
    passage.leave()
    return gate.in_flight == 0


async def test_without_limits_as_many_pass_as_may_be_in_flight(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=2))
    for name in "abcd":
        await callers.come(name)
    assert callers.passed == ["a", "b"]
    await callers.leave("b")
    assert callers.passed == ["a", "b", "c"]
    await callers.leave("a")
    await callers.leave("c")
    await callers.leave("d")
    assert untouched(callers.gate)


async def test_parallel_calls_of_a_model_stay_below_those_of_the_process(clock: TurnedClock) -> None:
    assert gate_with(clock, ceiling=64, parallel_calls=3).parallel.allowed == 3
    assert gate_with(clock, ceiling=2, parallel_calls=3).parallel.allowed == 2


async def test_calls_pass_in_the_order_they_came_also_when_a_later_one_would_fit(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, tokens_per_minute=100))
    for name, tokens in (("large", 90), ("larger", 95), ("small", 5), ("smallest", 1)):
        await callers.come(name, tokens)
    assert callers.passed == ["large"], "the small ones do not overtake"
    await clock.turn(59.9)
    assert callers.passed == ["large"]
    await clock.turn(0.2)
    assert callers.passed == ["large", "larger", "small"]
    await clock.turn(60)
    assert callers.passed == ["large", "larger", "small", "smallest"]


async def test_requests_per_minute_hold_over_any_minute(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, requests_per_minute=2))
    await callers.come("a")
    await clock.turn(30)
    for name in "bcde":
        await callers.come(name)
        if name == "b":
            await callers.leave("b")
    assert callers.passed == ["a", "b"], "that a call has ended frees nothing"
    await clock.turn(30)
    assert callers.passed == ["a", "b", "c"]
    await clock.turn(30)
    assert callers.passed == ["a", "b", "c", "d"]
    await clock.turn(30)
    assert callers.passed == ["a", "b", "c", "d", "e"]


async def test_tokens_that_were_not_used_come_free_with_the_answer(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, tokens_per_minute=100))
    await callers.come("a", 50)
    await callers.come("b", 50)
    await callers.come("c", 60)
    await callers.leave("a", tokens=None)
    assert callers.passed == ["a", "b"], "the provider did not say, so it may have been all of them"
    await callers.leave("b", tokens=0)
    assert callers.passed == ["a", "b"], "50 and 60 are too many"
    await callers.come("d", 40)
    await clock.turn(60)
    assert callers.passed == ["a", "b", "c", "d"]
    await callers.come("e", 30)
    await callers.leave("c", tokens=30)
    assert callers.passed == ["a", "b", "c", "d", "e"]


async def test_a_call_that_was_not_made_counts_nowhere(clock: TurnedClock) -> None:
    gate = gate_with(clock, requests_per_minute=1, tokens_per_minute=10)
    replayed = gate.enter_at_once(10)
    assert replayed is not None
    callers = Callers(gate)
    await callers.come("a", 10)
    assert callers.passed == []
    replayed.leave()
    replayed.leave()
    await settle()
    assert callers.passed == ["a"]
    assert gate.in_flight == 1


async def test_who_waits_is_told_once_the_call_ahead_is_made(clock: TurnedClock) -> None:
    gate = gate_with(clock, requests_per_minute=1)
    about_to_be_made = gate.enter_at_once(1)
    assert about_to_be_made is not None
    callers = Callers(gate)
    await callers.come("a")
    await clock.turn(100)
    about_to_be_made.begin()
    await settle()
    await clock.turn(59)
    assert callers.passed == []
    await clock.turn(1)
    assert callers.passed == ["a"]


async def test_whose_turn_does_not_come_within_the_bound_is_told_how_long_to_wait(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, requests_per_minute=1))
    await callers.come("a")
    waiting = [await callers.come(name, within=10) for name in "bc"]
    await clock.turn(9)
    assert [task.done() for task in waiting] == [False, False]
    await clock.turn(1)
    errors = [task.exception() for task in waiting]
    assert all(isinstance(error, RateLimited) for error in errors)
    # The next one passes a minute after the first; who is refused second has nobody ahead of it any more.
    assert [getattr(error, "retry_after", None) for error in errors] == [50.0, 50.0]
    await callers.leave("a")
    await clock.turn(50)
    assert untouched(callers.gate)


async def test_a_bound_of_zero_refuses_at_once(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=1))
    await callers.come("a")
    refused = await callers.come("b", within=0)
    with pytest.raises(RateLimited, match="0 calls go first: no turn") as error:
        await refused
    assert error.value.retry_after == 1.0, "nobody knows when the call in flight will end"
    assert error.value.details["limit"] == "model"


async def test_a_refused_caller_reckons_with_those_ahead(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, requests_per_minute=1))
    await callers.come("a")
    first = await callers.come("b")
    second = await callers.come("c", within=0)
    error = second.exception()
    assert isinstance(error, RateLimited)
    assert error.retry_after == 120.0
    first.cancel()
    await settle()


async def test_a_caller_that_is_cancelled_leaves_nothing_behind(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=1))
    await callers.come("a")
    first, second = await callers.come("b"), await callers.come("c")
    await callers.come("d")
    first.cancel()
    await settle()
    await callers.leave("a")
    assert callers.passed == ["a", "c"], "the one behind it is next"
    second.cancel()
    await callers.leave("c")
    await callers.leave("d")
    assert callers.passed == ["a", "c", "d"]
    assert untouched(callers.gate)
    assert clock.waiting == 0


async def test_a_caller_cancelled_in_the_moment_it_is_woken_passes_its_turn_on(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=1))
    await callers.come("a")
    first = await callers.come("b")
    await callers.come("c")
    callers.passages["a"].leave()  # wakes b
    first.cancel()
    await settle()
    assert callers.passed == ["a", "c"]


async def test_a_refusal_pauses_the_model_for_everybody(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock))
    await callers.come("a")
    callers.passages["a"].note_refusal(retry_after=7)
    callers.passages["a"].leave()
    await callers.come("b")
    await callers.come("c")
    await clock.turn(6.9)
    assert callers.passed == ["a"]
    await clock.turn(0.2)
    assert callers.passed == ["a", "b", "c"]


async def test_a_pause_beyond_the_bound_refuses_those_who_wait_at_once(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=1))
    await callers.come("a")
    waiting = [await callers.come(name) for name in "bc"]
    callers.passages["a"].note_refusal(retry_after=3600)
    await settle()
    for task in waiting:
        error = task.exception()
        assert isinstance(error, RateLimited)
        assert error.retry_after == 3600
    callers.passages["a"].leave()
    await clock.turn(3600)
    assert untouched(callers.gate)


async def test_a_refusal_halves_what_may_be_in_flight_and_answers_raise_it_again(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=4))
    for name in "abcdefgh":
        await callers.come(name)
    assert callers.passed == list("abcd")
    await clock.turn(1)
    for name in "ab":
        callers.passages[name].note_refusal(None)
        callers.passages[name].leave()
    await settle()
    assert callers.passed == list("abcd"), "two may be in flight, and two are"
    await callers.leave("c")
    assert callers.passed == list("abcde")
    await callers.leave("d")  # 2 → 2.5 → 2.9
    assert callers.passed == list("abcdef")
    await callers.leave("e")  # → 3.2
    assert callers.passed == list("abcdefgh")


async def test_one_gate_serves_all_event_loops_of_the_process() -> None:
    gate = gate_of("shared", "here", ModelLimits(parallel_calls=1), 8)
    assert gate is gate_of("shared", "here", ModelLimits(parallel_calls=1), 8)
    assert gate is not gate_of("shared", "elsewhere", ModelLimits(parallel_calls=1), 8)
    first = gate.enter_at_once(1)
    assert first is not None
    entered, passages = threading.Event(), []

    async def enter_from_elsewhere() -> None:
        asyncio.get_running_loop().call_soon(entered.set)
        passages.append(await gate.enter(1, 60.0))

    thread = threading.Thread(target=lambda: asyncio.run(enter_from_elsewhere()))
    thread.start()
    await asyncio.to_thread(entered.wait, 30)
    assert passages == []
    first.leave()
    await asyncio.to_thread(thread.join, 30)
    assert len(passages) == 1
    passages[0].leave()
    assert gate.in_flight == 0


async def test_an_event_loop_that_was_closed_over_its_callers_blocks_nobody(clock: TurnedClock) -> None:
    callers = Callers(gate_with(clock, ceiling=1))
    await callers.come("a")

    def abandon() -> asyncio.Task[Passage]:
        loop = asyncio.new_event_loop()
        task = loop.create_task(callers.gate.enter(1, BOUND))
        loop.run_until_complete(settle())
        loop.close()
        return task

    abandoned = await asyncio.to_thread(abandon)
    await callers.come("b")
    await callers.leave("a")
    assert callers.passed == ["a", "b"]
    assert not abandoned.done()


async def test_the_system_clock_waits_for_whichever_comes_first() -> None:
    clock, woken = SystemClock(), asyncio.Event()
    before = clock.now()
    await clock.wait(woken, 0.001)
    assert clock.now() >= before + 0.001
    woken.set()
    await clock.wait(woken, 3600)
    assert woken.is_set()
