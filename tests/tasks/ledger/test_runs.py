"""Runs: their outcome, who works on them, and how they go on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, text

from schemas.errors import AnswerRejected, BadInput, BudgetExceeded, DatabaseUnavailable, LeaseLost, NotFound, RunBusy
from schemas.identifiers import new_id
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.limits import set_budgets
from tasks.ledger.run_records import list_runs, read_run, read_run_detail
from tasks.ledger.runs import RunRequest, current_run, hold_run, open_run, resuming
from tasks.ledger.scope import current_scope
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.steps import step
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

MODEL = "gpt-4o-mini"
REQUEST = RunRequest(flow="f", subject="s", project="default", parameters={"text": "a\x00b", "n": 1})
RUN = "SELECT status, error, completed_at IS NOT NULL AS ended FROM runs"
ATTEMPTS = "SELECT outcome, ended_at IS NOT NULL AS ended FROM run_attempts ORDER BY started_at"


class Said(BaseModel):
    """A model's words."""

    text: str


@step("ask", version="1")
async def ask(prompt: str) -> Said:
    """A step with one call."""
    return Said(text=(await complete(prompt, model=MODEL)).text)


async def test_a_run_that_ends_well_is_completed_with_its_result_and_cost(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST) as run:
        assert current_run.get() is run
        assert look(RUN) == [("running", None, False)]
        first = await complete("Why?", model=MODEL)
        await complete("Why?", model=MODEL)
        run.result = {"answer": "42\x00"}
    assert current_run.get() is None
    assert current_scope.get() is None
    record = await read_run(run.id)
    assert (record.status, record.result, record.cost_usd) == ("completed", {"answer": "42\ufffd"}, first.cost_usd)
    assert record.parameters == {"text": "a\ufffdb", "n": 1}
    assert look(RUN) == [("completed", None, True)]
    assert look(ATTEMPTS) == [("completed", True)]
    assert look("SELECT DISTINCT run_id FROM llm_requests") == [(run.id,)]


async def fail_with(error: BaseException) -> UUID:
    """A run that ends with `error`; returns its id."""
    async with open_run(REQUEST) as run:
        found = run.id
        raise error
    return found


async def test_an_error_raised_on_purpose_is_recorded_with_its_code_and_knows_its_run(
    ledger: Ledger, look: Look
) -> None:
    error = AnswerRejected("it did not fit", requests=["a"])
    with pytest.raises(AnswerRejected):
        await fail_with(error)
    (run,) = look("SELECT id, status, error FROM runs")
    assert run.status == "failed"
    assert run.error == {
        "code": "answer_rejected",
        "message": "it did not fit",
        "details": {"requests": ["a"], "run_id": str(run.id)},
    }
    assert error.details["run_id"] == str(run.id)
    assert look(ATTEMPTS) == [("failed", True)]


async def test_a_defect_is_recorded_without_what_it_said(
    ledger: Ledger, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError):
        await fail_with(ZeroDivisionError("a private prompt"))
    message = "unexpected ZeroDivisionError; the log has its traceback"
    assert look(RUN) == [("failed", {"code": "internal", "message": message}, True)]
    assert "ended by a defect" in caplog.text


async def test_a_run_that_is_interrupted_is_cancelled_and_says_how_to_go_on(
    ledger: Ledger, look: Look, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()

    async def work() -> None:
        async with open_run(REQUEST):
            started.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await started.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert look(RUN) == [("cancelled", {"code": "cancelled", "message": "interrupted"}, True)]
    assert f"headrace resume {look('SELECT id FROM runs')[0].id}" in caplog.text


async def test_a_run_that_meets_the_wall_keeps_what_it_has_and_goes_on_when_the_budget_allows(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await set_budgets(day="0.0007")

    async def work() -> list[Said]:
        async with open_run(REQUEST):
            return [await ask(f"Question {n}?") for n in range(20)]

    with pytest.raises(BudgetExceeded) as refusal:
        await work()
    paid = provider.paid
    assert 0 < paid < 20
    assert look("SELECT status, error ->> 'code' AS code FROM runs") == [("failed", "budget_exceeded")]
    await set_budgets(day="1")
    resuming.set(UUID(refusal.value.details["run_id"]))
    assert len(await work()) == 20
    assert provider.paid == 20
    assert look("SELECT status, error FROM runs") == [("completed", None)]
    assert look("SELECT count(*) FROM llm_requests WHERE status = 'replayed'") == [(0,)], "finished steps ask nobody"


async def test_a_resumed_run_replays_finished_steps_and_does_not_run_them_again(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    ran: list[str] = []

    @step("count", version="1")
    async def counted(name: str) -> Said:
        ran.append(name)
        if name == "second" and len(ran) == 2:
            raise AnswerRejected("not yet")
        return Said(text=f"{name} \x00")

    async def work() -> list[Said]:
        async with open_run(REQUEST) as run:
            said = [await counted(name) for name in ("first", "second", "third")]
            run.result = {"n": len(said)}
            return said

    with pytest.raises(AnswerRejected) as failure:
        await work()
    resuming.set(UUID(failure.value.details["run_id"]))
    resumed = await work()
    assert ran == ["first", "second", "second", "third"]
    assert [said.text for said in resumed] == ["first \ufffd", "second \ufffd", "third \ufffd"]
    assert look("SELECT name, status, attempts, ordinal, error FROM steps ORDER BY ordinal") == [
        ("count", "completed", 1, 1, None),
        ("count", "completed", 2, 2, None),
        ("count", "completed", 1, 4, None),
    ]
    detail = await read_run_detail(UUID(failure.value.details["run_id"]))
    assert (detail.run.status, detail.attempts, len(detail.steps)) == ("completed", 2, 3)
    assert look(ATTEMPTS) == [("failed", True), ("completed", True)]


async def test_a_resume_holds_for_one_run_only(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST) as first:
        pass
    resuming.set(first.id)
    async with open_run(REQUEST) as again:
        assert again.id == first.id
    async with open_run(REQUEST) as other:
        assert other.id != first.id
    assert look("SELECT count(*) FROM runs") == [(2,)]


async def test_a_run_that_does_not_exist_cannot_be_resumed(ledger: Ledger) -> None:
    missing = uuid4()
    resuming.set(missing)
    with pytest.raises(NotFound, match=f"there is no run {missing}"):
        async with open_run(REQUEST):
            raise AssertionError("it was opened")
    with pytest.raises(NotFound):
        await read_run(missing)
    with pytest.raises(NotFound):
        await read_run_detail(missing)


async def test_a_run_in_progress_in_this_process_cannot_be_resumed(ledger: Ledger) -> None:
    async with open_run(REQUEST) as run:
        resuming.set(run.id)
        with pytest.raises(RunBusy, match=f"run {run.id} is being worked on by process"):
            async with open_run(REQUEST):
                raise AssertionError("it was opened")


async def test_a_run_of_a_live_process_is_refused_and_that_of_a_dead_one_taken_over_at_once(
    environment: Environment, database_url: str, look: Look, start_process: StartProcess
) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    async def respond(request: dict[str, Any]) -> str:
        if request["messages"][0]["content"] == "third":
            asked.set()
            await asyncio.to_thread(may_answer.wait, 60)
        return "yes"

    with ScriptedProvider(respond) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="key", OPENAI_BASE_URL=provider.url)
        prompts = ["first", "second", "third"]
        worker = start_process("run_steps", prompts=prompts)
        run_id = worker.line()["run"]
        assert [worker.line() for _ in prompts] == [{"began": prompt} for prompt in prompts]
        assert await asyncio.to_thread(asked.wait, 60)
        resuming.set(UUID(run_id))
        with pytest.raises(RunBusy):
            async with open_run(REQUEST):
                raise AssertionError("it was opened")
        worker.kill()
        may_answer.set()
        assert look("SELECT count(*) FROM workers WHERE lease_until > now()") == [(1,)], "its lease has not run out"
        heir = start_process("run_steps", prompts=prompts, resume=run_id)
        assert heir.line() == {"run": run_id}
        assert heir.line() == {"began": "third"}, "the finished steps are not run again"
        with pytest.raises(EOFError):
            heir.line()
        assert [served.body["messages"][0]["content"] for served in provider.log] == [*prompts, "third"]
    assert look("SELECT status FROM runs") == [("completed",)]
    assert look(ATTEMPTS) == [("crashed", True), ("completed", True)]
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1") == [
        ("succeeded", 3),
        ("unknown", 1),
    ]


async def test_the_run_of_a_dead_process_is_taken_over_while_somebody_else_is_ending_its_lease(
    ledger: Ledger, provider: ScriptedProvider, database: Engine, look: Look, start_process: StartProcess
) -> None:
    provider.hold()
    worker = start_process("run_steps", prompts=["Why?"])
    run_id = UUID(worker.line()["run"])
    worker.kill()
    provider.release()
    with database.connect() as burying:
        burying.execute(text("SELECT FROM workers WHERE pid = :pid FOR UPDATE"), {"pid": worker.pid})
        resuming.set(run_id)
        async with open_run(REQUEST) as again:
            assert again.id == run_id
        lease = "SELECT lease_until > now() FROM workers WHERE pid = :pid"
        assert look(lease, pid=worker.pid) == [(True,)], "nobody has ended it"
    assert look("SELECT status FROM runs") == [("completed",)]


TAKE_OVER = "UPDATE runs SET attempt_id = :attempt"


async def test_a_run_whose_lease_has_run_out_is_taken_over(ledger: Ledger, look: Look) -> None:
    elsewhere = "00000000-0000-7000-8000-00000000000a"
    look("INSERT INTO workers VALUES (:id, 'another host', 1, 0, now() + interval '1 hour')", id=elsewhere)
    async with open_run(REQUEST) as run:
        pass
    look("UPDATE runs SET status = 'running'")
    look("UPDATE run_attempts SET worker_id = :id, ended_at = NULL, outcome = NULL", id=elsewhere)
    resuming.set(run.id)
    with pytest.raises(RunBusy, match="process 1 of another host"):
        async with open_run(REQUEST):
            raise AssertionError("it was opened")
    look("UPDATE workers SET lease_until = now() - interval '1 s' WHERE id = :id", id=elsewhere)
    resuming.set(run.id)
    async with open_run(REQUEST) as again:
        assert again.id == run.id
        assert again.attempt != run.attempt
    assert look(ATTEMPTS) == [("crashed", True), ("completed", True)]


async def test_an_attempt_that_lost_its_run_can_neither_spend_nor_end_steps_nor_the_run(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    heir = new_id()

    @step("late", version="1")
    async def late() -> Said:
        await complete("In time?", model=MODEL)
        look(TAKE_OVER, attempt=heir)
        return Said(text="too late")

    async with open_run(REQUEST) as run:
        await late()  # its end is refused, and whatever is recorded next
        with pytest.raises(LeaseLost, match="another attempt has taken this run over"):
            await complete("Why?", model=MODEL)
        with pytest.raises(LeaseLost):
            await ask("And why?")
        look(TAKE_OVER, attempt=run.attempt.id)
    assert len(provider.log) == 1
    assert look("SELECT name, status, output FROM steps") == [("late", "running", None)]


@pytest.mark.parametrize("error", [None, AnswerRejected("no"), LeaseLost("gone")])
async def test_the_end_of_an_attempt_that_lost_its_run_is_not_recorded(
    ledger: Ledger, look: Look, error: Exception | None
) -> None:
    async def work() -> None:
        async with open_run(REQUEST):
            look(TAKE_OVER, attempt=new_id())
            if error is not None:
                raise error

    with pytest.raises(type(error) if error else LeaseLost):
        await work()
    assert look(RUN) == [("running", None, False)]
    assert look(ATTEMPTS) == [(None, False)]


async def test_a_late_answer_is_recorded_although_its_run_was_taken_over(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    async with open_run(REQUEST) as run:
        provider.hold()
        call = asyncio.create_task(complete("Why?", model=MODEL))
        await provider.held(1)
        look(TAKE_OVER, attempt=new_id())
        provider.release()
        answer = await call
        look(TAKE_OVER, attempt=run.attempt.id)
    assert look("SELECT status, cost_usd FROM llm_requests") == [("succeeded", answer.cost_usd)]


async def test_a_fresh_run_asks_every_model_anew_and_its_resume_replays_what_it_asked(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await complete("Why?", model=MODEL)
    fresh = REQUEST.model_copy(update={"fresh": True})
    async with open_run(fresh) as run:
        assert not (await complete("Why?", model=MODEL)).replayed
    resuming.set(run.id)
    async with open_run(fresh) as again:
        assert (again.id, again.nonce) == (run.id, run.nonce)
        assert (await complete("Why?", model=MODEL)).replayed
    async with open_run(fresh) as another:
        assert another.nonce != run.nonce
        assert not (await complete("Why?", model=MODEL)).replayed
    async with open_run(REQUEST) as plain:
        assert plain.nonce is None
        assert (await complete("Why?", model=MODEL)).replayed
    assert provider.paid == 3


async def test_prefect_s_retry_of_a_flow_run_goes_on_with_the_run_of_the_same_subject(
    ledger: Ledger, look: Look
) -> None:
    request = REQUEST.model_copy(update={"prefect_flow_run_id": uuid4()})
    other = request.model_copy(update={"subject": "another"})
    async with open_run(request) as run, open_run(other) as second:
        assert second.id != run.id
    async with open_run(request) as again:
        assert again.id == run.id
    async with open_run(request.model_copy(update={"variant": "b"})) as variant:
        assert variant.id not in {run.id, second.id}
    async with open_run(request.model_copy(update={"prefect_flow_run_id": uuid4()})) as unrelated:
        assert unrelated.id != run.id
    assert look("SELECT count(*) FROM runs") == [(4,)]


async def test_calls_of_a_run_are_its_user_s(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST.model_copy(update={"user": "ada", "project": "p"})):
        await complete("Why?", model=MODEL)
        await complete("Why?", model=MODEL, user="bob", project="q")
    assert look("SELECT user_id, project FROM llm_requests ORDER BY id") == [("ada", "p"), ("bob", "q")]


async def test_runs_are_listed_newest_first(ledger: Ledger) -> None:
    made = []
    for number in range(3):
        async with open_run(REQUEST.model_copy(update={"subject": f"subject {number}"})) as run:
            made.append(run.id)
    assert [record.id for record in await list_runs()] == sorted(made, reverse=True)
    assert [record.id for record in await list_runs(limit=1)] == [max(made)]


async def test_the_end_of_a_run_does_not_wait_for_others_that_go_on(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    stop = asyncio.Event()

    async def busy(number: int) -> None:
        asked = 0
        while not stop.is_set():
            await complete(f"{number} {asked}", model=MODEL)
            asked += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(busy(number))
        async with open_run(REQUEST):
            await complete("Why?", model=MODEL)
        assert look(RUN) == [("completed", None, True)]
        stop.set()


async def test_a_detail_tells_calls_replays_tokens_and_cost_of_each_step(ledger: Ledger) -> None:
    await complete("Asked before?", model=MODEL)
    async with open_run(REQUEST) as run:
        await ask("Asked before?")
        await ask("Asked now?")
        await complete("Outside of a step?", model=MODEL)
    detail = await read_run_detail(run.id)
    replayed, asked = detail.steps
    assert (replayed.calls, replayed.replays, replayed.cost_usd, replayed.input_tokens) == (0, 1, 0, 0)
    assert (asked.calls, asked.replays, asked.status, asked.attempts) == (1, 0, "completed", 1)
    assert asked.cost_usd
    assert asked.input_tokens > 0
    assert asked.output_tokens > 0
    assert asked.seconds is not None
    assert detail.run.cost_usd is not None
    assert detail.run.cost_usd > asked.cost_usd


async def test_the_cost_of_a_step_with_an_unpriced_call_is_unknown(ledger: Ledger) -> None:
    @step("unpriced", version="1")
    async def unpriced() -> Said:
        return Said(text=(await complete("Why?", model="house-model")).text)

    async with open_run(REQUEST) as run:
        await unpriced()
    detail = await read_run_detail(run.id)
    assert detail.steps[0].cost_usd is None
    assert detail.run.cost_usd is None


async def test_a_run_is_begun_where_no_ledger_is_open_yet(settings: Settings, look: Look) -> None:
    async with open_run(REQUEST) as run, open_ledger() as ledger:
        assert run.ledger is ledger
    assert look(RUN) == [("completed", None, True)]


async def test_a_run_cancelled_while_it_begins_does_not_go_on_for_ever(ledger: Ledger, look: Look) -> None:
    async def work() -> None:
        async with open_run(REQUEST):
            raise AssertionError("it was opened")

    async with ledger.engine.connect() as blocker:
        await blocker.exec_driver_sql("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        beginning = asyncio.create_task(work())
        waiting = "SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"
        while (await asyncio.to_thread(look, waiting)) == [(0,)]:
            assert not beginning.done()
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        await blocker.rollback()
    async with open_run(REQUEST.model_copy(update={"subject": "another"})):
        pass  # recorded after it
    assert look("SELECT status FROM runs ORDER BY id") == [("cancelled",), ("completed",)]
    assert look(ATTEMPTS) == [("cancelled", True), ("completed", True)]


async def test_a_take_over_that_was_not_committed_does_not_bar_the_next(
    ledger: Ledger, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_run(REQUEST) as run:
        pass
    dialect = ledger.engine.sync_engine.dialect
    commit = dialect.do_commit

    def lost(connection: Any) -> None:
        commit(connection)
        raise psycopg.OperationalError("the connection was lost")

    async def open_and_fail() -> None:
        async with open_run(REQUEST):
            raise AssertionError("it was opened")

    resuming.set(run.id)
    with monkeypatch.context() as patched:
        patched.setattr("tasks.ledger.runs.bury_dead_workers", AsyncMock())
        patched.setattr(dialect, "do_commit", lost)
        with pytest.raises(DatabaseUnavailable):
            await open_and_fail()
    resuming.set(run.id)
    async with open_run(REQUEST) as again:
        assert again.id == run.id
    assert look("SELECT status FROM runs") == [("completed",)]


async def test_a_subject_may_be_called_anything_and_a_project_may_not(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST.model_copy(update={"subject": "bill\udcff.txt"})):
        pass
    assert look("SELECT subject FROM runs") == [("bill\ufffd.txt",)]
    with pytest.raises(BadInput, match="the project"):
        async with open_run(REQUEST.model_copy(update={"project": "a\x00b"})):
            raise AssertionError("it was opened")


async def test_only_the_attempt_that_has_the_run_holds_it(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST) as run:
        async with ledger.engine.begin() as connection:
            await hold_run(connection, run.attempt)
        look(TAKE_OVER, attempt=new_id())
        with pytest.raises(LeaseLost):
            async with ledger.engine.begin() as connection:
                await hold_run(connection, run.attempt)
        look(TAKE_OVER, attempt=run.attempt.id)
