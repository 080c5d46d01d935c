"""Postgres goes away and comes back: nothing that was acknowledged is lost, nothing is counted twice."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel

from blocks.database import create_database, normal_url, require_current_schema
from blocks.embedded.stack import EmbeddedStack
from schemas.errors import DatabaseUnavailable
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.recorder import Recorder
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.steps import step
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
costly = pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 0.25}))


@pytest.fixture
def database_url(stoppable_database_url: str) -> str:
    """URL of a database whose server may be stopped."""
    return stoppable_database_url


@pytest.fixture
def stack(stoppable: EmbeddedStack) -> EmbeddedStack:
    """Its server."""
    return stoppable


def crash(stack: EmbeddedStack) -> None:
    """The server dies without a farewell and is started again."""
    (pid,) = [state.pid for state in stack.running() if state.name == "postgres"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    stack.database_url("stoppable")


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 0.25}), latency_ms=20)
async def test_a_crash_of_the_server_in_the_midst_of_calls_loses_and_doubles_nothing(
    environment: Environment, settings: Settings, provider: ScriptedProvider, stack: EmbeddedStack, look: Look
) -> None:
    environment(HEADRACE_PARALLEL_CALLS=16)
    async with open_ledger():
        crashing: asyncio.Task[None] | None = None
        answers = []
        calls = [asyncio.create_task(complete(f"Question {n}?", model=MODEL)) for n in range(300)]
        for done, call in enumerate(asyncio.as_completed(calls)):
            answers.append(await call)
            if done in (50, 150):
                if crashing is not None:
                    await crashing
                crashing = asyncio.create_task(asyncio.to_thread(crash, stack))
        assert crashing is not None
        await crashing
    assert provider.paid == 300
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("succeeded", 300)]
    stored = {row.id for row in look("SELECT id FROM llm_requests")}
    assert {answer.request_id for answer in answers} == stored
    assert look("SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day'") == [(0, 75)]
    assert look("SELECT status, count(*) FROM answers GROUP BY 1") == [("answered", 300)]


@pytest.fixture
async def hasty(ledger: Ledger) -> AsyncIterator[Ledger]:
    """A ledger whose recorder tells its callers soon that Postgres is away."""
    ledger.recorder = Recorder(ledger.engine, patience_seconds=0.2)
    yield ledger
    await ledger.recorder.close()


@costly
async def test_an_answer_that_came_while_postgres_was_away_is_recorded_when_it_is_back(
    hasty: Ledger, provider: ScriptedProvider, stack: EmbeddedStack, look: Look
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    await asyncio.to_thread(stack.stop, force=True)
    provider.release()
    with pytest.raises(DatabaseUnavailable):
        await call
    with pytest.raises(DatabaseUnavailable):
        await complete("Something else?", model=MODEL)
    await asyncio.to_thread(stack.database_url, "restarted")
    again = await complete("Why?", model=MODEL)
    assert again.replayed
    assert provider.paid == 1
    assert look("SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day'")[0].reserved_usd == 0
    assert [row.status for row in look("SELECT status FROM llm_requests ORDER BY id")] == ["succeeded", "replayed"]


@costly
async def test_an_answer_that_could_not_be_recorded_to_the_end_is_logged(
    hasty: Ledger, provider: ScriptedProvider, stack: EmbeddedStack, caplog: pytest.LogCaptureFixture
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    await asyncio.to_thread(stack.stop, force=True)
    provider.release()
    with pytest.raises(DatabaseUnavailable):
        await call
    assert "what became of 1 calls or steps waits to be recorded" in caplog.text
    await hasty.recorder.close()
    assert "what became of 1 calls or steps is not on record" in caplog.text
    await asyncio.to_thread(stack.database_url, "restarted")


class Noted(BaseModel):
    """What a step without a call gives."""

    text: str


async def test_a_step_that_began_and_ended_while_postgres_was_away_is_on_record_when_it_is_back(
    hasty: Ledger, stack: EmbeddedStack, look: Look, provider: ScriptedProvider
) -> None:
    @step("note", version="1")
    async def note() -> Noted:
        return Noted(text="done")

    @step("ask", version="1")
    async def ask() -> Noted:
        await asyncio.to_thread(stack.database_url, "restarted")
        return Noted(text=(await complete("Why?", model=MODEL)).text)

    request = RunRequest(flow="test", subject="outage", project="test", parameters={})
    async with open_run(request) as run:
        await asyncio.to_thread(stack.stop, force=True)
        await note()
        with pytest.raises(DatabaseUnavailable):
            await complete("Is anybody there?", model=MODEL)
        await ask()
    steps = look(
        "SELECT name, status, output->>'text' AS said FROM steps WHERE run_id = :run ORDER BY ordinal", run=run.id
    )
    assert [(row.name, row.status) for row in steps] == [("note", "completed"), ("ask", "completed")]
    assert steps[0].said == "done"
    assert look("SELECT status FROM runs WHERE id = :run", run=run.id) == [("completed",)]
    assert provider.paid == 1


class Heard(logging.Handler):
    """Knows when something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


async def test_a_lease_is_renewed_again_when_the_server_is_back(
    environment: Environment, settings: Settings, stack: EmbeddedStack, look: Look
) -> None:
    environment(HEADRACE_LEASE_RENEWAL_SECONDS=0.05)
    heard, log = Heard(), logging.getLogger("tasks.ledger.workers")
    log.addHandler(heard)
    async with open_ledger():
        await asyncio.to_thread(stack.stop, force=True)
        await asyncio.wait_for(heard.event.wait(), 30)  # a renewal failed
        log.removeHandler(heard)
        await asyncio.to_thread(stack.database_url, "restarted")
        look("UPDATE workers SET lease_until = now()")
        renewed = "SELECT FROM workers, pg_sleep(0.02) WHERE lease_until > now() + interval '20 s'"
        while await asyncio.to_thread(look, renewed) == []:
            pass
    assert look("SELECT FROM workers WHERE lease_until > now()") == [], "it ends with the ledger"


def test_a_password_that_is_not_accepted_is_unavailable_and_not_repeated(
    stack: EmbeddedStack, database_url: str, look: Look
) -> None:
    rules = stack.home / "postgres" / "data" / "pg_hba.conf"
    before = rules.read_text()
    look("CREATE ROLE stranger LOGIN PASSWORD 'right'")
    rules.write_text("local all stranger scram-sha-256\n" + before)
    look("SELECT pg_reload_conf()")
    url = normal_url(database_url).set(username="stranger", password="wrong-one")
    engine = create_database(url)
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as failure:
        require_current_schema(engine)
    engine.dispose()
    assert "wrong-one" not in str(failure.value)
    rules.write_text(before)
    look("SELECT pg_reload_conf()")
    look("DROP ROLE stranger")
