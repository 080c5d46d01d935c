"""Calls to an OpenAI-compatible server over real HTTP: what is sent, and what is made of the answer."""

from __future__ import annotations

import gzip
from decimal import Decimal
from typing import Any

import orjson
import pytest
from aiohttp import web

from blocks.providers.exchange import Exchange
from blocks.providers.openai_client import openai_client
from blocks.providers.openai_requests import EMBEDDED, OPENAI, chat_body
from blocks.providers.registry import Providers
from schemas.calls import ChatParameters, EmbeddingCall, Message, Usage
from schemas.errors import ConfigurationError, ContentRefused, ProviderUnavailable
from tests.blocks.providers.conftest import KEY, ask, settings_for
from tests.scripted_provider import Reply, ScriptedProvider
from tests.scripted_provider.replies import embed, embeddings

IMPACT = {
    "type": "object",
    "properties": {
        "who": {"type": "string", "maxLength": 40},
        "direction": {"enum": ["good", "bad"], "type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["who", "direction", "confidence"],
}


async def test_an_answer_carries_its_text_usage_and_both_bodies() -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    reply = Reply("Yes, one page.", usage=usage, model="gpt-4o-mini-2024-07-18", headers={"x-request-id": "req-1"})
    async with ScriptedProvider(lambda _: reply) as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(ask(), timeout_seconds=10)
    assert answer.text == "Yes, one page."
    assert (answer.model, answer.finish_reason, answer.provider_request_id) == (
        "gpt-4o-mini-2024-07-18",
        "stop",
        "req-1",
    )
    assert answer.usage == Usage(input_tokens=30, output_tokens=12, cached_input_tokens=8, reasoning_tokens=5)
    assert orjson.loads(answer.request_bytes) == server.log[0].body
    assert orjson.loads(answer.response_bytes)["choices"][0]["message"]["content"] == "Yes, one page."


async def test_only_the_parameters_that_are_set_are_sent() -> None:
    parameters = ChatParameters(max_tokens=7, temperature=None, top_p=0.5, seed=3, stop=("END",), presence_penalty=1.0)
    call = ask(parameters=parameters)
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        await providers.chat(call, timeout_seconds=10)
    assert server.log[0].body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Is the bill short?"}],
        "max_tokens": 7,
        "top_p": 0.5,
        "seed": 3,
        "stop": ["END"],
        "presence_penalty": 1.0,
    }


def test_openai_itself_is_asked_with_the_limit_its_reasoning_models_take() -> None:
    body = orjson.loads(chat_body(ask(), "o3", OPENAI))
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


async def test_a_schema_goes_out_in_a_form_strict_mode_accepts_and_the_answer_fits_it() -> None:
    call = ask(output_schema=IMPACT, output_name="impact")
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(call, timeout_seconds=10)
    sent = server.log[0].body["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("impact", True)
    assert sent["schema"]["required"] == ["who", "direction", "confidence", "note"]
    made = orjson.loads(answer.text)
    assert set(made) == {"who", "direction", "confidence", "note"}
    assert made["direction"] in ("good", "bad")
    assert 0 <= made["confidence"] <= 1


def test_the_embedded_model_gets_the_schema_with_all_its_bounds() -> None:
    body = orjson.loads(chat_body(ask(output_schema=IMPACT), "local", EMBEDDED))
    assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": IMPACT}}


async def test_a_name_with_the_openai_prefix_is_the_bare_name_on_the_wire() -> None:
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(ask(model="openai/gpt-4o"), timeout_seconds=10)
    assert server.log[0].model == "gpt-4o"
    assert answer.model == "gpt-4o"


async def test_the_key_and_the_organization_travel_in_headers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    exchange = Exchange()
    async with ScriptedProvider(api_key=KEY) as server:
        settings = settings_for(server.url, key=f" {KEY}\n")
        async with Providers(settings, None) as providers:
            answer = await providers.chat(ask(), timeout_seconds=10, exchange=exchange)
            session = providers._http()
            client = openai_client(session, settings, "gpt-4o")
    assert answer.text
    assert KEY not in repr(exchange) + repr(client) + answer.model_dump_json()
    assert client.server.headers == {
        "Authorization": f"Bearer {KEY}",
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj-1",
    }


async def test_a_server_without_keys_gets_no_authorization() -> None:
    async with ScriptedProvider() as server, Providers(settings_for(server.url, key=None), None) as providers:
        session = providers._http()
        client = openai_client(session, settings_for(server.url, key=None), "llama3")
        answer = await providers.chat(ask(model="llama3"), timeout_seconds=10)
    assert client.server.headers == {}
    assert answer.text


async def test_openai_without_a_key_is_refused_before_anything_is_sent() -> None:
    exchange = Exchange()
    async with Providers(settings_for(None, key=None), None) as providers:
        with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
            await providers.chat(ask(), timeout_seconds=1, exchange=exchange)
    assert exchange.request_bytes is None


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-one\nsk-two"])
async def test_a_key_that_no_header_can_carry_is_named_not_shown(key: str) -> None:
    async with Providers(settings_for("http://127.0.0.1:9/v1", key=key), None) as providers:
        with pytest.raises(ConfigurationError) as failure:
            await providers.chat(ask(), timeout_seconds=1)
    assert "OPENAI_API_KEY" in str(failure.value)
    assert "sk-" not in str(failure.value)


async def test_a_gateways_own_cost_is_kept_to_the_last_digit() -> None:
    reply = Reply("ok", usage={"cost": 0.00014235})
    async with ScriptedProvider(lambda _: reply) as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(ask(), timeout_seconds=10)
    assert answer.provider_cost_usd == Decimal("0.00014235")


async def test_usage_the_server_does_not_give_is_unknown_not_zero() -> None:
    body = orjson.dumps({"choices": [{"message": {"content": "ok"}}]})
    reply = Reply(body=body)
    async with ScriptedProvider(lambda _: reply) as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(ask(), timeout_seconds=10)
    assert answer.usage is None
    assert (answer.text, answer.model) == ("ok", "gpt-4o-mini")


@pytest.mark.parametrize(
    ("content", "text"),
    [(b'"a\\ud800b"', "a\ufffdb"), (b'"a\\u0000b"', "a\x00b"), (b'"caf\xe9"', "caf\ufffd"), (b"null", "")],
    ids=["lone surrogate", "NUL", "not UTF-8", "null"],
)
async def test_odd_text_in_an_answer_is_read_and_its_bytes_are_kept(content: bytes, text: str) -> None:
    body = b'{"choices": [{"message": {"content": ' + content + b'}, "finish_reason": "stop"}]}'
    reply = Reply(body=body)
    async with ScriptedProvider(lambda _: reply) as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.chat(ask(), timeout_seconds=10)
    assert answer.text == text
    assert answer.response_bytes == body


@pytest.mark.parametrize(
    "reply",
    [Reply(None, refusal="I cannot help with that."), Reply("", finish_reason="content_filter")],
    ids=["refusal", "content filter"],
)
async def test_a_withheld_answer_is_refused_and_its_usage_is_kept(reply: Reply) -> None:
    exchange = Exchange()
    async with ScriptedProvider(lambda _: reply) as server, Providers(settings_for(server.url), None) as providers:
        with pytest.raises(ContentRefused):
            await providers.chat(ask(), timeout_seconds=10, exchange=exchange)
    assert exchange.reply is not None
    assert exchange.reply.usage == Usage(input_tokens=9, output_tokens=0)


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_vectors_come_back_in_the_order_of_the_texts(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ("rent control", "a housing permit", "rent control")
    call = EmbeddingCall(model="text-embedding-3-small", texts=texts, dimensions=64)
    monkeypatch.setattr(
        "tests.scripted_provider.server.embeddings",
        lambda request: _shuffled(embeddings({**request, "encoding_format": encoding})),
    )
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        answer = await providers.embed(call, timeout_seconds=10)
    assert answer.vectors is not None
    for text, vector in zip(texts, answer.vectors, strict=True):
        assert vector == pytest.approx(embed(text, 64).tolist(), abs=1e-7)
    assert answer.usage == Usage(input_tokens=10)


def _shuffled(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "data": body["data"][::-1]}


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [0.5]}],
        [{"index": 0, "embedding": [0.5]}, {"index": 0, "embedding": [0.5]}],
        [{"index": 0, "embedding": "AAAAPw=="}, {"index": 1, "embedding": "!!"}],
        [{"index": 0, "embedding": "AAAAPw=="}, {"index": 1, "embedding": "AAAA"}],
    ],
    ids=["none", "one missing", "one twice", "not base64", "not floats"],
)
async def test_vectors_that_do_not_match_the_texts_are_no_answer(data: list[Any]) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"data": data, "model": "m"})

    async with _Server(answer) as url, Providers(settings_for(url), None) as providers:
        with pytest.raises(ProviderUnavailable) as failure:
            await providers.embed(EmbeddingCall(model="m", texts=("a", "b")), timeout_seconds=10)
    assert failure.value.details["billed"] == "unknown"


async def test_a_compressed_answer_is_recorded_as_what_it_says() -> None:
    async def answer(_: web.Request) -> web.Response:
        body = orjson.dumps({"choices": [{"message": {"content": "short"}}]})
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})

    async with _Server(answer) as url, Providers(settings_for(url), None) as providers:
        reply = await providers.chat(ask(), timeout_seconds=10)
    assert reply.response_bytes == b'{"choices":[{"message":{"content":"short"}}]}'


async def test_a_conversation_keeps_its_turns() -> None:
    turns = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="Bye"),
    )
    async with ScriptedProvider() as server, Providers(settings_for(server.url), None) as providers:
        await providers.chat(ask().model_copy(update={"messages": turns}), timeout_seconds=10)
    assert [turn["role"] for turn in server.log[0].body["messages"]] == ["system", "user", "assistant", "user"]


async def test_the_proxy_of_the_environment_is_used_but_not_for_hosts_it_excludes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        seen.append(request.headers["Host"])
        return web.json_response({"choices": [{"message": {"content": "through the proxy"}}]})

    async with _Server(proxy) as url, ScriptedProvider(lambda _: "direct") as server:
        monkeypatch.setenv("http_proxy", url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with Providers(settings_for("http://provider.invalid/v1"), None) as providers:
            far = await providers.chat(ask(), timeout_seconds=10)
        async with Providers(settings_for(server.url), None) as providers:
            near = await providers.chat(ask(), timeout_seconds=10)
    assert (far.text, near.text) == ("through the proxy", "direct")
    assert seen == ["provider.invalid"]


class _Server:
    """A server with one handler for every path."""

    def __init__(self, handler: Any) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
