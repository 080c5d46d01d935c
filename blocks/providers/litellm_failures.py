"""LiteLLM's exceptions as our errors, by their classes and by the answer they carry.

LiteLLM maps a provider's failure onto its own classes and loses on the way whether anything was sent
and what the status was; both are found in the chain of exceptions that led there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from multidict import CIMultiDict

from blocks.named_models import read_secret
from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, failure_of, no_answer, unreachable, unreadable
from schemas.errors import (
    BadInput,
    ContentRefused,
    ContextLengthExceeded,
    HeadraceError,
)

_BESIDE = {
    "AWS_ACCESS_KEY_ID": ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"),
    "GEMINI_API_KEY": ("GOOGLE_API_KEY",),
}
"""Other variables that hold what a provider takes for a key."""


def translated(error: Exception, exchange: Exchange, origin: Origin) -> Exception:
    """Our error for `error`, which a call through LiteLLM raised; itself where it is a defect.

    The body of a failed answer is in `exchange` afterwards.
    """
    chain = list(_chain(error))
    lost = _network(chain, origin)
    if lost is not None:
        return lost
    answered = _answered(chain, exchange, origin)
    return _named(error, origin) or answered or _classed(error, exchange, origin)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what led to it, up to an earlier attempt whose failure is being handled around this one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and not isinstance(error, HeadraceError):
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _named(error: Exception, origin: Origin) -> HeadraceError | None:
    """Failures that LiteLLM knows by the ways of each provider."""
    from litellm import exceptions

    match error:
        case exceptions.ContextWindowExceededError():
            return ContextLengthExceeded(
                f"the prompt does not fit the context window of {origin.model}", model=origin.model
            )
        case exceptions.ContentPolicyViolationError():
            return ContentRefused(f"{origin.place} refused the request by its content rules", model=origin.model)
        case exceptions.UnsupportedParamsError():
            return BadInput(f"{origin.model} does not take one of the parameters that are set", model=origin.model)
    return None


def _network(chain: list[BaseException], origin: Origin) -> HeadraceError | None:
    """Failures of the connection: before anything was sent, or after."""
    import httpx
    import openai
    from litellm import exceptions

    unsent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)
    lost = (aiohttp.ClientError, httpx.TransportError, TimeoutError, openai.APITimeoutError, exceptions.Timeout)
    if any(isinstance(link, unsent) for link in chain):
        return unreachable(origin, "no connection")
    if any(isinstance(link, lost) for link in chain):
        return no_answer(origin, "time is up or the connection was lost")
    return None


def _answered(chain: list[BaseException], exchange: Exchange, origin: Origin) -> HeadraceError | None:
    """Failures the provider answered with a status and a body."""
    import httpx
    import openai
    from litellm.llms.base_llm.chat.transformation import BaseLLMException

    for link in chain:
        response = getattr(link, "response", None) if isinstance(link, openai.APIStatusError) else None
        if response is not None and response.content:
            return _from_answer(response.status_code, response.headers, response.content, exchange, origin)
    if any(isinstance(link, json.JSONDecodeError) for link in chain):
        exchange.status = 200
        return unreadable(origin, "not JSON")
    for link in chain:
        if isinstance(link, BaseLLMException) and not link.status_code_is_synthesized and link.headers is not None:
            return _from_answer(link.status_code, link.headers, link.message.encode(), exchange, origin)
    for link in chain:
        if isinstance(link, httpx.HTTPStatusError) and link.response.content:
            response = link.response
            return _from_answer(response.status_code, response.headers, response.content, exchange, origin)
    return None


def _from_answer(
    status: int, headers: Mapping[str, Any], body: bytes, exchange: Exchange, origin: Origin
) -> HeadraceError:
    exchange.status = status
    if status == 200:
        return unreadable(origin, "not JSON")
    for variable in (origin.key_variable, *_BESIDE.get(origin.key_variable, ())):
        if secret := read_secret(variable):  # some gateways repeat the key they refuse
            body = body.replace(secret.encode(), b"[key]")
    exchange.response_bytes = body
    return failure_of(status, CIMultiDict({name: str(value) for name, value in headers.items()}), body, origin)


def _classed(error: Exception, exchange: Exchange, origin: Origin) -> Exception:
    """What is left: errors LiteLLM raised before it sent anything, and answers it could not read."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return failure_of(error.status_code, CIMultiDict(), b"", origin)
    if isinstance(error, openai.APIError) or exchange.status == 200:
        return unreadable(origin, type(error).__name__)
    return error
