"""Where a model's name leads, what is known of it, and whether it can be reached."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocks.providers.reachability import address_of
from blocks.providers.registry import Providers
from schemas.calls import EmbeddingCall, ModelInfo
from schemas.errors import ConfigurationError, DatabaseUnavailable, ProviderUnavailable
from schemas.named_models import NamedModel
from tests.blocks.providers.conftest import KEY, ask, settings_for
from tests.scripted_provider import Reply, ScriptedProvider


@dataclass(frozen=True)
class Served:
    base_url: str
    model: str = "scripted-weights"
    identity: str = "scripted sha256:abc"
    context_window: int | None = 16384


class Local:
    """Embedded servers whose start is counted, may fail, and may be held up."""

    def __init__(self, *urls: str) -> None:
        self.urls = list(urls)
        self.started = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.failures: list[Exception] = []

    def chat_endpoint(self) -> Served:
        self.started += 1
        assert self.go_on.wait(10)
        if self.failures:
            raise self.failures.pop()
        return Served(self.urls[min(self.started, len(self.urls)) - 1])

    def embedding_endpoint(self) -> Served:
        return Served(self.urls[0], model="scripted-embedder", identity="embedder sha256:def", context_window=256)


async def test_local_names_lead_to_the_embedded_servers_under_their_own_names() -> None:
    async with ScriptedProvider() as server, Providers(settings_for(None, key=None), Local(server.url)) as providers:
        answer = await providers.chat(ask(model="local/chat"), timeout_seconds=10)
        await providers.embed(EmbeddingCall(model="local/embedding", texts=("a",)), timeout_seconds=10)
        described = await providers.describe("local/chat")
        embedder = await providers.describe("local/embedding")
    assert [served.model for served in server.log] == ["scripted-weights", "scripted-embedder"]
    assert answer.usage is not None
    assert described == ModelInfo(
        model="local/chat",
        provider="local",
        identity="scripted sha256:abc",
        context_window=16384,
        local=True,
    )
    assert (embedder.identity, embedder.context_window) == ("embedder sha256:def", 256)


def test_the_usual_address_of_a_provider_is_known_where_litellm_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_REGION_NAME",
        "AWS_REGION",
        "AWS_BEDROCK_RUNTIME_ENDPOINT",
        "ANTHROPIC_API_BASE",
        "GROQ_API_BASE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert address_of(NamedModel(model="bedrock/x")) == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert address_of(NamedModel(model="anthropic/x")) == "https://api.anthropic.com"
    assert address_of(NamedModel(model="groq/x")) is None
    assert address_of(NamedModel(model="groq/x", api_base="http://127.0.0.1:9")) == "http://127.0.0.1:9"


async def test_an_embedded_server_is_started_once_for_all_who_ask_at_once() -> None:
    async with ScriptedProvider() as server:
        local = Local(server.url)
        local.go_on.clear()
        async with Providers(settings_for(), local) as providers:
            calls = [
                asyncio.create_task(providers.chat(ask(str(n), model="local/chat"), timeout_seconds=10))
                for n in range(8)
            ]
            impatient = calls.pop()
            await asyncio.sleep(0)
            impatient.cancel()
            local.go_on.set()
            answers = await asyncio.gather(*calls)
    assert impatient.cancelled()
    assert len({answer.text for answer in answers}) == 7
    assert local.started == 1


async def test_a_start_that_failed_is_tried_again_by_the_next_call() -> None:
    async with ScriptedProvider() as server:
        local = Local(server.url)
        local.failures.append(ConfigurationError("the weights are damaged"))
        async with Providers(settings_for(), local) as providers:
            with pytest.raises(ConfigurationError, match="damaged"):
                await providers.chat(ask(model="local/chat"), timeout_seconds=10)
            answer = await providers.chat(ask(model="local/chat"), timeout_seconds=10)
    assert answer.text
    assert local.started == 2


async def test_an_embedded_server_that_is_gone_is_started_anew() -> None:
    async with ScriptedProvider() as gone:
        first = gone.url
    async with ScriptedProvider() as server, Providers(settings_for(), Local(first, server.url)) as providers:
        with pytest.raises(ProviderUnavailable):
            await providers.chat(ask(model="local/chat"), timeout_seconds=10)
        answer = await providers.chat(ask(model="local/chat"), timeout_seconds=10)
    assert answer.text


async def test_an_embedded_server_that_fails_is_not_started_anew() -> None:
    async with ScriptedProvider(faults={1: "500"}) as server:
        local = Local(server.url)
        async with Providers(settings_for(), local) as providers:
            with pytest.raises(ProviderUnavailable):
                await providers.embed(EmbeddingCall(model="local/embedding", texts=("a",)), timeout_seconds=10)
            with pytest.raises(ConfigurationError, match="local/chat and local/embedding"):
                await providers.chat(ask(model="local/other"), timeout_seconds=10)
    assert local.started == 0


async def test_without_embedded_servers_a_local_name_is_a_setting_to_mend() -> None:
    async with Providers(settings_for(), None) as providers:
        with pytest.raises(ConfigurationError, match="local/chat"):
            await providers.describe("local/chat")
        assert "local/chat" in str(await providers.reachable("local/chat"))


async def test_a_hosted_model_is_described_by_its_endpoint_and_the_price_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_API_BASE", "http://gpu-box:11434/")
    async with Providers(settings_for("http://127.0.0.1:8000/v1/"), None) as providers:
        own = await providers.describe("openai/gpt-4o-mini")
        unknown = await providers.describe("llama3")
        claude = await providers.describe("anthropic/claude-sonnet-4-5")
        ollama = await providers.describe("ollama_chat/llama3:8b")
    async with Providers(settings_for(None), None) as providers:
        hosted = await providers.describe("gpt-4o-mini")
    assert (own.provider, own.identity) == ("openai", "openai@http://127.0.0.1:8000/v1")
    assert (hosted.identity, hosted.context_window) == ("openai@https://api.openai.com/v1", 128_000)
    assert (hosted.max_output_tokens, hosted.local) == (16_384, False)
    assert (unknown.context_window, unknown.max_output_tokens) == (None, None)
    assert (claude.provider, claude.identity, claude.context_window) == ("anthropic", "anthropic", 200_000)
    assert (ollama.provider, ollama.identity) == ("ollama_chat", "ollama_chat@http://gpu-box:11434")


async def test_counting_tokens_needs_no_server() -> None:
    async with Providers(settings_for(None, key=None), None) as providers:
        assert await providers.count_tokens(ask("one two three")) == 28


async def test_a_reachable_model_has_no_trouble_and_costs_nothing() -> None:
    async with (
        ScriptedProvider(api_key=KEY) as server,
        Providers(settings_for(server.url), Local(server.url)) as providers,
    ):
        assert await providers.reachable("gpt-4o-mini") is None
    assert server.log == []


async def test_each_trouble_is_one_sentence() -> None:
    async with ScriptedProvider(api_key="another") as server, Providers(settings_for(server.url), None) as providers:
        wrong_key = await providers.reachable("gpt-4o-mini")
    async with ScriptedProvider(models=["gpt-4o"]) as server, Providers(settings_for(server.url), None) as providers:
        unknown = await providers.reachable("gpt-4o-mini")
    async with Providers(settings_for(server.url), None) as providers:
        gone = await providers.reachable("gpt-4o-mini")
    async with Providers(settings_for(None, key=None), None) as providers:
        no_key = await providers.reachable("gpt-4o-mini")
    assert "OPENAI_API_KEY" in str(wrong_key)
    assert "does not offer the model gpt-4o-mini" in str(unknown)
    assert "cannot be reached" in str(gone)
    assert "OPENAI_API_KEY is not set" in str(no_key)


async def test_the_trouble_of_an_embedded_start_is_told() -> None:
    local = Local("http://127.0.0.1:1/v1")
    local.failures.append(DatabaseUnavailable("no room on the disk"))
    async with Providers(settings_for(), local) as providers:
        assert await providers.reachable("local/chat") == "no room on the disk"


async def test_a_tag_that_the_server_adds_to_a_name_does_not_make_it_unknown() -> None:
    async with (
        ScriptedProvider(models=["llama3:latest"]) as server,
        Providers(settings_for(server.url), None) as providers,
    ):
        assert await providers.reachable("llama3") is None
        assert await providers.reachable("llama") is not None


@pytest.mark.parametrize(
    "reply", [Reply(status=404, body=b"{}"), Reply(body=b"[]"), Reply(body=b"<html>")], ids=["404", "a list", "a page"]
)
async def test_a_server_without_a_list_of_models_counts_as_reachable(
    reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedProvider() as server:
        monkeypatch.setattr(ScriptedProvider, "_refused", lambda *_: reply)
        async with Providers(settings_for(server.url), None) as providers:
            assert await providers.reachable("anything") is None


async def test_closing_twice_and_calling_again_afterwards_both_work(tmp_path: Path) -> None:
    async with ScriptedProvider() as server:
        providers = Providers(settings_for(server.url), None)
        await providers.chat(ask(), timeout_seconds=10)
        await providers.close()
        await providers.close()
        answer = await providers.chat(ask(), timeout_seconds=10)
        await providers.close()
    assert answer.text
