"""Each provider's failures, in its own wire format, as our classes; neither key nor prompt in what is said of them."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from sqlalchemy import Engine, text

from blocks.providers.exchange import Exchange
from blocks.providers.registry import Providers
from schemas.calls import ChatCall, ChatParameters, Message
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ContentRefused,
    ContextLengthExceeded,
    CreditExhausted,
    HeadraceError,
    ModelNotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tests.wire.anthropic import Anthropic
from tests.wire.azure import Azure
from tests.wire.bedrock import Bedrock
from tests.wire.conftest import LeadTo
from tests.wire.gemini import Gemini, error_info, retry_info
from tests.wire.ollama import Ollama
from tests.wire.openrouter import OpenRouter
from tests.wire.server import Answer, Failure, WireServer

PROMPT = "the secret recipe of the mill"
SAID = "{key} was used to ask: " + PROMPT
"""What every failure says in words: the key and the prompt."""

CASES: list[tuple[type[WireServer], Any, type[HeadraceError]]] = [
    (Anthropic, (401, SAID), AuthenticationFailed),
    (Anthropic, (403, SAID), AuthenticationFailed),
    (Anthropic, (402, SAID), CreditExhausted),
    (Anthropic, (404, SAID), ModelNotFound),
    (Anthropic, (429, SAID), RateLimited),
    (Anthropic, (500, SAID), ProviderUnavailable),
    (Anthropic, (529, SAID), ProviderUnavailable),
    (Anthropic, (400, SAID), BadInput),
    (Anthropic, (413, SAID), BadInput),
    (Anthropic, (400, f"prompt is too long: 210000 tokens > 200000 maximum {SAID}"), ContextLengthExceeded),
    (Anthropic, (400, f"Output blocked by content filtering policy {SAID}"), ContentRefused),
    (Bedrock, (403, SAID), AuthenticationFailed),
    (Bedrock, (403, SAID, "UnrecognizedClientException"), AuthenticationFailed),
    (Bedrock, (404, SAID), ModelNotFound),
    (Bedrock, (429, SAID), RateLimited),
    (Bedrock, (400, SAID, "ServiceQuotaExceededException"), RateLimited),
    (Bedrock, (500, SAID), ProviderUnavailable),
    (Bedrock, (503, SAID), ProviderUnavailable),
    (Bedrock, (424, SAID), ProviderUnavailable),
    (Bedrock, (408, SAID), ProviderTimeout),
    (Bedrock, (400, SAID), BadInput),
    (Bedrock, (400, f"Input is too long for requested model. {SAID}"), ContextLengthExceeded),
    (Gemini, (400, SAID, error_info("API_KEY_INVALID")), AuthenticationFailed),
    (Gemini, (403, SAID), AuthenticationFailed),
    (Gemini, (403, SAID, error_info("BILLING_DISABLED")), CreditExhausted),
    (Gemini, (404, SAID), ModelNotFound),
    (Gemini, (429, SAID, retry_info("7s")), RateLimited),
    (Gemini, (500, SAID), ProviderUnavailable),
    (Gemini, (503, SAID), ProviderUnavailable),
    (Gemini, (400, SAID), BadInput),
    (
        Gemini,
        (400, f"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576). {SAID}"),
        ContextLengthExceeded,
    ),
    (OpenRouter, (401, SAID), AuthenticationFailed),
    (OpenRouter, (402, SAID), CreditExhausted),
    (OpenRouter, (403, SAID), AuthenticationFailed),
    (OpenRouter, (403, SAID, {"reasons": ["violence"], "flagged_input": SAID}), ContentRefused),
    (
        OpenRouter,
        (400, "Provider returned error", {"raw": '{"error": {"code": "context_length_exceeded"}}'}),
        ContextLengthExceeded,
    ),
    (OpenRouter, (404, SAID), ModelNotFound),
    (OpenRouter, (408, SAID), ProviderTimeout),
    (OpenRouter, (429, SAID), RateLimited),
    (OpenRouter, (502, SAID), ProviderUnavailable),
    (OpenRouter, (400, SAID), BadInput),
    (
        OpenRouter,
        (400, f"This endpoint's maximum context length is 128000 tokens. However, you requested about 130000. {SAID}"),
        ContextLengthExceeded,
    ),
    (Azure, (401, SAID), AuthenticationFailed),
    (Azure, (404, SAID, "DeploymentNotFound"), ModelNotFound),
    (Azure, (429, SAID, "RateLimitReached"), RateLimited),
    (Azure, (500, SAID, "InternalServerError"), ProviderUnavailable),
    (Azure, (400, SAID, "BadRequest"), BadInput),
    (Azure, (400, SAID, "context_length_exceeded"), ContextLengthExceeded),
    (Azure, (400, SAID, "content_filter", {"innererror": {"code": "ResponsibleAIPolicyViolation"}}), ContentRefused),
    (Ollama, (404, SAID), ModelNotFound),
    (Ollama, (400, SAID), BadInput),
    (Ollama, (500, SAID), ProviderUnavailable),
    (Ollama, (503, SAID), ProviderUnavailable),
]


@pytest.fixture
async def providers() -> AsyncIterator[Providers]:
    async with Providers(Settings(_env_file=None), None) as opened:
        yield opened


def call_of(server: WireServer) -> ChatCall:
    return ChatCall(
        model=server.model, messages=(Message(role="user", content=PROMPT),), parameters=ChatParameters(max_tokens=50)
    )


def failing(wire: type[WireServer], said: tuple[Any, ...]) -> WireServer:
    """A server that fails as `said`, in the provider's own form."""
    shape: Any = wire()
    status, words, *more = said
    named = more.pop() if more and isinstance(more[-1], dict) and wire in (OpenRouter, Azure) else {}
    return wire(shape.failure(status, words.replace("{key}", shape.key), *more, **named))


def everything_said(error: BaseException) -> str:
    """What a log, a flow run's state or a traceback shows of it."""
    details = getattr(error, "details", {})
    return "".join(traceback.format_exception(error)) + str(error) + repr(error) + repr(details)


@pytest.mark.parametrize(("wire", "said", "kind"), CASES)
async def test_a_failure_becomes_ours_by_its_status_and_codes(
    wire: type[WireServer], said: tuple[Any, ...], kind: type, providers: Providers, lead_to: LeadTo
) -> None:
    exchange = Exchange()
    async with failing(wire, said) as server:
        lead_to(server)
        with pytest.raises(HeadraceError) as failure:
            await providers.chat(call_of(server), timeout_seconds=30, exchange=exchange)
    assert type(failure.value) is kind
    assert server.refused == []
    assert len(server.asked) == 1, "one attempt is one request"
    shown = everything_said(failure.value)
    assert PROMPT not in shown
    assert not server.key or server.key not in shown
    if isinstance(failure.value, RateLimited) and wire is not Bedrock:  # whose answers do not say
        assert failure.value.retry_after == 7.0
    if isinstance(failure.value, AuthenticationFailed):
        variable = {Bedrock: "AWS_ACCESS_KEY_ID"}.get(wire, f"{server.model.split('/')[0].upper()}_API_KEY")
        assert variable in str(failure.value)
    assert not server.key or server.key.encode() not in (exchange.response_bytes or b"")


@pytest.mark.parametrize(
    ("wire", "stop"),
    [
        (Anthropic, "refusal"),
        (Bedrock, "guardrail_intervened"),
        (Bedrock, "content_filtered"),
        (Gemini, "SAFETY"),
        (Gemini, "PROHIBITED_CONTENT"),
        (Gemini, "blockReason=SAFETY"),
        (OpenRouter, "content_filter"),
        (Azure, "content_filter"),
    ],
)
async def test_an_answer_that_was_withheld_is_refused_and_its_usage_kept(
    wire: type[WireServer], stop: str, providers: Providers, lead_to: LeadTo
) -> None:
    exchange = Exchange()
    async with wire(Answer("", stop=stop) if wire is Gemini else Answer("No.", stop=stop)) as server:
        lead_to(server)
        with pytest.raises(ContentRefused) as failure:
            await providers.chat(call_of(server), timeout_seconds=30, exchange=exchange)
    assert PROMPT not in everything_said(failure.value)
    assert exchange.reply is not None
    assert exchange.reply.usage is not None
    assert exchange.reply.usage.input_tokens == 1000


async def test_an_error_that_google_puts_into_a_list_is_read_all_the_same(
    providers: Providers, lead_to: LeadTo
) -> None:
    shape = Gemini().failure(400, SAID, error_info("API_KEY_INVALID"))
    async with Gemini(Failure(400, [shape.body])) as server:
        lead_to(server)
        with pytest.raises(AuthenticationFailed):
            await providers.chat(call_of(server), timeout_seconds=30)


async def test_an_error_that_openrouter_puts_into_a_good_status_is_no_answer(
    providers: Providers, lead_to: LeadTo
) -> None:
    body = {"error": {"code": 502, "message": f"Provider returned error {PROMPT}"}, "user_id": "user_2x"}
    async with OpenRouter(Failure(200, body)) as server:
        lead_to(server)
        with pytest.raises(ProviderUnavailable) as failure:
            await providers.chat(call_of(server), timeout_seconds=30)
    assert PROMPT not in everything_said(failure.value)


@pytest.mark.parametrize("wire", [Anthropic, Bedrock, Gemini, OpenRouter, Azure, Ollama])
async def test_the_servers_take_no_field_that_the_provider_does_not_know(
    wire: type[WireServer], providers: Providers, lead_to: LeadTo
) -> None:
    async with wire() as server:
        lead_to(server)
        await providers.chat(call_of(server), timeout_seconds=30)
        asked = server.asked[0]
        headers = {name: value for name, value in asked.headers.items() if name != "content-length"}
        query = "&".join(f"{name}={value}" for name, value in asked.query.items())
        async with aiohttp.ClientSession() as session:
            body = orjson.dumps({**asked.body, "no_such_field": 1})
            url = f"{server.url}{asked.path}?{query}"
            async with session.post(url, data=body, headers=headers) as response:
                assert response.status == 400
    assert "no_such_field" in " ".join(server.refused)


async def test_the_row_of_a_failed_call_holds_neither_key_nor_prompt(
    settings: Settings, lead_to: LeadTo, database: Engine
) -> None:
    async with failing(Anthropic, (401, SAID)) as server:
        lead_to(server)
        with pytest.raises(AuthenticationFailed):
            await complete(PROMPT, model=server.model, parameters=ChatParameters(max_tokens=5))
    with database.connect() as connection:
        (row,) = connection.execute(text("SELECT error_class, error_message, context FROM llm_requests"))
    assert row.error_class == "AuthenticationFailed"
    assert "ANTHROPIC_API_KEY" in row.error_message
    assert server.key not in str(row)
    assert PROMPT not in str(row)


async def test_the_older_name_of_azure_s_key_is_a_key(
    providers: Providers, lead_to: LeadTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Azure() as server:
        lead_to(server)
        monkeypatch.delenv("AZURE_API_KEY")
        assert "needs AZURE_API_KEY to be set" in str(await providers.reachable(server.model))
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", server.key)
        assert await providers.reachable(server.model) is None
        assert (await providers.chat(call_of(server), timeout_seconds=30)).text
