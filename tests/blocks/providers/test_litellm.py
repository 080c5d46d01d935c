"""The way through LiteLLM, over real HTTP: an Anthropic-shaped server and the scripted OpenAI-shaped one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from aiohttp import web

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin
from blocks.providers.litellm_client import key_variable, load_litellm, place_of
from blocks.providers.litellm_failures import translated
from blocks.providers.prices import price
from blocks.providers.registry import Providers
from schemas.calls import ChatParameters, EmbeddingCall, Usage
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    ContentRefused,
    ContextLengthExceeded,
    HeadraceError,
    ModelNotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from tests.blocks.providers.conftest import ask, settings_for
from tests.scripted_provider import Fault, Reply, ScriptedProvider

CLAUDE = "anthropic/claude-sonnet-4-5"
VLLM = "hosted_vllm/some-model"
NIM = "nvidia_nim/some-model"
"""Reached by LiteLLM through the openai package, which has retries of its own."""
SECRET = "sk-ant-secret-91"


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with Providers(settings_for(None, key=None), None) as opened:
        yield opened


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leads `hosted_vllm/…` and `nvidia_nim/…` to a scripted provider's address."""

    def lead_to(url: str, key: str = "k") -> None:
        for provider in ("HOSTED_VLLM", "NVIDIA_NIM"):
            monkeypatch.setenv(f"{provider}_API_BASE", url)
            monkeypatch.setenv(f"{provider}_API_KEY", key)

    return lead_to


class Anthropic:
    """`POST /v1/messages` with one answer, remembering what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, headers: dict[str, str]) -> None:
        self._patch, self._status, self._body, self._headers = monkeypatch, status, body, headers
        self.asked: list[Any] = []
        self.keys: list[str | None] = []

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("x-api-key"))
        return web.json_response(self._body, status=self._status, headers=self._headers)

    async def __aenter__(self) -> Anthropic:
        application = web.Application()
        application.router.add_post("/v1/messages", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._patch.setenv("ANTHROPIC_API_BASE", f"http://127.0.0.1:{self._runner.addresses[0][1]}")
        self._patch.setenv("ANTHROPIC_API_KEY", SECRET)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def message(text: str = "Yes.", **more: Any) -> dict[str, Any]:
    """An answer of Anthropic's API."""
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 0}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": usage,
        **more,
    }


async def test_anthropics_usage_counts_cached_input_as_input(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange()
    async with Anthropic(monkeypatch, 200, message(), {"request-id": "req_7"}) as server:
        answer = await providers.chat(ask(model=CLAUDE), timeout_seconds=30, exchange=exchange)
    assert answer.text == "Yes."
    assert (answer.model, answer.finish_reason) == ("claude-sonnet-4-5", "stop")
    assert answer.usage == Usage(input_tokens=40, output_tokens=5, cached_input_tokens=30)
    assert answer.provider_request_id == "req_7"
    assert orjson.loads(answer.request_bytes)["max_tokens"] == server.asked[0]["max_tokens"] == 50
    assert orjson.loads(answer.response_bytes) == message()
    assert server.keys == [SECRET]
    assert SECRET.encode() not in answer.request_bytes + answer.response_bytes
    # 10 at $3, 30 cached at $0.30 and 5 at $15 a million
    assert price(CLAUDE, "anthropic", answer.usage) == Decimal("0.000114")


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (429, "rate_limit_error", RateLimited),
        (529, "overloaded_error", ProviderUnavailable),
        (500, "api_error", ProviderUnavailable),
        (401, "authentication_error", AuthenticationFailed),
        (403, "permission_error", AuthenticationFailed),
        (404, "not_found_error", ModelNotFound),
        (400, "invalid_request_error", BadInput),
        (413, "request_too_large", BadInput),
    ],
)
async def test_anthropics_errors_become_ours_by_status(
    status: int, kind: str, error: type, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "Is the bill short?"}}
    exchange = Exchange()
    async with Anthropic(monkeypatch, status, body, {"retry-after": "7"}):
        with pytest.raises(HeadraceError) as failure:
            await providers.chat(ask(model=CLAUDE), timeout_seconds=30, exchange=exchange)
    assert type(failure.value) is error
    assert failure.value.details["status"] == status
    assert exchange.status == status
    assert orjson.loads(exchange.response_bytes or b"null") == body
    assert "Is the bill" not in str(failure.value)
    if error is RateLimited:
        assert failure.value.details["retry_after"] == 7.0
    if status == 401:
        assert "ANTHROPIC_API_KEY" in str(failure.value)


async def test_an_answer_of_another_server_of_the_openai_api(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider(lambda _: Reply("fine", usage={"cost": 0.25}), api_key="k") as server:
        vllm(server.url)
        call = ask(model=VLLM, parameters=ChatParameters(max_tokens=9, temperature=0.5, seed=4))
        answer = await providers.chat(call, timeout_seconds=30)
        described = await providers.describe(VLLM)
    assert (answer.text, answer.model) == ("fine", "some-model")
    assert answer.provider_cost_usd == Decimal("0.25")
    assert server.log[0].body == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "Is the bill short?"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 4,
    }
    assert orjson.loads(answer.request_bytes) == server.log[0].body
    assert described.identity == f"hosted_vllm@{server.url}"
    assert price(VLLM, described.provider, Usage(input_tokens=1)) is None


async def test_a_schema_is_sent_in_strict_form(providers: Providers, vllm: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 3}}}
    async with ScriptedProvider() as server:
        vllm(server.url)
        answer = await providers.chat(ask(model=VLLM, output_schema=schema), timeout_seconds=30)
    assert server.log[0].body["response_format"]["json_schema"]["strict"] is True
    assert orjson.loads(answer.text) == {"n": 3}


async def test_vectors_come_through(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider() as server:
        vllm(server.url)
        call = EmbeddingCall(model=VLLM, texts=("rent", "permit"), dimensions=16)
        answer = await providers.embed(call, timeout_seconds=30)
    assert answer.vectors is not None
    assert [len(vector) for vector in answer.vectors] == [16, 16]
    assert sum(x * x for x in answer.vectors[0]) == pytest.approx(1.0, abs=1e-6)
    assert answer.usage == Usage(input_tokens=3)


@pytest.mark.parametrize(
    ("fault", "error", "billed"),
    [
        ("429", RateLimited, None),
        ("500", ProviderUnavailable, None),
        ("broken_json", ProviderUnavailable, "unknown"),
        ("no_choices", ProviderUnavailable, "unknown"),
        ("reset", ProviderTimeout, None),
        ("truncated", ProviderTimeout, None),
        ("hang", ProviderTimeout, None),
    ],
)
@pytest.mark.parametrize("model", [VLLM, NIM])
async def test_scripted_faults_become_the_same_errors_as_without_litellm(
    model: str, fault: str, error: type, billed: str | None, providers: Providers, vllm: Any
) -> None:
    exchange = Exchange()
    async with ScriptedProvider(faults={2: fault}) as server:
        vllm(server.url)
        await providers.chat(ask(model=model), timeout_seconds=60)
        with pytest.raises(HeadraceError) as failure:
            await providers.chat(ask(model=model), timeout_seconds=0.5, exchange=exchange)
        again = await providers.chat(ask(model=model), timeout_seconds=30)
    assert type(failure.value) is error
    assert failure.value.details.get("billed") == billed
    assert exchange.request_bytes is not None
    assert again.text
    assert [served.number for served in server.log] == [1, 2, 3]


async def test_a_failure_handled_around_a_call_is_not_taken_for_its_own(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider(faults={1: "reset", 2: Fault("status", status=400)}) as server:
        vllm(server.url)
        try:
            await providers.chat(ask(model=VLLM), timeout_seconds=30)
        except ProviderTimeout:
            with pytest.raises(BadInput):
                await providers.chat(ask(model=VLLM), timeout_seconds=30)
    assert len(server.log) == 2


async def test_a_refused_connection_means_that_nothing_was_sent(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider() as server:
        vllm(server.url)
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        await providers.chat(ask(model=VLLM), timeout_seconds=10)


async def test_a_prompt_that_does_not_fit_is_known_by_its_code(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider(context_window=20) as server:
        vllm(server.url)
        with pytest.raises(ContextLengthExceeded):
            await providers.chat(ask(model=VLLM), timeout_seconds=30)


async def test_a_withheld_answer_is_refused_and_its_usage_is_kept(providers: Providers, vllm: Any) -> None:
    exchange = Exchange()
    async with ScriptedProvider(lambda _: Reply("", finish_reason="content_filter")) as server:
        vllm(server.url)
        with pytest.raises(ContentRefused):
            await providers.chat(ask(model=VLLM), timeout_seconds=30, exchange=exchange)
    assert exchange.reply is not None
    assert exchange.reply.usage is not None
    assert exchange.reply.usage.input_tokens == 9


async def test_a_missing_key_is_named_before_anything_is_sent(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    trouble = await providers.reachable(CLAUDE)
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        await providers.chat(ask(model=CLAUDE), timeout_seconds=5)
    assert "ANTHROPIC_API_KEY" in str(trouble)
    async with Anthropic(monkeypatch, 200, message(), {}) as server:
        assert await providers.reachable(CLAUDE) is None
    assert server.asked == []
    assert "cannot be reached" in str(await providers.reachable(CLAUDE)), "its server is gone"


async def test_a_key_that_the_provider_repeats_is_kept_out_of_the_record(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"no such key: {SECRET}"}}
    exchange = Exchange()
    async with Anthropic(monkeypatch, 401, body, {}):
        with pytest.raises(ConfigurationError) as failure:
            await providers.chat(ask(model=CLAUDE), timeout_seconds=30, exchange=exchange)
    assert b"no such key: [key]" in (exchange.response_bytes or b"")
    assert SECRET not in str(failure.value) + repr(failure.value.details)


async def test_a_provider_that_does_not_exist_is_a_setting_to_mend(providers: Providers) -> None:
    with pytest.raises(ConfigurationError, match="nonsense/model"):
        await providers.chat(ask(model="nonsense/model"), timeout_seconds=5)
    assert "nonsense/model" in str(await providers.reachable("nonsense/model"))


async def test_a_parameter_the_provider_does_not_take_is_refused_not_dropped(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ask(model=CLAUDE, parameters=ChatParameters(max_tokens=5, frequency_penalty=1.0))
    async with Anthropic(monkeypatch, 200, message(), {}) as server:
        with pytest.raises(BadInput):
            await providers.chat(call, timeout_seconds=30)
    assert server.asked == []


@pytest.mark.parametrize(
    ("kind", "words", "error"),
    [
        ("invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum", ContextLengthExceeded),
        ("invalid_request_error", "Output blocked by content filtering policy", ContentRefused),
    ],
)
async def test_what_litellm_knows_of_a_providers_ways_is_used(
    kind: str, words: str, error: type, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": words}}
    exchange = Exchange()
    async with Anthropic(monkeypatch, 400, body, {}):
        with pytest.raises(HeadraceError) as failure:
            await providers.chat(ask(model=CLAUDE), timeout_seconds=30, exchange=exchange)
    assert type(failure.value) is error
    assert orjson.loads(exchange.response_bytes or b"null") == body


@pytest.mark.parametrize("data", [[], [{"index": 0}], [{"index": 0, "embedding": ["x"]}]])
async def test_vectors_that_do_not_match_the_texts_are_no_answer(
    data: list[Any], providers: Providers, vllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.scripted_provider.server.embeddings",
        lambda request: {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1}},
    )
    async with ScriptedProvider() as server:
        vllm(server.url)
        with pytest.raises(ProviderUnavailable) as failure:
            await providers.embed(EmbeddingCall(model=VLLM, texts=("a",)), timeout_seconds=30)
    assert failure.value.details["billed"] == "unknown"


async def test_many_calls_at_once_keep_their_bodies_apart(providers: Providers, vllm: Any) -> None:
    async with ScriptedProvider(lambda request: request["messages"][0]["content"].upper()) as server:
        vllm(server.url)
        exchanges = [Exchange() for _ in range(12)]
        answers = await asyncio.gather(
            *(
                providers.chat(ask(f"text {n}", model=VLLM), timeout_seconds=30, exchange=exchange)
                for n, exchange in enumerate(exchanges)
            )
        )
    for n, (answer, exchange) in enumerate(zip(answers, exchanges, strict=True)):
        assert answer.text == f"TEXT {n}"
        assert f"text {n}".encode() in (exchange.request_bytes or b"")
        assert f"TEXT {n}".encode() in (exchange.response_bytes or b"")


def test_each_event_loop_opens_and_closes_its_own_clients(vllm: Any) -> None:
    async def one_call(url: str) -> str:
        vllm(url)
        async with Providers(settings_for(None, key=None), None) as providers:
            return (await providers.chat(ask(model=VLLM), timeout_seconds=30)).text

    with ScriptedProvider() as server:
        texts = {asyncio.run(one_call(server.url)) for _ in range(3)}
    assert len(texts) == 1


def test_litellm_is_quiet_and_keeps_its_hands_off(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("HEADRACE_TEST_PROVIDER_KEY=from-the-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_TEST_PROVIDER_KEY", raising=False)
    litellm: Any = load_litellm()
    import os

    assert os.environ.pop("HEADRACE_TEST_PROVIDER_KEY") == "from-the-file"
    assert (litellm.telemetry, litellm.drop_params, litellm.suppress_debug_info) == (False, False, True)
    assert logging.getLogger("LiteLLM").level == logging.CRITICAL
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


async def test_azure_is_asked_once_too(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def busy(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(
            {"error": {"code": "429", "message": "busy"}}, status=429, headers={"retry-after": "3"}
        )

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", busy)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("AZURE_API_BASE", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("AZURE_API_KEY", "k")
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    with pytest.raises(RateLimited) as failure:
        await providers.chat(ask(model="azure/deployed"), timeout_seconds=30)
    await runner.cleanup()
    assert failure.value.retry_after == 3.0
    assert asked == ["/openai/deployments/deployed/chat/completions"]


def test_an_error_of_litellm_without_an_answer_is_judged_by_its_class() -> None:
    litellm: Any = load_litellm()
    origin = Origin("m/x", "m", "M_API_KEY")
    unavailable = litellm.ServiceUnavailableError("busy", llm_provider="m", model="x")
    odd = litellm.APIError(status_code=200, message="what", llm_provider="m", model="x")
    assert type(translated(unavailable, Exchange(), origin)) is ProviderUnavailable
    assert type(translated(odd, Exchange(), origin)) is ProviderUnavailable
    assert type(translated(KeyError("choices"), Exchange(status=200), origin)) is ProviderUnavailable


def test_a_defect_is_not_dressed_up_as_a_failure_of_the_provider() -> None:
    defect = TypeError("our own mistake")
    assert translated(defect, Exchange(), Origin("m/x", "m", "M_API_KEY")) is defect


def test_names_of_keys_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_BASE", "GEMINI_BASE_URL", "GEMINI_API_URL", "GEMINI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert key_variable("openrouter") == "OPENROUTER_API_KEY"
    assert key_variable("together_ai") == "TOGETHERAI_API_KEY"
    assert place_of("gemini") == "gemini"
    monkeypatch.setenv("GEMINI_BASE_URL", "https://user:pass@proxy.example/g/")
    assert place_of("gemini") == "gemini@https://proxy.example/g"
