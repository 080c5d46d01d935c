"""The models served on this machine: started once, when first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

from schemas.errors import ConfigurationError
from schemas.settings import LOCAL_CHAT_MODEL, LOCAL_EMBEDDING_MODEL

LocalKind = Literal["chat", "embedding"]
LOCAL_MODELS: dict[str, LocalKind] = {LOCAL_CHAT_MODEL: "chat", LOCAL_EMBEDDING_MODEL: "embedding"}


class Endpoint(Protocol):
    """One OpenAI-compatible server on loopback.

    Attributes:
        base_url: up to and including `/v1`.
        model: the name it answers to.
        identity: the weights' checksum or the like; another one gives other answers.
        context_window: tokens of prompt and answer together.
    """

    @property
    def base_url(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def context_window(self) -> int | None: ...


class LocalEndpoints(Protocol):
    """Starts the embedded servers; both methods block until the server answers."""

    def chat_endpoint(self) -> Endpoint: ...
    def embedding_endpoint(self) -> Endpoint: ...


class LocalServers:
    """The embedded endpoints of one event loop, each started by the first who asks; the others wait."""

    def __init__(self, endpoints: LocalEndpoints | None) -> None:
        self._endpoints = endpoints
        self._started: dict[LocalKind, asyncio.Task[Endpoint]] = {}

    async def get(self, model: str) -> Endpoint:
        """The running endpoint of `local/chat` or `local/embedding`.

        Raises:
            ConfigurationError: there is no such local model here.
            HeadraceError: whatever the start failed with; the next call tries again.
        """
        kind, start = self._start_of(model)
        task = self._started.get(kind)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._started[kind] = asyncio.create_task(asyncio.to_thread(start))
        return await asyncio.shield(task)

    def forget(self, model: str) -> None:
        """The endpoint of `model` went away; the next call starts it anew."""
        self._started.pop(LOCAL_MODELS[model], None)

    def _start_of(self, model: str) -> tuple[LocalKind, Callable[[], Endpoint]]:
        kind = LOCAL_MODELS.get(model)
        if kind is None:
            known = " and ".join(LOCAL_MODELS)
            raise ConfigurationError(f"there is no local model {model}; there are {known}", model=model)
        if self._endpoints is None:
            raise ConfigurationError(f"{model} needs the embedded models, which are not available here", model=model)
        endpoints = self._endpoints
        return kind, endpoints.chat_endpoint if kind == "chat" else endpoints.embedding_endpoint
