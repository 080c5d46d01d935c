"""Large bodies go ahead of their outcome: both are there in the end, or the outcome is not."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from dataclasses import replace

import pytest

from schemas.errors import BadInput
from tasks.ledger.bodies import LARGE, Bodies
from tasks.ledger.calls import Embeddings, embed
from tasks.ledger.large_bodies import LargeBodies
from tasks.ledger.operations import Settle
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

TEXTS = [f"text {number} " + " ".join(f"{number}and{each}" for each in range(100)) for number in range(100)]
BODIES = "SELECT request, response FROM llm_bodies"
CALLS = "SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1"


@pytest.fixture
def stored_ahead(monkeypatch: pytest.MonkeyPatch) -> list[Settle]:
    """What was left of the outcomes whose bodies were stored ahead."""
    left: list[Settle] = []
    store = LargeBodies.store

    async def watch(self: LargeBodies, settle: Settle) -> Settle:
        left.append(await store(self, settle))
        return left[-1]

    monkeypatch.setattr(LargeBodies, "store", watch)
    return left


async def test_the_bodies_of_a_large_answer_are_stored_and_replayed(
    ledger: Ledger, provider: ScriptedProvider, look: Look, stored_ahead: list[Settle]
) -> None:
    first = await embed(TEXTS)
    (bodies,) = look(BODIES)
    assert sum(len(zlib.decompress(body)) for body in bodies) > LARGE
    assert [settle.bodies for settle in stored_ahead] == [None]
    again = await embed(TEXTS)
    assert again.replayed
    assert again.vectors == first.vectors
    assert provider.paid == 1
    ((request,),) = look("SELECT request FROM llm_requests WHERE status = 'succeeded'")
    assert request["texts"] == 100
    assert request["characters"] == sum(map(len, TEXTS))


@pytest.mark.scripted(faults={2: "400"})
async def test_a_small_answer_and_a_large_failure_go_with_their_batch(
    ledger: Ledger, look: Look, stored_ahead: list[Settle]
) -> None:
    await embed(["a few words"])
    with pytest.raises(BadInput):
        await embed([f"{hashlib.sha512(text.encode()).hexdigest()} {text}" for text in TEXTS])
    assert stored_ahead == []
    sent = look("SELECT request FROM llm_bodies ORDER BY length(request)")
    assert [len(zlib.decompress(row.request)) > LARGE for row in sent] == [False, True]


AWAY_ONCE = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('tries') = 1 THEN RAISE EXCEPTION 'scripted' USING ERRCODE = '57P01'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER once BEFORE INSERT ON llm_bodies FOR EACH STATEMENT EXECUTE FUNCTION fail_once();
"""


async def test_where_postgres_goes_away_meanwhile_the_batch_has_all(
    ledger: Ledger, provider: ScriptedProvider, look: Look, stored_ahead: list[Settle]
) -> None:
    look(AWAY_ONCE)
    first = await embed(TEXTS)
    assert [settle.bodies is None for settle in stored_ahead] == [False]
    assert len(look(BODIES)) == 1
    assert (await embed(TEXTS)).vectors == first.vectors
    assert provider.paid == 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Set when large bodies are durable; and what their storing then waits for."""
    stored, go_on = asyncio.Event(), asyncio.Event()
    store = LargeBodies.store

    async def hold(self: LargeBodies, settle: Settle) -> Settle:
        left = await store(self, settle)
        stored.set()
        await go_on.wait()
        return left

    monkeypatch.setattr(LargeBodies, "store", hold)
    return stored, go_on


Gate = tuple[asyncio.Event, asyncio.Event]


async def test_a_caller_that_is_cancelled_between_does_not_undo_the_answer(
    ledger: Ledger, provider: ScriptedProvider, look: Look, gate: Gate
) -> None:
    stored, go_on = gate
    asking = asyncio.create_task(embed(TEXTS))
    await stored.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    go_on.set()
    again = await embed(TEXTS)
    assert again.replayed
    assert provider.paid == 1
    assert look(CALLS) == [("replayed", 1), ("succeeded", 1)]


async def test_a_recorder_that_closes_between_writes_the_outcome_first(ledger: Ledger, look: Look, gate: Gate) -> None:
    stored, go_on = gate
    asking = asyncio.create_task(embed(TEXTS))
    await stored.wait()
    closing = asyncio.create_task(ledger.recorder.close())
    await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await asyncio.gather(asking, closing)
    assert look(CALLS) == [("succeeded", 1)]


async def test_the_end_of_a_run_sums_up_what_was_still_on_its_way(ledger: Ledger, look: Look, gate: Gate) -> None:
    stored, go_on = gate

    async def run_once() -> None:
        async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})):
            await embed(TEXTS)

    running = asyncio.create_task(run_once())
    await stored.wait()
    running.cancel()
    await asyncio.sleep(0)
    await embed(["what is written after the end of the run, where that does not wait"])
    meanwhile = look("SELECT status FROM runs")
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    (run,) = look("SELECT status, cost_usd FROM runs")
    (call,) = look("SELECT cost_usd, reserved_usd FROM llm_requests WHERE run_id IS NOT NULL")
    assert meanwhile == [("running",)]
    assert run.status == "cancelled"
    assert 0 < call.cost_usd < call.reserved_usd
    assert run.cost_usd == call.cost_usd


async def test_the_first_outcome_keeps_its_bodies(ledger: Ledger, look: Look, stored_ahead: list[Settle]) -> None:
    await embed(TEXTS)
    before = look("SELECT * FROM llm_bodies")
    ((request_id,),) = look("SELECT id FROM llm_requests")
    late = replace(stored_ahead[0], bodies=Bodies(b"other", b"other" * LARGE))
    assert late.row["id"] == request_id
    await ledger.recorder.record(late)
    assert look("SELECT * FROM llm_bodies") == before


async def test_many_large_answers_at_once_are_all_there(
    ledger: Ledger, provider: ScriptedProvider, look: Look, stored_ahead: list[Settle]
) -> None:
    async def ask(number: int) -> Embeddings:
        return await embed([f"{number} {each}" for each in TEXTS])

    first = await asyncio.gather(*map(ask, range(12)))
    again = await asyncio.gather(*map(ask, range(12)))
    assert [each.vectors for each in again] == [each.vectors for each in first]
    assert len(stored_ahead) == provider.paid == 12
    assert look(CALLS) == [("replayed", 12), ("succeeded", 12)]
    assert look("SELECT reserved_usd FROM budget_usage WHERE reserved_usd <> 0") == []


def test_a_process_killed_between_body_and_outcome_is_asked_again_and_counted(
    environment: Environment, database_url: str, look: Look, start_process: StartProcess
) -> None:
    with ScriptedProvider() as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="key", OPENAI_BASE_URL=provider.url)
        doomed = start_process("embedding_process.embed_and_stop", texts=TEXTS)
        assert doomed.line() == "bodies are stored"
        doomed.kill()
        assert look(CALLS) == [("reserved", 1)]
        assert len(look(BODIES)) == 1
        heir = start_process("embedding_process.embed_all", texts=TEXTS)
        assert heir.line() == {"replayed": False, "vectors": 100}
        last = start_process("embedding_process.embed_all", texts=TEXTS)
        assert last.line() == {"replayed": True, "vectors": 100}
        assert provider.paid == 2
    assert look(CALLS) == [("replayed", 1), ("succeeded", 1), ("unknown", 1)]
    ((answered,),) = look("SELECT r.status FROM llm_requests AS r JOIN answers ON answers.request_id = r.id")
    assert answered == "succeeded"
