"""Errors of providers as ours, decided by HTTP status and by the codes in the body.

OpenAI's envelope is `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes); the other providers' codes and types are in
the sets below. The free text of an answer is never quoted: it can repeat a prompt or a key. It is
in the recorded body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from blocks.providers.waiting import retry_after
from schemas.errors import (
    BadInput,
    ConfigurationError,
    ContentRefused,
    ContextLengthExceeded,
    HeadraceError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)

CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
REFUSED_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated"})
PASSING_STATUSES = frozenset({408, 409, 425})
_WORD = re.compile(r"[\w.\-\[\]/]{1,80}", re.ASCII)


@dataclass(frozen=True)
class Origin:
    """Who was asked, for messages.

    Attributes:
        model: the LiteLLM name the caller used.
        place: provider and address, without credentials.
        key_variable: environment variable of the key.
        address_variable: environment variable of the address, where there is one.
    """

    model: str
    place: str
    key_variable: str
    address_variable: str | None = None


def failure_of(status: int, headers: Mapping[str, str], body: bytes, origin: Origin) -> HeadraceError:
    """The error that an answer with `status` other than 200 stands for.

    Args:
        headers: a case-insensitive mapping.
    """
    facts = {"status": status, "model": origin.model, **_facts(body)}
    codes = {facts.get("code"), facts.get("type")}
    if codes & CONTEXT_CODES:
        return ContextLengthExceeded(f"the prompt does not fit the context window of {origin.model}", **facts)
    if codes & REFUSED_CODES:
        return ContentRefused(f"{origin.place} refused the request by its content rules", **facts)
    if codes & QUOTA_CODES or status == 402:
        return ConfigurationError(
            f"the account behind {origin.key_variable} has no credit left at {origin.place}", **facts
        )
    if status == 429:
        return RateLimited(f"{origin.place} asks to wait", retry_after=retry_after(headers), **facts)
    if status >= 500 or status in PASSING_STATUSES:
        return ProviderUnavailable(
            f"{origin.place} failed with HTTP status {status}", retry_after=retry_after(headers), **facts
        )
    return _lasting(status, facts, origin)


def _lasting(status: int, facts: dict[str, Any], origin: Origin) -> HeadraceError:
    if status in (401, 403):
        return ConfigurationError(
            f"{origin.place} does not accept the key in {origin.key_variable} for {origin.model}", **facts
        )
    if status == 404:
        return ConfigurationError(f"{origin.place} has no model {origin.model}{_check_address(origin)}", **facts)
    if 300 <= status < 400:
        return ConfigurationError(f"{origin.place} redirects elsewhere{_check_address(origin)}", **facts)
    at_fault = " ".join(f"{name} {facts[name]}" for name in ("param", "code", "type") if facts.get(name))
    said = f": {at_fault}" if at_fault else ""
    return BadInput(f"{origin.place} rejects the request for {origin.model} (HTTP status {status}{said})", **facts)


def _check_address(origin: Origin) -> str:
    return f"; check the model's name and {origin.address_variable}" if origin.address_variable else ""


def _facts(body: bytes) -> dict[str, Any]:
    """`code`, `type` and `param` of an error body, where they are plain words; no free text."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return {}
    found = {name: error.get(name) for name in ("code", "type", "param")}
    return {name: value for name, value in found.items() if isinstance(value, str) and _WORD.fullmatch(value)}


def unreachable(origin: Origin, reason: str) -> ProviderUnavailable:
    """No connection came about; the call was not sent."""
    return ProviderUnavailable(f"{origin.place} cannot be reached ({reason})", model=origin.model)


def no_answer(origin: Origin, reason: str) -> ProviderTimeout:
    """The call was sent and no whole answer came: it may have been carried out and billed."""
    return ProviderTimeout(f"{origin.place} gave no answer ({reason})", model=origin.model)


def unreadable(origin: Origin, reason: str) -> ProviderUnavailable:
    """An answer came with status 200 and is none; it may be billed."""
    return ProviderUnavailable(
        f"{origin.place} gave an unreadable answer ({reason})", model=origin.model, billed="unknown"
    )


def refused(origin: Origin, reason: str) -> ContentRefused:
    """The model or a content filter withheld the answer; it is billed, see `Exchange.reply`."""
    return ContentRefused(f"{origin.place} withheld the answer ({reason})", model=origin.model, reason=reason)
