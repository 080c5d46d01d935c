"""The way to every provider: which client a model's name leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Literal, Self

import aiohttp

from blocks.named_models import read_named_models
from blocks.providers.endpoints import LocalEndpoints, LocalServers
from blocks.providers.exchange import Exchange
from blocks.providers.http_client import new_session
from blocks.providers.litellm_client import (
    LiteLLMClient,
    close_clients,
    litellm_client,
    load_litellm,
    place_of_named,
)
from blocks.providers.litellm_media import IMAGE_MAKERS, RERANKERS, images_by_litellm, ranking_by_litellm
from blocks.providers.openai_client import (
    PROBE_SECONDS,
    OpenAIClient,
    embedded_client,
    openai_client,
    openai_place,
)
from blocks.providers.openai_images import generate_images
from blocks.providers.price_table import find_entry
from blocks.providers.reachability import address_of, unanswered
from blocks.providers.runpod_client import CompletionClient, RunPodClient, describe_runpod, runpod_client
from blocks.providers.runpod_requests import prompt_of
from blocks.providers.token_bound import TOKENS_PER_CALL, count_call_tokens, count_text_tokens
from blocks.search.engines import SearchEngines
from schemas.calls import ChatCall, EmbeddingCall, ImageCall, ModelInfo, ProviderReply, RerankCall
from schemas.errors import ConfigurationError, HeadraceError, ProviderUnavailable
from schemas.named_models import NamedModel
from schemas.settings import Settings

COHERE = "cohere/rerank-v3.5"


class Providers:
    """Speaks to providers, once per call, for one event loop; an asynchronous context manager.

    A name may be one of the file of named models (see `schemas.named_models`), and stands for a LiteLLM
    name. That says who is asked: `local/chat` and `local/embedding` the embedded servers, `openai/NAME`
    and a name without a slash OpenAI or the server at `OPENAI_BASE_URL`, `runpod/ENDPOINT` and
    `runpod/default` a RunPod queue, anything else the provider before the slash, through LiteLLM. `web`
    leads to those who search the web.
    """

    def __init__(self, settings: Settings, local: LocalEndpoints | None) -> None:
        self._settings = settings
        self._local = LocalServers(local)
        self._openai: dict[str, OpenAIClient] = {}
        self._runpod: dict[str, RunPodClient | CompletionClient] = {}
        self._session: aiohttp.ClientSession | None = None
        self._litellm: asyncio.Task[ModuleType] | None = None
        self.web = SearchEngines(settings, self._http, self._load_litellm)
        self._names: Mapping[str, NamedModel] | None = None
        self._unnamed: dict[str, NamedModel] = {}
        self._hosted: dict[str, ModelInfo] = {}

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

    def named_models(self) -> Mapping[str, NamedModel]:
        """The names of the file of named models, read when first needed.

        Raises:
            ConfigurationError: something in it is wrong.
        """
        if self._names is None:
            self._names = read_named_models(self._settings)
        return self._names

    async def describe(self, model: str) -> ModelInfo:
        """What is known of `model`; starts an embedded server to learn what it serves.

        `context_window` of a hosted model is what the price table allows as input, which for some
        models is less than prompt and answer together may have. What the table of a named model says
        comes first.

        Raises:
            ConfigurationError: there is no such local model, or the file of named models is wrong.
        """
        named = self._named(model)
        if named.provider == "local":
            endpoint = await self._local.get(named.model)
            return _described(model, named, endpoint.identity).model_copy(
                update={"context_window": named.context_window or endpoint.context_window, "local": True}
            )
        if named.provider == "runpod":
            return _of_queue(describe_runpod(self._settings, named.model), model, named)
        if model not in self._hosted:
            self._hosted[model] = _described(model, named, _place_of(self._settings, named))
        return self._hosted[model]

    def table_of(self, model: str) -> ModelInfo:
        """What tables and settings say of `model`; as `describe`, but starts nothing.

        Raises:
            ConfigurationError: the file of named models is wrong.
        """
        named = self._named(model)
        known = _described(model, named, _place_of(self._settings, named))
        return known.model_copy(update={"local": named.provider == "local"})

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

    def require(self, kind: Literal["image", "rerank"], model: str) -> None:
        """Whoever is behind `model` makes images, or reranks; nothing is started and nobody asked.

        Raises:
            ConfigurationError: they do not.
        """
        provider, image = self._named(model).provider, kind == "image"
        if provider in (IMAGE_MAKERS | {"openai"} if image else RERANKERS):
            return
        does, setting, example = ("make images", "IMAGE", "gpt-image-2") if image else ("rerank", "RERANK", COHERE)
        raise ConfigurationError(
            f"{model} does not {does}: name a model that does, as --model or in HEADRACE_{setting}_MODEL, "
            f"for instance {example}",
            model=model,
        )

    async def image(
        self, call: ImageCall, *, timeout_seconds: float, exchange: Exchange | None = None
    ) -> ProviderReply:
        """The images for `call`; errors as in `chat`.

        Raises:
            AnswerRejected: the provider names an image that cannot be fetched.
        """
        self.require("image", call.model)
        exchange = Exchange() if exchange is None else exchange
        client = await self._client(call.model)
        if isinstance(client, OpenAIClient):
            return await generate_images(client, call, exchange, timeout_seconds)
        assert isinstance(client, LiteLLMClient)
        return await images_by_litellm(client, self._http(), call, exchange, timeout_seconds)

    async def rerank(
        self, call: RerankCall, *, timeout_seconds: float, exchange: Exchange | None = None
    ) -> ProviderReply:
        """The documents of `call`, most relevant first; errors as in `chat`."""
        self.require("rerank", call.model)
        exchange = Exchange() if exchange is None else exchange
        client = await self._client(call.model)
        assert isinstance(client, LiteLLMClient)
        return await ranking_by_litellm(client, call, exchange, timeout_seconds)

    async def count_tokens(self, call: ChatCall | EmbeddingCall) -> int:
        """The most input tokens that `call` is billed for; see `token_bound`. No network."""
        if isinstance(call, ChatCall) and self._named(call.model).provider == "runpod":
            return TOKENS_PER_CALL + count_text_tokens(prompt_of(call).text)
        return count_call_tokens(call)

    async def reachable(self, model: str, *, timeout_seconds: float = PROBE_SECONDS) -> str | None:
        """None when `model` can be called, else one sentence saying what is wrong; costs nothing.

        OpenAI-compatible servers are asked for their list of models, RunPod for the health of its endpoint;
        of the others the settings they need are checked, and whether their address answers at all.
        """
        try:
            client = await self._client(model)
        except HeadraceError as error:
            return str(error)
        if isinstance(client, OpenAIClient):
            return await client.trouble(timeout_seconds)
        if not isinstance(client, LiteLLMClient):
            return await client.trouble()
        address = address_of(client.named)
        return client.trouble() or (address and await unanswered(self._http(), address, client.origin, timeout_seconds))

    async def _client(self, model: str) -> OpenAIClient | RunPodClient | CompletionClient | LiteLLMClient:
        named = self._named(model)
        match named.provider:
            case "local":
                return embedded_client(self._http(), await self._local.get(named.model), model)
            case "openai":
                return self._openai_client(model, named)
            case "runpod":
                return self._runpod_client(named.model)
        return litellm_client(await self._load_litellm(), model, named)

    def _named(self, model: str) -> NamedModel:
        """What `model` stands for; a LiteLLM name stands for itself."""
        named = self.named_models().get(model) or self._unnamed.get(model)
        if named is None:
            named = self._unnamed[model] = NamedModel.model_construct(model=model)
        return named

    def _openai_client(self, model: str, named: NamedModel) -> OpenAIClient:
        """Made once per model: reading the proxies from the environment takes longer than a request."""
        if model not in self._openai:
            self._openai[model] = openai_client(self._http(), self._settings, model, named)
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
        named = self._named(model)
        if named.provider == "local" and exchange.status is None:
            self._local.forget(named.model)


def _place_of(settings: Settings, named: NamedModel) -> str:
    """Who answers, as part of a model's identity."""
    if named.provider == "openai" and named.api_base is None:
        return openai_place(settings)
    return place_of_named(named)


def _of_queue(queue: ModelInfo, model: str, named: NamedModel) -> ModelInfo:
    """The queue under the name it has been given, with what its table says."""
    update = {"model": model, "price": named.price, "limits": named.limits, "fallback": named.fallback}
    update["stands_for"] = named.model if named.model != model else None
    for window in ("context_window", "max_output_tokens"):
        update[window] = getattr(named, window) or getattr(queue, window)
    return queue.model_copy(update=update)


def _described(model: str, named: NamedModel, identity: str) -> ModelInfo:
    """What its table says, and else the price table."""
    entry = find_entry(named.model, named.provider)
    return ModelInfo(
        model=model,
        provider=named.provider,
        identity=identity,
        context_window=named.context_window or (entry.max_input_tokens if entry else None),
        max_output_tokens=named.max_output_tokens or (entry.max_output_tokens if entry else None),
        reasoning=entry is not None and entry.reasoning,
        stands_for=named.model if named.model != model else None,
        key_variable=named.api_key_env,
        price=named.price,
        price_per_image=named.price_per_image,
        price_per_query=named.price_per_query,
        limits=named.limits,
        fallback=named.fallback,
    )
