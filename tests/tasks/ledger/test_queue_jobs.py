"""Calls that become jobs in a provider's queue: each is submitted once, whoever waits for it, however often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Row

from schemas.errors import BudgetExceeded, ConfigurationError, JobEnded, PromptEchoed, RetriesExhausted
from schemas.settings import Settings
from tasks.ledger.calls import complete, complete_structured, estimate_cost
from tasks.ledger.limits import set_budgets
from tasks.ledger.requests import get_request
from tasks.ledger.runs import RunRequest, open_run
from tests.conftest import Environment
from tests.scripted_runpod import API_KEY, ENDPOINT, Script, ScriptedRunPod, llama, worker
from tests.tasks.ledger.conftest import Look, StartProcess

MODEL = "runpod/default"
ROWS = "SELECT status, provider_request_id AS job, cost_usd, error_class FROM llm_requests ORDER BY id"
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"
WORST = Decimal("0.055")
"""55 s at 0.001 USD."""
PAID = Decimal("0.0012")
"""The 1.2 s of execution that the scripted job reports."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch, no_pauses: None) -> None:
    monkeypatch.setattr("blocks.providers.runpod_job.FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr("blocks.providers.runpod_job.LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def runpod(request: pytest.FixtureRequest) -> Iterator[ScriptedRunPod]:
    """A scripted RunPod, as the test's marker `scripted` wants it."""
    marker = request.node.get_closest_marker("scripted")
    with ScriptedRunPod(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def settings(environment: Environment, database_url: str, runpod: ScriptedRunPod) -> Settings:
    """The test's database, and its queue at a price."""
    return environment(
        DATABASE_URL=database_url,
        RUNPOD_API_KEY=API_KEY,
        RUNPOD_ENDPOINT_BASE_URL=runpod.url,
        LEXYBRAIN_RUNPOD_ENDPOINT_ID=ENDPOINT,
        LEXYBRAIN_MODEL_VERSION="llama-3-8b",
        HEADRACE_RUNPOD_USD_PER_SECOND="0.001",
    )


async def test_the_job_is_on_record_when_it_is_first_looked_at(
    environment: Environment, database_url: str, look: Look
) -> None:
    seen: list[Row[Any]] = []

    def output(_: object) -> dict[str, Any]:
        seen.extend(look(ROWS))
        return llama("yes")

    with ScriptedRunPod(Script(states=("COMPLETED",), output=output)) as runpod:
        environment(DATABASE_URL=database_url, RUNPOD_API_KEY=API_KEY, RUNPOD_ENDPOINT_BASE_URL=runpod.url)
        answer = await complete("Why?", model=f"runpod/{ENDPOINT}")
    assert seen == [("reserved", "0000-u1", None, None)]
    assert (answer.text, answer.cost_usd, answer.cost_source) == ("yes", None, "unpriced")


async def test_an_answer_costs_its_seconds_and_is_replayed_for_nothing(
    settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    first, second = await complete("Why?", model=MODEL), await complete("Why?", model=MODEL)
    assert (first.cost_usd, first.cost_source, first.latency_ms) == (PAID, "price_table", 1500)
    assert (second.replayed, second.cost_usd, second.latency_ms) == (True, 0, 1500)
    assert runpod.count("run") == 1
    assert look(DAY) == [(0, PAID)]
    assert look("SELECT DISTINCT model_version, provider, answered_model FROM llm_requests") == [
        ("llama-3-8b", "runpod", "llama-3-8b.gguf")
    ]
    assert (await get_request(first.request_id)).provider_request_id == "0000-u1"


async def test_the_job_of_a_killed_process_is_waited_for_by_the_next_one(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    runpod.hold()
    doomed = start_process("ask_one", prompt="Why?", model=MODEL)
    assert doomed.line()["worker"]
    await runpod.served("status")
    doomed.kill()
    assert look(ROWS) == [("reserved", "0000-u1", None, None)]
    runpod.release()
    heir = start_process("ask_one", prompt="Why?", model=MODEL)
    assert heir.line()["worker"]
    assert heir.line() == {"texts": ["yes"], "replayed": 0}
    assert runpod.count("run") == 1
    assert runpod.count("cancel") == 0
    assert look(ROWS) == [("succeeded", "0000-u1", PAID, None)]
    assert look("SELECT status FROM answers") == [("answered",)]
    assert look(DAY) == [(0, PAID)]


async def test_a_resumed_run_waits_for_the_stored_job(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    runpod.hold()
    doomed = start_process("run_steps", prompts=["One?", "Two?"], model=MODEL)
    run = doomed.line()["run"]
    await runpod.served("status")
    doomed.kill()
    runpod.release()
    heir = start_process("run_steps", prompts=["One?", "Two?"], model=MODEL, resume=run)
    assert [heir.line() for _ in range(3)] == [{"run": run}, {"began": "One?"}, {"began": "Two?"}]
    with pytest.raises(EOFError):
        heir.line()
    assert [body["input"]["prompt"] for body in runpod.bodies("run")] == ["One?", "Two?"]
    assert look(ROWS) == [("succeeded", "0000-u1", PAID, None), ("succeeded", "0001-u1", PAID, None)]
    assert look("SELECT status, cost_usd FROM runs") == [("completed", 2 * PAID)]


async def kill_one_that_waits(runpod: ScriptedRunPod, start_process: StartProcess) -> None:
    """A process that waits for the job of `Why?` is dead."""
    runpod.hold()
    doomed = start_process("ask_one", prompt="Why?", model=MODEL)
    await runpod.served("status")
    doomed.kill()
    runpod.release()


async def test_another_run_has_the_answer_of_an_unfinished_job_as_a_use_of_its_own(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    await kill_one_that_waits(runpod, start_process)
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})) as run:
        answer = await complete("Why?", model=MODEL)
    assert answer.replayed
    assert runpod.count("run") == 1
    assert look("SELECT status, run_id FROM llm_requests ORDER BY id") == [("succeeded", None), ("replayed", run.id)]


async def test_a_job_that_was_cancelled_since_is_settled_and_a_new_one_submitted(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    await kill_one_that_waits(runpod, start_process)
    runpod.end("CANCELLED")
    assert not (await complete("Why?", model=MODEL)).replayed
    assert look(ROWS) == [("failed", "0000-u1", PAID, "JobEnded"), ("succeeded", "0001-u1", PAID, None)]
    assert look(DAY) == [(0, 2 * PAID)]


async def test_a_job_whose_result_is_gone_stays_unknown_and_is_not_looked_for_again(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    await kill_one_that_waits(runpod, start_process)
    runpod.forget()
    runpod._script = Script(output=llama("Why?"))  # an echo: the key stays without an answer
    for _ in range(2):
        with pytest.raises(PromptEchoed):
            await complete("Why?", model=MODEL)
    assert look(ROWS)[0] == ("unknown", "0000-u1", None, "JobEnded")
    assert [served.status for served in runpod.log if served.operation == "status"].count(404) == 1
    assert look(DAY) == [(0, WORST + 2 * PAID)]
    assert look("SELECT FROM answers") == []


@pytest.mark.scripted(faults={("run", 1): "cut"})
async def test_a_submission_without_an_answer_counts_as_spent_and_is_made_anew(
    settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    await complete("Why?", model=MODEL)
    assert look(ROWS) == [("unknown", None, None, "ProviderTimeout"), ("succeeded", "0001-u1", PAID, None)]
    assert look(DAY) == [(0, WORST + PAID)]


@pytest.mark.scripted(script=Script(execution_ms=None))
async def test_a_job_that_is_too_late_is_cancelled_and_cost_nothing_while_it_was_queued(
    environment: Environment, settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    environment(LEXYBRAIN_MAX_LATENCY_MS=200, HEADRACE_RETRY_ATTEMPTS=1)
    runpod.hold()
    with pytest.raises(RetriesExhausted):
        await complete("Why?", model=MODEL)
    assert runpod.count("cancel") == 1
    assert look(ROWS) == [("failed", "0000-u1", 0, "ProviderTimeout")]
    assert look(DAY) == [(0, 0)]


@pytest.mark.scripted(script=Script(states=("IN_PROGRESS",), execution_ms=None))
async def test_a_cancelled_job_that_ran_for_an_unknown_time_costs_the_most_it_can(
    environment: Environment, settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    environment(LEXYBRAIN_RUNPOD_TIMEOUT_MS=200, HEADRACE_RETRY_ATTEMPTS=1)
    with pytest.raises(RetriesExhausted):
        await complete("Why?", model=MODEL)
    worst = Decimal("0.006")  # RunPod takes no limit on execution of less than 6 s
    assert look(ROWS) == [("failed", "0000-u1", worst, "ProviderTimeout")]
    assert look(DAY) == [(0, worst)]


@pytest.mark.scripted(script=Script(cancelled=None), faults={("status", n): 503 for n in range(1, 9)})
async def test_a_late_job_that_cannot_be_cancelled_is_waited_for_by_the_next_attempt(
    environment: Environment, settings: Settings, runpod: ScriptedRunPod, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.providers.runpod_job.FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("blocks.providers.runpod_job.LONGEST_PAUSE_SECONDS", 0.1)
    environment(LEXYBRAIN_MAX_LATENCY_MS=300, HEADRACE_RETRY_ATTEMPTS=10)
    answer = await complete("Why?", model=MODEL)
    assert (answer.text, runpod.count("run")) == ("yes", 1)
    assert look(ROWS) == [("succeeded", "0000-u1", PAID, None)]
    assert look(DAY) == [(0, PAID)]


@pytest.mark.scripted(script=Script(execution_ms=None))
async def test_the_job_of_a_caller_that_is_cancelled_is_cancelled(
    settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    runpod.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await runpod.served("status")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert runpod.count("cancel") == 1
    assert look(ROWS) == [("failed", "0000-u1", 0, "CancelledError")]
    runpod.release()
    await complete("Why?", model=MODEL)
    assert runpod.count("run") == 2


@pytest.mark.scripted(script=Script(cancelled="COMPLETED"))
async def test_the_answer_that_a_cancelled_caller_left_behind_is_had_by_the_next(
    settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    runpod.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await runpod.served("status")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await complete("Why?", model=MODEL)).text == "yes"
    assert runpod.count("run") == 1
    assert look(ROWS) == [("succeeded", "0000-u1", PAID, None)]


@pytest.mark.scripted(script=Script(states=("IN_PROGRESS", "CANCELLED")))
async def test_a_job_that_somebody_cancels_is_not_submitted_again_by_itself(
    settings: Settings, runpod: ScriptedRunPod, look: Look
) -> None:
    with pytest.raises(JobEnded):
        await complete("Why?", model=MODEL)
    assert runpod.count("run") == 1
    assert look(ROWS) == [("failed", "0000-u1", PAID, "JobEnded")]


async def test_jobs_that_fail_are_tried_again_and_each_is_paid(
    environment: Environment, database_url: str, look: Look
) -> None:
    scripts = iter(
        [
            Script(states=("FAILED",)),
            Script(output=worker("", error="out of memory", error_type="OutOfMemoryError")),
            Script(states=("TIMED_OUT",)),
            Script(output=worker("yes")),
        ]
    )
    with ScriptedRunPod(lambda _: next(scripts)) as runpod:
        environment(
            DATABASE_URL=database_url,
            RUNPOD_API_KEY=API_KEY,
            RUNPOD_ENDPOINT_BASE_URL=runpod.url,
            HEADRACE_RUNPOD_USD_PER_SECOND="0.001",
        )
        answer = await complete("Why?", model=f"runpod/{ENDPOINT}")
    assert answer.answered_model == "lexybrain-2"
    assert [(row.status, row.error_class) for row in look(ROWS)] == [
        ("failed", "ProviderUnavailable"),
        ("failed", "ProviderUnavailable"),
        ("failed", "ProviderTimeout"),
        ("succeeded", None),
    ]
    assert look(DAY) == [(0, 4 * PAID)]


async def test_the_most_a_job_can_cost_must_fit_the_budget(settings: Settings, runpod: ScriptedRunPod) -> None:
    assert (await estimate_cost("Why?", model=MODEL)).usd == WORST
    await set_budgets(day="0.05")
    with pytest.raises(BudgetExceeded):
        await complete("Why?", model=MODEL)
    assert runpod.log == []
    await set_budgets(day="0.055")
    assert (await complete("Why?", model=MODEL)).cost_usd == PAID


async def test_without_a_price_a_queue_is_refused_under_a_budget_unless_it_is_named(
    environment: Environment, settings: Settings, runpod: ScriptedRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_RUNPOD_USD_PER_SECOND")
    environment()
    await set_budgets(day="1")
    with pytest.raises(ConfigurationError, match="HEADRACE_ALLOW_UNPRICED"):
        await complete("Why?", model=MODEL)
    assert runpod.log == []
    environment(HEADRACE_ALLOW_UNPRICED=MODEL)
    assert (await complete("Why?", model=MODEL)).cost_source == "unpriced"


class Verdict(BaseModel):
    """A model's verdict."""

    passed: bool


async def test_an_answer_that_does_not_fit_is_repaired_in_a_new_job(
    environment: Environment, database_url: str
) -> None:
    outputs = iter([llama("It passed."), llama('```json\n{"passed": true}\n```')])
    with ScriptedRunPod(lambda _: Script(output=next(outputs))) as runpod:
        environment(DATABASE_URL=database_url, RUNPOD_API_KEY=API_KEY, RUNPOD_ENDPOINT_BASE_URL=runpod.url)
        answer = await complete_structured("Did it pass?", Verdict, model=f"runpod/{ENDPOINT}")
    assert answer.value == Verdict(passed=True)
    first, second = [body["input"]["prompt"] for body in runpod.bodies("run")]
    assert first.startswith("Did it pass?\n\nAnswer with JSON only")
    assert "Assistant: It passed.\n\nUser: That does not fit the schema" in second


async def test_a_caller_cancelled_while_it_waits_for_an_earlier_job_leaves_the_key_free(
    settings: Settings, runpod: ScriptedRunPod, look: Look, start_process: StartProcess
) -> None:
    await kill_one_that_waits(runpod, start_process)
    runpod.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await runpod.served("status", runpod.count("status") + 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    runpod.release()
    assert (await complete("Why?", model=MODEL)).text == "yes"
    assert look("SELECT status FROM answers") == [("answered",)]
    assert (runpod.count("run"), runpod.count("cancel")) == (2, 1)
