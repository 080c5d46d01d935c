"""Calls to a RunPod queue and to the llama.cpp server before it, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from blocks.providers import runpod_client
from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin
from blocks.providers.registry import Providers
from blocks.providers.runpod_requests import Prompt
from blocks.providers.runpod_shapes import read_job, read_output, read_status, unwrapped
from schemas.calls import ChatParameters, EmbeddingCall, Message, ProviderReply, Usage
from schemas.errors import (
    BadInput,
    ConfigurationError,
    HeadraceError,
    JobEnded,
    PromptEchoed,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from schemas.runpod_settings import RUNPOD_VARIABLES
from schemas.settings import Settings
from tests.blocks.providers.conftest import ask
from tests.scripted_runpod import API_KEY, ENDPOINT, Script, ScriptedRunPod, llama, worker

MODEL = "runpod/default"
RAISED = json.dumps({"error_type": "<class 'ValueError'>", "error_message": "Is it short?", "worker_id": "w1"})
"""`error` of a job whose handler raised (runpod/runpod-python, `serverless/modules/rp_job.py`)."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RUNPOD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("blocks.providers.runpod_job.FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr("blocks.providers.runpod_job.LONGEST_PAUSE_SECONDS", 0.02)


def queue_settings(runpod: ScriptedRunPod | None, **more: Any) -> Settings:
    """Settings that lead `runpod/default` to the scripted queue."""
    given = {
        "runpod_api_key": SecretStr(API_KEY),
        "runpod_base_url": runpod.url if runpod else "http://127.0.0.1:1/v2",
        "runpod_endpoint_id": ENDPOINT,
        **more,
    }
    return Settings(_env_file=None, **given)


async def answer(runpod: ScriptedRunPod, exchange: Exchange | None = None, **more: Any) -> ProviderReply:
    """The answer to one call."""
    call = more.pop("call", ask("Is it short?", model=MODEL))
    async with Providers(queue_settings(runpod, **more), None) as providers:
        return await providers.chat(call, timeout_seconds=30, exchange=exchange)


async def failure(runpod: ScriptedRunPod, exchange: Exchange | None = None, **more: Any) -> HeadraceError:
    """The error of one call."""
    with pytest.raises(HeadraceError) as raised:
        await answer(runpod, exchange, **more)
    return raised.value


@pytest.mark.parametrize("output", [llama("yes"), worker("yes")], ids=["llama.cpp", "later worker"])
async def test_an_answer_of_either_worker_is_read(output: dict[str, Any]) -> None:
    with ScriptedRunPod(Script(output=output)) as runpod:
        reply = await answer(runpod)
    assert (reply.text, reply.model, reply.finish_reason) == ("yes", output["model"], "stop")
    assert reply.usage == Usage(input_tokens=11, output_tokens=7)
    assert reply.billed_seconds == Decimal("1.2")
    assert reply.provider_request_id == "0000-u1"
    assert orjson.loads(reply.response_bytes)["output"] == output
    assert [served.operation for served in runpod.log] == ["run", "status", "status"]


async def test_what_is_sent_is_one_prompt_with_a_bound_on_tokens_and_on_time() -> None:
    parameters = ChatParameters(max_tokens=64, temperature=0.3, top_p=0.9, stop=("###",))
    with ScriptedRunPod() as runpod:
        await answer(runpod, call=ask("Is it short?", model=MODEL, parameters=parameters))
    assert runpod.bodies("run") == [
        {
            "input": {"prompt": "Is it short?", "max_tokens": 64, "temperature": 0.3, "top_p": 0.9, "stop": ["###"]},
            "policy": {"executionTimeout": 55_000},
        }
    ]


async def test_a_conversation_becomes_one_prompt_and_a_schema_is_asked_for_in_words() -> None:
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="One?"),
        Message(role="assistant", content="Two."),
        Message(role="user", content="Three?"),
    )
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with ScriptedRunPod(Script(output=llama('`{"n": 3}`'))) as runpod:
        reply = await answer(runpod, call=ask(model=MODEL, messages=messages, output_schema=schema))
    prompt = runpod.bodies("run")[0]["input"]["prompt"]
    assert prompt.startswith("Be brief.\n\nUser: One?\n\nAssistant: Two.\n\nUser: Three?\n\n")
    assert '{"type":"object","properties":{"n":{"type":"integer"}}}' in prompt
    assert prompt.endswith("\n\nAssistant:")
    assert reply.text == '{"n": 3}', "the backticks around JSON are the worker's"


async def test_a_cold_start_is_waited_for() -> None:
    with ScriptedRunPod() as runpod:
        runpod.hold()
        call = asyncio.create_task(answer(runpod))
        await runpod.served("status", 5)
        assert not call.done()
        runpod.release()
        assert (await call).text == "yes"
    assert runpod.count("run") == 1
    assert runpod.count("cancel") == 0


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        (Script(states=("FAILED",), error=RAISED), ProviderUnavailable, "ValueError"),
        (Script(states=("FAILED",), error="Is it short? {"), ProviderUnavailable, "untyped"),
        (Script(states=("FAILED",), error='{"error_type": '), ProviderUnavailable, "untyped"),
        (Script(states=("IN_QUEUE", "TIMED_OUT")), ProviderTimeout, "time limit"),
        (Script(states=("IN_PROGRESS", "CANCELLED")), JobEnded, "cancelled"),
        (Script(output={"error": "boom: Is it short?", "error_type": "RuntimeError"}), ProviderUnavailable, "Runtime"),
        (Script(output={"error": "boom", "error_type": "Is it short?"}), ProviderUnavailable, "untyped"),
        (Script(output={"echo": "Is it short?"}), PromptEchoed, "prompt"),
        (Script(output=worker(" Is it  short?\n")), PromptEchoed, "prompt"),
        (Script(output=llama("Is it short?")), PromptEchoed, "prompt"),
        (Script(output=llama("", echo={"prompt": "Is it short?"})), PromptEchoed, "prompt"),
        (Script(output=llama("  ")), ProviderUnavailable, "without a completion"),
        (Script(output="yes"), ProviderUnavailable, "output at the top"),
        (Script(output={"completion": ["yes"]}), ProviderUnavailable, "output at completion"),
        (Script(output=None), ProviderUnavailable, "output at the top"),
    ],
)
async def test_a_job_without_an_answer_is_an_error_that_says_what_it_cost(
    script: Script, kind: type[HeadraceError], says: str
) -> None:
    exchange = Exchange()
    with ScriptedRunPod(script) as runpod:
        error = await failure(runpod, exchange)
    assert type(error) is kind
    assert says in str(error)
    assert "Is it short?" not in f"{error} {error.details}"
    assert exchange.reply is not None
    assert exchange.reply.billed_seconds == Decimal("1.2")
    assert exchange.job_ms == 1500
    assert runpod.count("cancel") == 0, "it is over"


async def test_an_answer_that_stops_at_the_bound_was_cut_off() -> None:
    call = ask("Is it short?", model=MODEL, parameters=ChatParameters(max_tokens=7))
    for output in (worker("yes"), llama("yes"), llama("yes", predicted=3, stop_type="limit")):
        with ScriptedRunPod(Script(output=output)) as runpod:
            assert (await answer(runpod, call=call)).finish_reason == "length"


async def test_an_output_without_counts_has_no_usage() -> None:
    with ScriptedRunPod(Script(output={"completion": "yes"})) as runpod:
        reply = await answer(runpod, runpod_model_version="llama-3-8b")
    assert reply.usage is None
    assert reply.model == "llama-3-8b", "the worker does not say which model it has"


@pytest.mark.parametrize("said", ["soon", -1, True, 1e300, {"prompt_tokens": "many", "completion_tokens": 3}, None])
async def test_times_and_counts_that_cannot_be_are_unsaid_and_the_answer_is_good(said: Any) -> None:
    output = {**worker("yes"), "usage": said, "model": 7, "stop_type": [], "stopped_limit": "no"}
    script = Script(states=("COMPLETED",), output=output, delay_ms=said, execution_ms=said)
    with ScriptedRunPod(script) as runpod:
        reply = await answer(runpod)
    assert (reply.text, reply.usage, reply.billed_seconds, reply.model) == ("yes", None, None, MODEL)


async def test_the_job_is_noted_before_it_is_looked_at() -> None:
    noted: list[tuple[str, int]] = []
    with ScriptedRunPod() as runpod:

        async def note(job_id: str) -> None:
            noted.append((job_id, runpod.count("status")))

        await answer(runpod, Exchange(on_accepted=note))
    assert noted == [("0000-u1", 0)]


async def test_a_job_that_is_named_is_waited_for_and_nothing_is_submitted() -> None:
    with ScriptedRunPod() as runpod:
        first = Exchange()
        await answer(runpod, first)
        again = await answer(runpod, Exchange(job_id=first.job_id))
    assert again.text == "yes"
    assert runpod.count("run") == 1


@pytest.mark.parametrize("status", [400, 404])
async def test_a_job_whose_result_is_no_longer_kept_has_ended_with_an_unknown_outcome(status: int) -> None:
    exchange = Exchange(job_id="0815-u1")
    with ScriptedRunPod(faults={("status", 1): status}) as runpod:
        error = await failure(runpod, exchange)
    assert isinstance(error, JobEnded)
    assert (exchange.reply, exchange.status) == (None, 200)


async def test_passing_trouble_while_waiting_is_sat_out() -> None:
    faults = {("status", 1): 429, ("status", 2): 503, **{("status", n): "cut" for n in range(3, 9)}}
    with ScriptedRunPod(faults=faults) as runpod:
        assert (await answer(runpod)).text == "yes"
    assert runpod.count("run") == 1


async def test_lasting_trouble_while_waiting_leaves_the_job_to_be_waited_for() -> None:
    exchange = Exchange()
    with ScriptedRunPod(faults={("status", 1): 401}) as runpod:
        error = await failure(runpod, exchange)
    assert isinstance(error, ConfigurationError)
    assert "RUNPOD_API_KEY" in str(error)
    assert (exchange.job_id, exchange.reply, exchange.status) == ("0000-u1", None, 200)


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimited), (401, ConfigurationError), (404, ConfigurationError), (500, HeadraceError)]
)
async def test_a_submission_that_is_refused_becomes_no_job(status: int, kind: type[HeadraceError]) -> None:
    exchange = Exchange()
    with ScriptedRunPod(faults={("run", 1): status}) as runpod:
        error = await failure(runpod, exchange)
    assert isinstance(error, kind)
    assert (exchange.job_id, exchange.status) == (None, status)
    assert [served.operation for served in runpod.log] == ["run"]


async def test_a_submission_whose_answer_is_lost_has_an_unknown_outcome_and_cannot_be_cancelled() -> None:
    exchange = Exchange()
    with ScriptedRunPod(faults={("run", 1): "cut"}) as runpod:
        assert isinstance(await failure(runpod, exchange), ProviderTimeout)
    assert (exchange.job_id, exchange.status) == (None, None)
    assert [served.operation for served in runpod.log] == ["run"]


async def test_a_job_that_does_not_end_in_time_is_cancelled_and_one_that_never_ran_cost_nothing() -> None:
    exchange = Exchange()
    with ScriptedRunPod(Script(execution_ms=None)) as runpod:
        runpod.hold()
        error = await failure(runpod, exchange, runpod_max_latency_ms=200)
    assert isinstance(error, ProviderTimeout)
    assert "0.2 s" in str(error)
    assert runpod.count("cancel") == 1
    assert exchange.reply is not None
    assert exchange.reply.billed_seconds == 0


async def test_a_cancelled_job_that_ran_cost_what_runpod_says_or_an_unknown_time() -> None:
    for execution_ms, billed in ((150.5, Decimal("0.1505")), (None, None)):
        exchange = Exchange()
        with ScriptedRunPod(Script(states=("RUNNING",), execution_ms=execution_ms)) as runpod:
            await failure(runpod, exchange, runpod_timeout_ms=200, runpod_max_latency_ms=60_000)
        assert exchange.reply is not None
        assert exchange.reply.billed_seconds == billed


async def test_an_answer_that_came_while_the_job_was_being_cancelled_is_taken() -> None:
    with ScriptedRunPod(Script(cancelled="COMPLETED")) as runpod:
        runpod.hold()
        assert (await answer(runpod, runpod_max_latency_ms=200)).text == "yes"
    assert runpod.count("cancel") == 1


@pytest.mark.parametrize("fault", [{("cancel", 1): 500}, {("cancel", 1): "cut"}])
async def test_a_job_that_cannot_be_cancelled_is_left_to_be_waited_for(fault: dict[Any, Any]) -> None:
    exchange = Exchange()
    with ScriptedRunPod(Script(states=("IN_PROGRESS",), cancelled=None), faults=fault) as runpod:
        error = await failure(runpod, exchange, runpod_max_latency_ms=200)
    assert isinstance(error, ProviderTimeout)
    assert (exchange.job_id, exchange.reply, exchange.status) == ("0000-u1", None, 200)


async def test_a_server_that_says_nothing_to_a_cancellation_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("blocks.providers.runpod_job.STOP_SECONDS", 0.0)
    with ScriptedRunPod() as runpod:
        runpod.hold()
        assert isinstance(await failure(runpod, runpod_max_latency_ms=200), ProviderTimeout)
    assert "job 0000-u1 may still run at RunPod" in caplog.text


async def test_a_caller_that_is_cancelled_cancels_the_job() -> None:
    for cancelled, known in (("CANCELLED", True), ("COMPLETED", False)):
        exchange = Exchange()
        with ScriptedRunPod(Script(cancelled=cancelled, execution_ms=None)) as runpod:
            runpod.hold()
            call = asyncio.create_task(answer(runpod, exchange))
            await runpod.served("status")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert runpod.count("cancel") == 1
        assert (exchange.reply is not None) is known, "an answer that came all the same can still be fetched"


async def test_a_caller_that_is_cancelled_before_there_is_a_job_cancels_none() -> None:
    exchange = Exchange()
    with ScriptedRunPod(faults={("run", 1): "stall", ("run", 2): "stall"}) as runpod:
        call = asyncio.create_task(answer(runpod, exchange))
        await runpod.served("run")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert isinstance(await failure(runpod, Exchange(), runpod_max_latency_ms=200), ProviderTimeout)
    assert (exchange.job_id, exchange.status) == (None, None)
    assert runpod.count("cancel") == 0


async def test_a_job_may_be_submitted_with_runsync() -> None:
    with ScriptedRunPod(Script(states=("COMPLETED",))) as runpod:
        reply = await answer(runpod, runpod_sync=True)
    assert (reply.text, reply.provider_request_id) == ("yes", "sync-0000-u1")
    assert [(served.operation, served.query) for served in runpod.log] == [("runsync", {"wait": "27000"})]


async def test_a_runsync_that_gives_up_waiting_goes_on_as_a_job() -> None:
    exchange = Exchange()
    with ScriptedRunPod() as runpod:
        await answer(runpod, exchange, runpod_sync=True)
    assert exchange.job_id == "sync-0000-u1"
    assert [served.operation for served in runpod.log] == ["runsync", "status"]


async def test_a_parameter_that_workers_do_not_know_is_refused_before_anything_is_sent() -> None:
    with ScriptedRunPod() as runpod:
        error = await failure(runpod, call=ask(model=MODEL, parameters=ChatParameters(seed=1)))
    assert isinstance(error, BadInput)
    assert "seed" in str(error)
    assert runpod.log == []


def any_json() -> st.SearchStrategy[Any]:
    """Any JSON value, among them outputs and jobs that are nearly right."""
    names = st.sampled_from(["completion", "content", "usage", "error", "echo", "id", "status", "output", "model"])
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    states = st.sampled_from(["COMPLETED", "IN_QUEUE", "FAILED", "CANCELLED", "TIMED_OUT"])
    return st.recursive(
        plain | states, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6)
    )


@given(any_json())
def test_whatever_runpod_answers_is_an_answer_or_an_error_of_ours(body: Any) -> None:
    exchange, prompt, origin = Exchange(), Prompt("Why?", 9, True), Origin(MODEL, "RunPod", "RUNPOD_API_KEY")
    for said in (body, {"id": "a", "status": "COMPLETED", "output": body, "executionTime": 5}):
        try:
            job = read_status(json.dumps(said).encode(), origin)
            reply = read_job(job, exchange, prompt, origin, MODEL)
        except HeadraceError:
            continue
        assert job.is_answered
        assert reply.text.strip()
        assert exchange.reply is reply


@given(st.text(min_size=1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_both_shapes_say_the_same(text: str, before: int, after: int) -> None:
    assume(text.split() not in ([], ["Why?"]))
    prompt, origin = Prompt("Why?", 10**7, False), Origin(MODEL, "RunPod", "RUNPOD_API_KEY")
    old = read_output(llama(text, evaluated=before, predicted=after), Exchange(), prompt, origin, MODEL)
    new = read_output(worker(text, prompt_tokens=before, completion_tokens=after), Exchange(), prompt, origin, MODEL)
    assert old.text == new.text == text
    assert old.usage == new.usage == Usage(input_tokens=before, output_tokens=after)


@pytest.mark.parametrize(
    ("said", "meant"),
    [('`{"a": 1}`', '{"a": 1}'), ('```json\n{"a": "`"}\n```', '{"a": "`"}'), ("``[1]``", "[1]"), ("`a", "`a")],
)
def test_backticks_around_json_are_taken_off(said: str, meant: str) -> None:
    assert unwrapped(said) == meant


async def test_unreadable_answers_are_not_taken_for_jobs() -> None:
    for body in (b"<html>", b"[]", b'{"id": "a/../b", "status": "IN_QUEUE"}', b'{"id": "a", "status": "LOST"}'):
        with ScriptedRunPod() as runpod:
            runpod._run = lambda *_, said=body: (200, said)  # type: ignore[method-assign]
            error = await failure(runpod)
        assert isinstance(error, ProviderUnavailable)
        assert error.details["billed"] == "unknown"


async def test_an_unreadable_look_is_followed_by_another() -> None:
    with ScriptedRunPod() as runpod:
        whole = runpod._route
        answers = iter([b"<html>"])

        def route(request: Any, body: Any) -> tuple[int, Any]:
            status, said = whole(request, body)
            return status, next(answers, said) if "/status/" in request.path else said

        runpod._route = route  # type: ignore[method-assign]
        assert (await answer(runpod)).text == "yes"


async def test_a_model_is_described_by_its_endpoint_and_version() -> None:
    more = {"runpod_model_version": "llama-3-8b", "runpod_usd_per_second": Decimal("0.0004")}
    async with Providers(queue_settings(None, **more), None) as providers:
        default, named = [await providers.describe(name) for name in (MODEL, f"runpod/{ENDPOINT}")]
        other = await providers.describe("runpod/other-1")
    assert default.identity == named.identity == f"runpod@http://127.0.0.1:1/v2/{ENDPOINT}#llama-3-8b"
    assert (default.provider, default.queued, default.version) == ("runpod", True, "llama-3-8b")
    assert (other.identity, other.version) == ("runpod@http://127.0.0.1:1/v2/other-1", None)
    assert default.time_usd() == Decimal("0.022"), "55 s at most"
    assert default.time_usd(Decimal("1.5")) == Decimal("0.0006")


@pytest.mark.parametrize(
    ("settings", "model", "says"),
    [
        ({"runpod_api_key": None}, MODEL, "RUNPOD_API_KEY"),
        ({"runpod_endpoint_id": None}, MODEL, "LEXYBRAIN_RUNPOD_ENDPOINT_ID"),
        ({}, "runpod/../../etc", "does not name"),
        ({"runpod_api_key": SecretStr("schlüssel")}, MODEL, "pasted in full"),
    ],
)
async def test_what_is_missing_or_wrong_is_named(settings: dict[str, Any], model: str, says: str) -> None:
    async with Providers(queue_settings(None, **settings), None) as providers:
        with pytest.raises(ConfigurationError, match=says):
            await providers.chat(ask(model=model), timeout_seconds=1)
        assert says in str(await providers.reachable(model))


async def test_a_queue_is_reachable_when_its_health_is_told() -> None:
    with ScriptedRunPod() as runpod:
        async with Providers(queue_settings(runpod), None) as providers:
            assert await providers.reachable(MODEL) is None
            assert "no model runpod/other" in str(await providers.reachable("runpod/other"))
        wrong = queue_settings(runpod, runpod_api_key=SecretStr("another"))
        async with Providers(wrong, None) as providers:
            assert "RUNPOD_API_KEY" in str(await providers.reachable(MODEL))
    async with Providers(queue_settings(None), None) as providers:
        assert "cannot be reached" in str(await providers.reachable(MODEL))


async def test_workers_make_no_embeddings() -> None:
    async with Providers(queue_settings(None), None) as providers:
        with pytest.raises(ConfigurationError, match="no embeddings"):
            await providers.embed(EmbeddingCall(model=MODEL, texts=("a",)), timeout_seconds=1)


async def test_tokens_are_counted_over_the_prompt_as_it_is_sent() -> None:
    schema = {"type": "object"}
    async with Providers(queue_settings(None), None) as providers:
        plain = await providers.count_tokens(ask("one two", model=MODEL))
        asked = await providers.count_tokens(ask("one two", model=MODEL, output_schema=schema))
    assert plain == 16 + 2
    assert asked > plain + 10, "the demand for JSON and the schema are a part of it"


def legacy_settings(runpod: ScriptedRunPod, **more: Any) -> Settings:
    """Settings of an installation from before the queue."""
    given = {"lexybrain_model_url": f"{runpod.root}/", "lexybrain_key": SecretStr(API_KEY), **more}
    return Settings(_env_file=None, **given)


async def test_where_only_the_address_of_the_older_server_is_set_it_is_asked_and_deprecated_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runpod_client._warn_of_legacy.cache_clear()
    parameters = ChatParameters(max_tokens=20, seed=4)
    schema = {"type": "object"}
    call = ask("Is it short?", model=MODEL, parameters=parameters, output_schema=schema)
    with ScriptedRunPod(completion=llama("{}")) as runpod, caplog.at_level(logging.WARNING):
        for _ in range(2):
            async with Providers(legacy_settings(runpod, runpod_endpoint_id=ENDPOINT), None) as providers:
                described = await providers.describe(MODEL)
                reply = await providers.chat(call, timeout_seconds=10)
                assert await providers.reachable(MODEL) is None
    assert (reply.text, reply.usage) == ("{}", Usage(input_tokens=11, output_tokens=7))
    assert (described.queued, described.identity) == (False, f"llama.cpp@{runpod.root}")
    sent = runpod.bodies("completion")[0]
    assert (sent["n_predict"], sent["seed"], sent["json_schema"], sent["stream"]) == (20, 4, schema, False)
    headers = next(served.headers for served in runpod.log if served.operation == "completion")
    assert headers["X-LEXYBRAIN-KEY"] == API_KEY
    assert caplog.text.count("are deprecated") == 1


async def test_the_queue_is_asked_where_both_are_set() -> None:
    with ScriptedRunPod() as runpod:
        await answer(runpod, lexybrain_model_url=runpod.root, lexybrain_key=SecretStr(API_KEY))
    assert runpod.count("completion") == 0


async def test_the_older_server_may_need_no_key_and_its_faults_are_ours() -> None:
    with ScriptedRunPod(completion=lambda body: llama(body["prompt"])) as runpod:
        async with Providers(legacy_settings(runpod), None) as providers:
            with pytest.raises(PromptEchoed):
                await providers.chat(ask(model=MODEL), timeout_seconds=10)
        async with Providers(legacy_settings(runpod, lexybrain_key=None), None) as providers:
            with pytest.raises(ConfigurationError, match="LEXYBRAIN_KEY"):
                await providers.chat(ask(model=MODEL), timeout_seconds=10)
    with ScriptedRunPod(completion=b"<html>") as runpod:
        async with Providers(legacy_settings(runpod), None) as providers:
            with pytest.raises(ProviderUnavailable, match="not JSON"):
                await providers.chat(ask(model=MODEL), timeout_seconds=10)
