"""A few calls pass a few others on their way to the ledger; whatever has an order keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from schemas.errors import LeaseLost
from schemas.identifiers import new_id
from tasks.ledger.calls import Completion, complete
from tasks.ledger.lane import are_apart
from tasks.ledger.operations import Accepted, Attempt, Operation, Outcome, Reserved
from tasks.ledger.recorder import FEW, IDLE_TURNS
from tasks.ledger.session import Ledger
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look
from tests.tasks.ledger.test_transaction import begin, reserve, settle, worker  # noqa: F401 - a fixture

MODEL = "gpt-4o-mini"
WAITING = "SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"
SUCCEEDED = "SELECT count(*) FROM llm_requests WHERE status = 'succeeded'"

A, B = reserve("a"), reserve("b")
STEP = begin(Attempt(new_id(), new_id()), new_id())


@pytest.mark.parametrize(("some", "others", "apart"), [
    ([A], [B], True),
    ([settle(A), B], [reserve("c"), settle(reserve("d"))], True),
    ([settle(A)], [A], False),
    ([settle(A), B], [settle(A, status="unknown")], False),
    ([STEP], [A], False),
    ([A], [B, STEP], False),
    ([A], [Accepted(uuid4(), "job")], False),
])  # fmt: skip
def test_only_calls_that_have_nothing_to_do_with_each_other_are_apart(
    some: Sequence[Operation], others: Sequence[Operation], apart: bool
) -> None:
    assert are_apart(some, others) == are_apart(others, some) == apart


class Stuck:
    """A call whose outcome is on its way to the ledger, and stays there until `release`."""

    def __init__(self, call: asyncio.Task[Completion], connection: Any) -> None:
        self.call = call
        self._connection = connection

    async def release(self) -> None:
        """Its way is free."""
        await self._connection.rollback()


@pytest.fixture
async def stuck(ledger: Ledger, provider: ScriptedProvider, look: Look) -> AsyncIterator[Stuck]:
    """A call whose row somebody else has locked since it was made."""
    await complete("Usual?", model=MODEL)
    provider.hold()
    call = asyncio.create_task(complete("Stuck?", model=MODEL))
    await provider.held(1)
    async with ledger.engine.connect() as other:
        await other.exec_driver_sql("SELECT FROM llm_requests WHERE status = 'reserved' FOR UPDATE")
        provider.release()
        while (await asyncio.to_thread(look, WAITING)) == [(0,)]:
            pass
        yield Stuck(call, other)
        await other.rollback()
    await call


async def test_a_call_passes_another_that_is_stuck(ledger: Ledger, stuck: Stuck, look: Look) -> None:
    await complete("Free?", model=MODEL)
    assert not stuck.call.done()
    assert look(SUCCEEDED) == [(2,)]
    await stuck.release()
    await stuck.call
    assert look(SUCCEEDED) == [(3,)]
    assert look("SELECT DISTINCT reserved_usd FROM budget_usage") == [(0,)]


async def recorded(ledger: Ledger, *operations: Operation) -> list[asyncio.Task[Outcome]]:
    """The operations are handed in, at once, and had every opportunity to set out."""
    tasks = [asyncio.create_task(ledger.recorder.record(operation)) for operation in operations]
    for _ in range(10 * IDLE_TURNS):
        await asyncio.sleep(0)
    return tasks


@pytest.mark.usefixtures("worker")
async def test_many_calls_wait_and_share_a_transaction(ledger: Ledger, stuck: Stuck) -> None:
    before = ledger.recorder.transactions
    calls = await recorded(ledger, *(reserve(f"many {number}") for number in range(FEW + 1)))
    assert ledger.recorder.transactions == before
    await stuck.release()
    assert all(isinstance(outcome, Reserved) for outcome in await asyncio.gather(*calls))
    assert ledger.recorder.transactions == before + 1


@pytest.mark.usefixtures("worker")
async def test_a_step_waits_for_calls_and_what_comes_after_it_for_the_step(ledger: Ledger, stuck: Stuck) -> None:
    before = ledger.recorder.transactions
    step, call = await recorded(ledger, STEP, reserve("after it"))
    assert ledger.recorder.transactions == before
    await stuck.release()
    assert isinstance(await call, Reserved)
    with pytest.raises(LeaseLost):  # its run is not there
        await step


@pytest.mark.usefixtures("worker")
async def test_what_waits_is_written_before_the_recorder_is_closed(ledger: Ledger, stuck: Stuck) -> None:
    calls = await recorded(ledger, *(reserve(f"last {number}") for number in range(FEW + 1)))
    closing = asyncio.create_task(ledger.recorder.close())
    await stuck.release()
    await closing
    assert all(isinstance(outcome, Reserved) for outcome in await asyncio.gather(*calls))
    assert (await stuck.call).text
