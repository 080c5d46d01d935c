"""The way to every provider: which client a model's name leads to."""

from __future__ import annotations

import asyncio
from types import ModuleType, TracebackType
from typing import Self

import aiohttp

from blocks.providers.endpoints import LocalEndpoints, LocalServers
from blocks.providers.exchange import Exchange
from blocks.providers.http_client import new_session
from blocks.providers.litellm_client import (
    LiteLLMClient,
    close_clients,
    litellm_client,
    load_litellm,
    place_of,
    provider_of,
)
from blocks.providers.openai_client import OpenAIClient, embedded_client, openai_client, openai_place
from blocks.providers.price_table import find_entry
from blocks.providers.runpod_client import CompletionClient, RunPodClient, describe_runpod, runpod_client
from blocks.providers.runpod_requests import prompt_of
from blocks.providers.token_bound import TOKENS_PER_CALL, count_call_tokens, count_text_tokens
from blocks.search.engines import SearchEngines
from schemas.calls import ChatCall, EmbeddingCall, ModelInfo, ProviderReply
from schemas.errors import HeadraceError, ProviderUnavailable
from schemas.settings import Settings


class Providers:
    """Speaks to providers, once per call, for one event loop; an asynchronous context manager.

    A LiteLLM name says who is asked: `local/chat` and `local/embedding` the embedded servers,
    `openai/NAME` and a name without a slash OpenAI or the server at `OPENAI_BASE_URL`, `runpod/ENDPOINT`
    and `runpod/default` a RunPod queue, anything else the provider before the slash, through LiteLLM.
    `web` leads to those who search the web.
    """

    def __init__(self, settings: Settings, local: LocalEndpoints | None) -> None:
        self._settings = settings
        self._local = LocalServers(local)
        self._openai: dict[str, OpenAIClient] = {}
        self._runpod: dict[str, RunPodClient | CompletionClient] = {}
        self._session: aiohttp.ClientSession | None = None
        self._litellm: asyncio.Task[ModuleType] | None = None
        self.web = SearchEngines(settings, self._http, self._load_litellm)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """All connections are closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            self._openai.clear()
            self._runpod.clear()
        if self._litellm is not None and self._litellm.done() and not self._litellm.exception():
            await close_clients(self._litellm.result())

    async def describe(self, model: str) -> ModelInfo:
        """What is known of `model`; starts an embedded server to learn what it serves.

        `context_window` of a hosted model is what the price table allows as input, which for some
        models is less than prompt and answer together may have.

        Raises:
            ConfigurationError: there is no such local model.
        """
        provider = _provider(model)
        if provider == "local":
            endpoint = await self._local.get(model)
            return ModelInfo(
                model=model,
                provider=provider,
                identity=endpoint.identity,
                context_window=endpoint.context_window,
                local=True,
            )
        if provider == "runpod":
            return describe_runpod(self._settings, model)
        entry = find_entry(model, provider)
        return ModelInfo(
            model=model,
            provider=provider,
            identity=openai_place(self._settings) if provider == "openai" else place_of(provider),
            context_window=entry.max_input_tokens if entry else None,
            max_output_tokens=entry.max_output_tokens if entry else None,
            reasoning=entry is not None and entry.reasoning,
        )

    async def chat(self, call: ChatCall, *, timeout_seconds: float, exchange: Exchange | None = None) -> ProviderReply:
        """The answer to `call`; `exchange` holds both bodies, also when it fails.

        Raises:
            RateLimited: wait `retry_after` seconds.
            ProviderUnavailable: refused, failed or unreachable. With `details["billed"] == "unknown"` an
                answer came that is none, and may cost.
            ProviderTimeout: sent, and no whole answer in time: it may cost.
            ContextLengthExceeded, BadInput: the request is at fault.
            ContentRefused: the answer was withheld; where it is billed, `exchange.reply` has the usage.
            ConfigurationError: the key, the model's name or the address is wrong, or credit is used up.
            JobEnded, PromptEchoed: a queue's job was cancelled or is gone, or its worker answers nothing.
        """
        exchange = Exchange() if exchange is None else exchange
        client = await self._client(call.model)
        try:
            return await client.chat(call, exchange, timeout_seconds)
        except ProviderUnavailable:
            self._suspect(call.model, exchange)
            raise

    async def embed(
        self, call: EmbeddingCall, *, timeout_seconds: float, exchange: Exchange | None = None
    ) -> ProviderReply:
        """One vector per text of `call`, in its order; errors as in `chat`."""
        exchange = Exchange() if exchange is None else exchange
        client = await self._client(call.model)
        try:
            return await client.embed(call, exchange, timeout_seconds)
        except ProviderUnavailable:
            self._suspect(call.model, exchange)
            raise

    async def count_tokens(self, call: ChatCall | EmbeddingCall) -> int:
        """The most input tokens that `call` is billed for; see `token_bound`. No network."""
        if isinstance(call, ChatCall) and _provider(call.model) == "runpod":
            return TOKENS_PER_CALL + count_text_tokens(prompt_of(call).text)
        return count_call_tokens(call)

    async def reachable(self, model: str) -> str | None:
        """None when `model` can be called, else one sentence saying what is wrong; costs nothing.

        OpenAI-compatible servers are asked for their list of models, RunPod for the health of its endpoint;
        of the others only the settings they need are checked.
        """
        try:
            client = await self._client(model)
        except HeadraceError as error:
            return str(error)
        return client.trouble() if isinstance(client, LiteLLMClient) else await client.trouble()

    async def _client(self, model: str) -> OpenAIClient | RunPodClient | CompletionClient | LiteLLMClient:
        match _provider(model):
            case "local":
                return embedded_client(self._http(), await self._local.get(model), model)
            case "openai":
                return self._openai_client(model)
            case "runpod":
                return self._runpod_client(model)
        return litellm_client(await self._load_litellm(), model)

    def _openai_client(self, model: str) -> OpenAIClient:
        """Made once per model: reading the proxies from the environment takes longer than a request."""
        if model not in self._openai:
            self._openai[model] = openai_client(self._http(), self._settings, model)
        return self._openai[model]

    def _runpod_client(self, model: str) -> RunPodClient | CompletionClient:
        if model not in self._runpod:
            self._runpod[model] = runpod_client(self._http(), self._settings, model)
        return self._runpod[model]

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session()
        return self._session

    async def _load_litellm(self) -> ModuleType:
        if self._litellm is None:
            self._litellm = asyncio.create_task(asyncio.to_thread(load_litellm))
        return await asyncio.shield(self._litellm)

    def _suspect(self, model: str, exchange: Exchange) -> None:
        """An embedded server that cannot be reached may have been stopped: it is started anew next time."""
        if _provider(model) == "local" and exchange.status is None:
            self._local.forget(model)


def _provider(model: str) -> str:
    return provider_of(model) if "/" in model else "openai"
