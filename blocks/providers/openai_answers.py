"""Answers of the OpenAI API as `ProviderReply`."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Mapping
from decimal import Decimal
from sys import byteorder
from typing import Annotated, Any, TypeVar

import orjson
import pybase64
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from blocks.providers.exchange import Exchange
from blocks.providers.failures import Origin, refused, unreadable
from schemas.calls import ProviderReply, Usage
from schemas.vectors import Vector

REFUSALS = frozenset({"content_filter", "refusal"})
_SURROGATE = re.compile("[\ud800-\udfff]")


class PromptDetails(BaseModel):
    """Parts of the input."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(BaseModel):
    """Parts of the output."""

    reasoning_tokens: int | None = None


class UsageBody(BaseModel):
    """`usage` of an answer; `cost` in USD where the server is a gateway that bills in it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    cost: float | None = None

    def usage(self) -> Usage:
        """The counts as ours; a field that `Usage` does not know is left out."""
        prompt = self.prompt_tokens_details or PromptDetails()
        completion = self.completion_tokens_details or CompletionDetails()
        counts = {
            "input_tokens": self.prompt_tokens,
            "output_tokens": self.completion_tokens,
            "cached_input_tokens": prompt.cached_tokens,
            "cache_write_tokens": prompt.cache_write_tokens,
            "reasoning_tokens": completion.reasoning_tokens,
        }
        return Usage.model_validate({name: count or 0 for name, count in counts.items()})

    def cost_usd(self) -> Decimal | None:
        """The billed cost, by its shortest decimal form."""
        return None if self.cost is None else Decimal(repr(self.cost))


def read_usage(said: Any) -> UsageBody | None:
    """What the provider says it counted; None where that cannot be read: the answer is good all the same."""
    if said is None:
        return None
    try:
        return UsageBody.model_validate(said)
    except ValidationError:
        return None


Text = Annotated[str | None, BeforeValidator(lambda said: said if isinstance(said, str) else None)]
"""A remark beside the answer: what is no text counts as unsaid."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Text = None


class _Chat(BaseModel):
    id: Text = None
    model: Text = None
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


class _Vector(BaseModel):
    index: int
    embedding: str | list[float]


class _Embeddings(BaseModel):
    model: Text = None
    data: list[_Vector]
    usage: Any = None


def read_chat(exchange: Exchange, headers: Mapping[str, str], origin: Origin, model: str) -> ProviderReply:
    """The reply in an answer with status 200; it stands in `exchange.reply` before it is judged.

    Raises:
        ProviderUnavailable: the body is no chat completion; it may be billed.
        ContentRefused: the model or a filter withheld the answer.
    """
    parsed = parsed_answer(_Chat, exchange, origin)
    choice = parsed.choices[0]
    exchange.reply = ProviderReply(
        text=choice.message.content or "",
        model=parsed.model or model,
        finish_reason=choice.finish_reason,
        provider_request_id=headers.get("x-request-id") or parsed.id,
        **_common(exchange, parsed.usage),
    )
    judge(exchange.reply, choice.message.refusal, origin)
    return exchange.reply


def judge(reply: ProviderReply, refusal: str | None, origin: Origin) -> None:
    """Nothing happens when `reply` is an answer.

    Raises:
        ContentRefused: it is the refusal of one.
    """
    if refusal:
        raise refused(origin, "refusal")
    if reply.finish_reason in REFUSALS:
        raise refused(origin, reply.finish_reason)


def read_embeddings(
    exchange: Exchange, headers: Mapping[str, str], origin: Origin, model: str, count: int
) -> ProviderReply:
    """The reply in an answer with status 200: `count` vectors in the order of the texts.

    Raises:
        ProviderUnavailable: the body does not hold them; it may be billed.
    """
    parsed = parsed_answer(_Embeddings, exchange, origin)
    if sorted(row.index for row in parsed.data) != list(range(count)):
        raise unreadable(origin, f"{len(parsed.data)} vectors for {count} texts")
    try:
        vectors = _vectors(parsed)
    except ValueError:
        raise unreadable(origin, "a vector that is not base64 of floats") from None
    exchange.reply = ProviderReply(
        vectors=vectors,
        in_openai_form=True,
        model=parsed.model or model,
        provider_request_id=headers.get("x-request-id"),
        **_common(exchange, parsed.usage),
    )
    return exchange.reply


Body = TypeVar("Body", bound=BaseModel)


def _common(exchange: Exchange, said: Any) -> dict[str, Any]:
    usage = read_usage(said)
    return {
        "usage": usage.usage() if usage else None,
        "provider_cost_usd": usage.cost_usd() if usage else None,
        "request_bytes": exchange.request_bytes or b"",
        "response_bytes": exchange.response_bytes or b"",
    }


def parsed_answer(shape: type[Body], exchange: Exchange, origin: Origin) -> Body:
    """The recorded answer as `shape`.

    Raises:
        ProviderUnavailable: it is none; it may be billed.
    """
    try:
        return shape.model_validate(load_json(exchange.response_bytes or b""))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise unreadable(origin, f"at {place or 'the top'}") from None
    except (ValueError, RecursionError):
        raise unreadable(origin, "not JSON") from None


def load_json(body: bytes) -> Any:
    """`body` as JSON; broken UTF-8 and lone surrogates in it become U+FFFD.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested deeper than Python goes.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = json.loads(body.decode("utf-8", "replace"))
    return orjson.loads(_SURROGATE.sub("\ufffd", json.dumps(parsed, ensure_ascii=False)))


def read_texts_again(request: bytes) -> tuple[str, ...]:
    """The texts of a request that `read_embeddings` has read the answer to."""
    return tuple(orjson.loads(request)["input"])


def read_vectors_again(response: bytes) -> tuple[Vector, ...]:
    """The vectors of an answer that `read_embeddings` has read."""
    return _vectors(_Embeddings.model_validate(load_json(response)))


def _vectors(answer: _Embeddings) -> tuple[Vector, ...]:
    return tuple(_vector(row.embedding) for row in sorted(answer.data, key=lambda row: row.index))


def _vector(encoded: str | list[float]) -> Vector:
    """A vector given as numbers, or as base64 of little-endian 32-bit floats; ValueError where it is neither."""
    if isinstance(encoded, list):
        return array("d", encoded)
    numbers = array("f", pybase64.b64decode(encoded, validate=True))
    if byteorder == "big":  # pragma: no cover - depends on the machine
        numbers.byteswap()
    return numbers
