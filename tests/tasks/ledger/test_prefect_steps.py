"""Inside a Prefect flow run a step is a Prefect task as well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext
from prefect.testing.utilities import prefect_test_harness
from pydantic import BaseModel

from schemas.errors import AnswerRejected, DatabaseUnavailable
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.steps import _prefect_task, step
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect API on SQLite, for as long as the session."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Prefect tasks are tried again at once."""
    _prefect_task.cache_clear()
    monkeypatch.setattr("prefect.tasks.exponential_backoff", lambda _: lambda retries: [0.0] * retries)
    yield
    _prefect_task.cache_clear()


class Said(BaseModel):
    """A model's words."""

    text: str


def request() -> RunRequest:
    """A run of the Prefect flow run in progress."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return RunRequest(flow="f", subject="s", project="default", parameters={}, prefect_flow_run_id=context.flow_run.id)


@step("ask-the-model", version="1")
async def ask(prompt: str) -> Said:
    """A step with one call."""
    return Said(text=(await complete(prompt, model="gpt-4o-mini")).text)


async def task_runs(flow_run_id: UUID) -> list[Any]:
    """The task runs that the server knows of, once it knows of any that has ended."""
    async with get_client() as client:
        while True:
            found = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            if found and all(run.state is not None and run.state.is_final() for run in found):
                return found
            await asyncio.sleep(0.05)


async def test_a_step_is_a_task_run_and_its_calls_belong_to_the_run(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    @flow(name="asks", persist_result=False)
    async def asks() -> tuple[UUID, Said]:
        run_request = request()
        assert run_request.prefect_flow_run_id is not None
        async with open_run(run_request):
            return run_request.prefect_flow_run_id, await ask("Why?")

    flow_run_id, said = await asks()
    assert said.text
    (task_run,) = await task_runs(flow_run_id)
    assert task_run.name.startswith("ask-the-model")
    assert task_run.state.is_completed()
    assert look("SELECT name, status FROM steps") == [("ask-the-model", "completed")]
    assert look("SELECT status, purpose, run_id IS NOT NULL AND step_id IS NOT NULL AS owned FROM llm_requests") == [
        ("succeeded", "ask-the-model", True)
    ]
    assert look("SELECT prefect_flow_run_id FROM run_attempts") == [(flow_run_id,)]


async def test_a_flow_run_that_prefect_retries_goes_on_with_its_run(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    tries: list[int] = []

    @flow(name="retried", retries=1, retry_delay_seconds=0, persist_result=False)
    async def retried() -> str:
        async with open_run(request()):
            said = await ask("Why?")
            tries.append(1)
            if len(tries) == 1:
                raise AnswerRejected("not yet")
            return said.text

    assert await retried()
    assert len(tries) == 2
    assert provider.paid == 1
    assert look("SELECT status FROM runs") == [("completed",)]
    assert look("SELECT status, attempts FROM steps") == [("completed", 1)]
    assert look("SELECT outcome FROM run_attempts ORDER BY started_at") == [("failed",), ("completed",)]


@pytest.mark.usefixtures("no_delays")
@pytest.mark.parametrize(
    ("error", "tries"), [(DatabaseUnavailable("away"), 4), (AnswerRejected("it did not fit"), 1), (KeyError("bug"), 1)]
)
async def test_only_trouble_around_us_is_tried_again_by_prefect(
    settings: Settings, look: Look, error: Exception, tries: int
) -> None:
    tried: list[int] = []

    @step(f"troubled-{type(error).__name__}", version="1")
    async def troubled() -> Said:
        tried.append(1)
        raise error

    @flow(name="troubled", persist_result=False)
    async def in_trouble() -> None:
        async with open_run(request()):
            await troubled()

    with pytest.raises(type(error)):
        await in_trouble()
    assert len(tried) == tries
    assert look("SELECT status, attempts FROM steps") == [("failed", tries)]


@pytest.mark.usefixtures("no_delays")
async def test_a_step_that_met_a_database_that_was_away_ends_well(settings: Settings, look: Look) -> None:
    tried: list[int] = []

    @step("recovers", version="1")
    async def recovers() -> Said:
        tried.append(1)
        if len(tried) == 1:
            raise DatabaseUnavailable("away")
        return Said(text="back")

    @flow(name="recovering", persist_result=False)
    async def recovering() -> Said:
        async with open_run(request()):
            return await recovers()

    assert (await recovering()).text == "back"
    assert look("SELECT status, attempts FROM steps") == [("completed", 2)]
