"""Whether a provider's address answers at all, asked without a key and without a model."""

from __future__ import annotations

import os

import aiohttp

from blocks.providers.failures import Origin
from blocks.providers.http_client import Server, get, proxy_for
from blocks.providers.litellm_client import address_variable
from schemas.errors import HeadraceError
from schemas.named_models import NamedModel

_USUAL = {
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "ollama": "http://localhost:11434",
    "ollama_chat": "http://localhost:11434",
    "openrouter": "https://openrouter.ai/api/v1",
}
_REGIONS = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")


def address_of(named: NamedModel) -> str | None:
    """Where LiteLLM will ask: the table's address, the environment's, or the usual one; None where none is known."""
    if named.api_base is not None:
        return named.api_base
    if (variable := address_variable(named.provider)) is not None:
        return os.environ[variable]
    if named.provider == "bedrock":
        region = next((os.environ[name] for name in _REGIONS if os.environ.get(name)), "us-west-2")
        return f"https://bedrock-runtime.{region}.amazonaws.com"
    return _USUAL.get(named.provider)


async def unanswered(
    session: aiohttp.ClientSession, address: str, origin: Origin, timeout_seconds: float
) -> str | None:
    """None when something answers at `address`, whatever it says; else what is wrong, in a sentence."""
    server = Server(address.rstrip("/"), origin, {}, proxy=proxy_for(address))
    try:
        await get(session, server, "", timeout_seconds=timeout_seconds)
    except HeadraceError as error:
        return str(error)
    return None
