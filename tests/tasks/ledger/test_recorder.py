"""Durable writes share transactions, keep their order, and do not fail for one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from blocks import scripts
from schemas.errors import DatabaseUnavailable, LeaseLost
from schemas.identifiers import new_id
from tasks.ledger.calls import complete
from tasks.ledger.lane import Lane
from tasks.ledger.operations import Attempt, BeginStep, EndStep
from tasks.ledger.recorder import MOST_IN_A_BATCH
from tasks.ledger.runs import Run, RunRequest, open_run
from tasks.ledger.session import Ledger
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look


@pytest.fixture
async def run(ledger: Ledger) -> AsyncIterator[Run]:
    """A run in progress."""
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})) as opened:
        yield opened


def begin(run: Run, number: int, *, step_id: UUID | None = None, **columns: Any) -> BeginStep:
    """The beginning of a step called `step NUMBER`."""
    row = {
        "id": step_id or new_id(),
        "run_id": run.id,
        "name": f"step {number}",
        "version": "1",
        "ordinal": number,
        "key": f"key {number}",
        "attempts": 1,
        "model": None,
        "prompt_hash": None,
    }
    return BeginStep(row | columns, run.attempt)


def end(run: Run, step_id: UUID, status: str, output: dict[str, Any] | None = None) -> EndStep:
    """The end of a step."""
    return EndStep({"id": step_id, "status": status, "output": output, "error": None}, run.attempt)


async def test_writes_at_once_share_transactions(ledger: Ledger, run: Run, look: Look) -> None:
    before = ledger.recorder.transactions
    await asyncio.gather(*(ledger.recorder.record(begin(run, n)) for n in range(300)))
    assert ledger.recorder.transactions - before <= 2
    assert look("SELECT count(*) FROM steps") == [(300,)]


async def test_a_lone_write_waits_for_nobody(ledger: Ledger, run: Run, look: Look) -> None:
    await ledger.recorder.record(begin(run, 1))
    assert look("SELECT name FROM steps") == [("step 1",)]


async def test_a_batch_has_a_bound(ledger: Ledger, run: Run) -> None:
    before = ledger.recorder.transactions
    await asyncio.gather(*(ledger.recorder.record(begin(run, n)) for n in range(MOST_IN_A_BATCH + 1)))
    assert ledger.recorder.transactions - before == 2


async def test_writes_take_effect_in_the_order_they_were_handed_in(ledger: Ledger, run: Run, look: Look) -> None:
    step_id = new_id()
    ledger.recorder.record_soon(begin(run, 1, step_id=step_id))
    ledger.recorder.record_soon(end(run, step_id, "failed"))
    ledger.recorder.record_soon(begin(run, 1, step_id=step_id, attempts=2))
    await ledger.recorder.record(end(run, step_id, "completed", {"text": "yes"}))
    assert look("SELECT status, attempts, output FROM steps") == [("completed", 2, {"text": "yes"})]


async def test_what_is_written_soon_is_there_before_anything_written_after_it(
    ledger: Ledger, run: Run, look: Look
) -> None:
    for number in range(10):
        ledger.recorder.record_soon(begin(run, number))
    await ledger.recorder.record(begin(run, 10))
    assert look("SELECT count(*) FROM steps") == [(11,)]


@pytest.mark.parametrize("poison", [{"name": None}, {"ordinal": 2**40}, {"model": object()}, {"key": "nul \x00"}])
async def test_one_operation_that_cannot_be_written_fails_alone(
    ledger: Ledger, run: Run, look: Look, poison: dict[str, Any]
) -> None:
    operations = [begin(run, n, **(poison if n == 37 else {})) for n in range(100)]
    outcomes = await asyncio.gather(*map(ledger.recorder.record, operations), return_exceptions=True)
    assert isinstance(outcomes[37], Exception)
    assert not isinstance(outcomes[37], DatabaseUnavailable)
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [37]
    assert look("SELECT ordinal FROM steps ORDER BY ordinal") == [(n,) for n in range(100) if n != 37]


async def test_what_cannot_be_written_soon_is_logged_without_what_it_held(
    ledger: Ledger, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.recorder.record_soon(begin(run, 1, name=None, model="a private name"))
    await ledger.recorder.record(begin(run, 2))
    assert "a record was not written (IntegrityError)" in caplog.text
    assert "private" not in caplog.text


async def test_a_caller_that_is_cancelled_does_not_undo_its_write(ledger: Ledger, run: Run, look: Look) -> None:
    writing = asyncio.create_task(ledger.recorder.record(begin(run, 1)))
    await asyncio.sleep(0)  # it is on its way
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ledger.recorder.record(begin(run, 2))
    assert look("SELECT count(*) FROM steps") == [(2,)]


async def test_a_caller_that_does_not_learn_the_outcome_says_what_follows(ledger: Ledger, run: Run, look: Look) -> None:
    step_id = new_id()
    first = ledger.recorder.record(begin(run, 1, step_id=step_id), otherwise=lambda: end(run, step_id, "failed"))
    writing = asyncio.create_task(first)
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    with pytest.raises(IntegrityError):
        await ledger.recorder.record(begin(run, 2, name=None), otherwise=lambda: begin(run, 3))
    await ledger.recorder.record(begin(run, 4), otherwise=lambda: begin(run, 5))
    assert look("SELECT ordinal, status FROM steps ORDER BY 1") == [(1, "failed"), (3, "running"), (4, "running")]


SOMETIMES = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'scripted' USING ERRCODE = '{state}'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER sometimes BEFORE INSERT ON steps FOR EACH STATEMENT EXECUTE FUNCTION fail_twice();
"""


@pytest.mark.parametrize("state", ["40001", "40P01", "57P01"])
async def test_a_transaction_that_postgres_rolled_back_is_run_again(
    ledger: Ledger, run: Run, look: Look, state: str
) -> None:
    look(SOMETIMES.format(state=state))
    before = ledger.recorder.transactions
    await ledger.recorder.record(begin(run, 1))
    assert ledger.recorder.transactions - before == 3
    assert look("SELECT attempts FROM steps") == [(1,)]


async def test_a_deadlock_with_somebody_else_is_survived(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await complete("First?", model="gpt-4o-mini")
    lock = "SELECT FROM budget_usage WHERE period = '{}' FOR UPDATE"
    async with ledger.engine.connect() as other:
        await other.exec_driver_sql(lock.format("month"))
        call = asyncio.create_task(complete("Why?", model="gpt-4o-mini"))
        waiting = "SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"
        while (await asyncio.to_thread(look, waiting)) == [(0,)]:
            pass
        await other.exec_driver_sql(lock.format("day"))  # the call has this one and waits for ours
        await other.rollback()
    await call
    assert provider.paid == 2
    assert look("SELECT count(*), min(reserved_usd), max(reserved_usd) FROM budget_usage") == [(2, 0, 0)]


@pytest.fixture
def cut_after_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the next commit succeed and its news get lost, as when a connection breaks at that moment."""

    def install() -> None:
        transact, cut = Lane._transact, iter([True])

        async def commit_and_break(self: Lane, operations: Any) -> Any:
            outcomes = await transact(self, operations)
            if next(cut, False):
                raise DatabaseUnavailable("the connection broke after the commit")
            return outcomes

        monkeypatch.setattr(Lane, "_transact", commit_and_break)

    return install


MONEY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day'"


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 0.25}))
async def test_a_reservation_whose_commit_was_not_heard_of_is_not_made_twice(
    ledger: Ledger, provider: ScriptedProvider, look: Look, cut_after_commit: Callable[[], None]
) -> None:
    cut_after_commit()
    await complete("Why?", model="gpt-4o-mini")
    assert provider.paid == 1
    assert [(f"{row.reserved_usd:f}", f"{row.spent_usd:.2f}") for row in look(MONEY)] == [("0.0000000000", "0.25")]
    assert look("SELECT status FROM llm_requests") == [("succeeded",)]


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 0.25}))
async def test_an_answer_whose_commit_was_not_heard_of_is_not_counted_twice(
    ledger: Ledger, provider: ScriptedProvider, look: Look, cut_after_commit: Callable[[], None]
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model="gpt-4o-mini"))
    await provider.held(1)
    cut_after_commit()
    provider.release()
    await call
    assert [(f"{row.reserved_usd:f}", f"{row.spent_usd:.2f}") for row in look(MONEY)] == [("0.0000000000", "0.25")]
    assert look("SELECT status FROM answers") == [("answered",)]


async def test_a_pooler_that_forgets_prepared_statements_costs_no_answer(
    ledger: Ledger, provider: ScriptedProvider, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_poolers", set())
    await complete("Why?", model="gpt-4o-mini")
    (connection,) = [lane._connection for lane in ledger.recorder._lanes if lane._connection is not None]
    await connection.execute(text("DEALLOCATE ALL"))  # as a session that never knew them
    await complete("How?", model="gpt-4o-mini")
    await complete("When?", model="gpt-4o-mini")
    assert provider.paid == 3
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("succeeded", 3)]
    assert look("SELECT count(*) FROM budget_usage WHERE reserved_usd <> 0") == [(0,)]


async def test_what_belongs_to_an_attempt_without_its_run_is_refused_in_the_midst_of_others(
    ledger: Ledger, run: Run, look: Look
) -> None:
    stranger = BeginStep(begin(run, 1).row, Attempt(run.id, new_id()))
    nowhere = BeginStep(begin(run, 2).row, Attempt(new_id(), new_id()))
    mine = begin(run, 3)
    outcomes = await asyncio.gather(*map(ledger.recorder.record, (stranger, nowhere, mine)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LeaseLost, LeaseLost, type(None)]
    assert look("SELECT ordinal FROM steps") == [(3,)]
