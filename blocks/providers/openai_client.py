"""Calls to OpenAI, to other servers of its API, and to the embedded models."""

from __future__ import annotations

import os
from dataclasses import dataclass

import aiohttp

from blocks.named_models import required_secret
from blocks.providers.endpoints import Endpoint
from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, failure_of
from blocks.providers.http_client import Server, get, post, proxy_for, without_credentials
from blocks.providers.openai_answers import load_json, read_chat, read_embeddings
from blocks.providers.openai_requests import (
    COMPATIBLE,
    EMBEDDED,
    OPENAI,
    Dialect,
    chat_body,
    embedding_body,
)
from schemas.calls import ChatCall, EmbeddingCall, ProviderReply
from schemas.errors import ConfigurationError, HeadraceError
from schemas.named_models import NamedModel
from schemas.settings import Settings

OPENAI_URL = "https://api.openai.com/v1"
PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class OpenAIClient:
    """Speaks for one model on one server."""

    session: aiohttp.ClientSession
    server: Server
    dialect: Dialect
    model: str

    async def chat(self, call: ChatCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The answer to `call`; errors as in `http_client.post` and `openai_answers.read_chat`."""
        exchange.request_bytes = chat_body(call, self.model, self.dialect)
        headers = await post(self.session, self.server, "/chat/completions", exchange, timeout_seconds=timeout_seconds)
        return read_chat(exchange, headers, self.server.origin, self.model)

    async def embed(self, call: EmbeddingCall, exchange: Exchange, timeout_seconds: float) -> ProviderReply:
        """The vectors for `call`; errors as in `http_client.post` and `openai_answers.read_embeddings`."""
        exchange.request_bytes = embedding_body(call, self.model)
        headers = await post(self.session, self.server, "/embeddings", exchange, timeout_seconds=timeout_seconds)
        return read_embeddings(exchange, headers, self.server.origin, self.model, len(call.texts))

    async def trouble(self, timeout_seconds: float = PROBE_SECONDS) -> str | None:
        """None when the server answers and offers the model, else what is wrong, in a sentence."""
        try:
            answer = await get(self.session, self.server, "/models", timeout_seconds=timeout_seconds)
        except HeadraceError as error:
            return str(error)
        if answer.status in (404, 405):  # a server without a list of its models
            return None
        if answer.status != 200:
            return str(failure_of(answer.status or 0, {}, answer.response_bytes or b"", self.server.origin))
        names = [] if self.dialect is EMBEDDED else _model_names(answer.response_bytes or b"")
        if names and not any(name == self.model or name.startswith(f"{self.model}:") for name in names):
            return f"{self.server.origin.place} does not offer the model {self.model}"
        return None


def _model_names(body: bytes) -> list[str]:
    try:
        rows = load_json(body)["data"]
        return [str(row["id"]) for row in rows]
    except (ValueError, TypeError, KeyError):
        return []


def openai_server(settings: Settings, model: str) -> Server:
    """OpenAI, or the server `OPENAI_BASE_URL` names.

    Raises:
        ConfigurationError: the key cannot be sent in a header.
    """
    base_url = (settings.openai_base_url or OPENAI_URL).rstrip("/")
    origin = Origin(model, openai_place(settings), "OPENAI_API_KEY", "OPENAI_BASE_URL")
    key = settings.openai_api_key.get_secret_value().strip() if settings.openai_api_key else ""
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError("OPENAI_API_KEY holds characters that no key has; was it pasted in full?")
    wanted = {
        "Authorization": f"Bearer {key}" if key else None,
        "OpenAI-Organization": os.environ.get("OPENAI_ORG_ID"),
        "OpenAI-Project": os.environ.get("OPENAI_PROJECT_ID"),
    }
    headers = {name: value for name, value in wanted.items() if value}
    address = without_credentials(base_url) if key else base_url  # a key takes the place of user and password
    return Server(address, origin, headers, key or None, proxy_for(base_url))


def named_server(settings: Settings, model: str, named: NamedModel) -> Server:
    """The server of a named model; a server of its own gets no key but the one its table names.

    Raises:
        ConfigurationError: the variable of the key is not set.
    """
    base_url = (named.api_base or settings.openai_base_url or OPENAI_URL).rstrip("/")
    variable = named.api_key_env
    origin = Origin(model, f"openai@{without_credentials(base_url)}", variable or "api_key_env", f"[models.{model}]")
    key = required_secret(model, variable) if variable else ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    address = without_credentials(base_url) if key else base_url
    return Server(address, origin, headers, key or None, proxy_for(base_url))


def openai_place(settings: Settings) -> str:
    """The server behind OpenAI names, as part of a model's identity."""
    return f"openai@{without_credentials(settings.openai_base_url or OPENAI_URL)}"


def openai_client(
    session: aiohttp.ClientSession, settings: Settings, model: str, named: NamedModel | None = None
) -> OpenAIClient:
    """The client for `openai/NAME` or a bare name, or for a named model that stands for one.

    Raises:
        ConfigurationError: OpenAI itself is asked and no key is set, or the key is no key.
    """
    if named is not None and (named.api_base or named.api_key_env):
        server = named_server(settings, model, named)
    else:
        server = openai_server(settings, model)
    itself = server.base_url == OPENAI_URL
    if itself and server.secret is None:
        raise ConfigurationError(f"{model} is at OpenAI, but OPENAI_API_KEY is not set", model=model)
    name = named.model if named else model
    return OpenAIClient(session, server, OPENAI if itself else COMPATIBLE, name.removeprefix("openai/"))


def embedded_client(session: aiohttp.ClientSession, endpoint: Endpoint, model: str) -> OpenAIClient:
    """The client for a model served on this machine."""
    origin = Origin(model, f"the embedded server of {model}", "(none)")
    return OpenAIClient(session, Server(endpoint.base_url.rstrip("/"), origin, {}), EMBEDDED, endpoint.model)
