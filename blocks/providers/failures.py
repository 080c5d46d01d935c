"""Errors of providers as ours, decided by HTTP status and by the codes in the body.

OpenAI's envelope is `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes), and Azure's, Anthropic's and OpenRouter's are near it.
Google's has `details` with a `reason` (google/api/error_reason.proto) and a `RetryInfo`
(google/rpc/error_details.proto); Amazon's code is in the header `x-amzn-errortype`
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, Errors); OpenRouter's
`metadata.reasons` says what its moderation found (https://openrouter.ai/docs/api/reference/errors-and-debugging).
The free text of an answer is never quoted: it can repeat a prompt or a key. It is in the recorded body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from blocks.providers.waiting import duration_seconds, retry_after
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    ConfigurationError,
    ContentRefused,
    ContextLengthExceeded,
    CreditExhausted,
    HeadraceError,
    ModelNotFound,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)

CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
REFUSED_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
QUOTA_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated", "billing_error"}
) | {"BILLING_DISABLED"}
LIMIT_CODES = frozenset({"ThrottlingException", "ServiceQuotaExceededException", "rate_limit_error"})
PASSING_STATUSES = frozenset({408, 409, 424, 425})
TOO_LONG = "This endpoint's maximum context length is"
"""How OpenRouter's own answer begins, which has no code for it."""
GOOGLE_KEY = "API_KEY_"
"""Begins each of Google's reasons that are about the key; they come with status 400."""
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
    error = _error(body)
    facts = {"status": status, "model": origin.model, **_facts(error, headers)}
    codes = {facts.get(name) for name in ("code", "type", "reason")} | _upstream_codes(error)
    if codes & CONTEXT_CODES or str(error.get("message")).startswith(TOO_LONG):
        return ContextLengthExceeded(f"the prompt does not fit the context window of {origin.model}", **facts)
    if codes & REFUSED_CODES or _is_moderated(error):
        return ContentRefused(f"{origin.place} refused the request by its content rules", **facts)
    if codes & QUOTA_CODES or (status == 402 and retry_after(headers) is None):
        return CreditExhausted(
            f"the account behind {origin.key_variable} has no credit left at {origin.place}", **facts
        )
    if status in (402, 429) or codes & LIMIT_CODES:
        wait = retry_after(headers)
        wait = _retry_delay(error) if wait is None else wait
        return RateLimited(f"{origin.place} asks to wait", retry_after=wait, **facts)
    if status >= 500 or status in PASSING_STATUSES:
        return ProviderUnavailable(
            f"{origin.place} failed with HTTP status {status}", retry_after=retry_after(headers), **facts
        )
    return _lasting(status, facts, origin)


def _lasting(status: int, facts: dict[str, Any], origin: Origin) -> HeadraceError:
    if status in (401, 403) or str(facts.get("reason")).startswith(GOOGLE_KEY):
        return AuthenticationFailed(
            f"{origin.place} does not accept the key in {origin.key_variable} for {origin.model}", **facts
        )
    if status == 404:
        return ModelNotFound(f"{origin.place} has no model {origin.model}{_check_address(origin)}", **facts)
    if 300 <= status < 400:
        return ConfigurationError(f"{origin.place} redirects elsewhere{_check_address(origin)}", **facts)
    at_fault = " ".join(f"{name} {facts[name]}" for name in ("param", "code", "type") if facts.get(name))
    said = f": {at_fault}" if at_fault else ""
    return BadInput(f"{origin.place} rejects the request for {origin.model} (HTTP status {status}{said})", **facts)


def _check_address(origin: Origin) -> str:
    return f"; check the model's name and {origin.address_variable}" if origin.address_variable else ""


def _error(body: bytes) -> dict[str, Any]:
    """What the body says of the error; nothing where it is none of the known forms."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(parsed, list) and parsed:  # Google answers some requests so
        parsed = parsed[0]
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _facts(error: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """`code`, `type`, `param` and `reason` of an error, where they are plain words; no free text."""
    found = {name: error.get(name) for name in ("code", "type", "param")}
    found["type"] = headers.get("x-amzn-errortype", "").partition(":")[0] or found["type"] or error.get("status")
    found["reason"] = next((part["reason"] for part in _details(error) if "reason" in part), None)
    return {name: value for name, value in found.items() if isinstance(value, str) and _WORD.fullmatch(value)}


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []


def _retry_delay(error: dict[str, Any]) -> float | None:
    """Seconds of Google's `RetryInfo`."""
    delays = (str(part["retryDelay"]) for part in _details(error) if "retryDelay" in part)
    return next((duration_seconds(delay) for delay in delays), None)


def _is_moderated(error: dict[str, Any]) -> bool:
    return bool(_metadata(error).get("reasons"))


def _upstream_codes(error: dict[str, Any]) -> set[str | None]:
    """Codes of the provider behind OpenRouter, whose answer stands in `metadata.raw`."""
    raw = _metadata(error).get("raw")
    upstream = _error(raw.encode("utf-8", "replace")) if isinstance(raw, str) else {}
    return {value for value in (upstream.get("code"), upstream.get("type")) if isinstance(value, str)}


def _metadata(error: dict[str, Any]) -> dict[str, Any]:
    metadata = error.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


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
