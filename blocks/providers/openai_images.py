"""Images of the OpenAI API (https://platform.openai.com/docs/api-reference/images/create)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from blocks.providers.exchange import Exchange
from blocks.providers.http_client import post
from blocks.providers.image_files import ImageSource, before_reading, read_images
from blocks.providers.openai_answers import UsageBody, parsed_answer
from blocks.providers.openai_client import OpenAIClient
from blocks.providers.openai_requests import OPENAI, Dialect
from schemas.calls import ImageCall, ProviderReply, Usage

ALWAYS_BASE64 = ("gpt-image-", "chatgpt-image-")
"""Models that answer with bytes, and refuse to be asked for them."""


class _Image(BaseModel):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Images(BaseModel):
    data: list[_Image]
    usage: Any = None


class _Tokens(BaseModel):
    text_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens: int | None = None


class _Usage(BaseModel):
    """`usage` of an answer with images; a gateway's `cost` beside it is in USD."""

    input_tokens: int
    output_tokens: int
    input_tokens_details: _Tokens | None = None
    output_tokens_details: _Tokens | None = None


async def generate_images(
    client: OpenAIClient, call: ImageCall, exchange: Exchange, timeout_seconds: float
) -> ProviderReply:
    """The images for `call`; errors as in `http_client.post` and `image_files.read_images`."""
    exchange.request_bytes = image_body(call, client.model, client.dialect)
    origin = client.server.origin
    headers = await post(
        client.session, client.server, "/images/generations", exchange, timeout_seconds=timeout_seconds
    )
    parsed = parsed_answer(_Images, exchange, origin)
    sources = [ImageSource(image.b64_json, image.url, image.revised_prompt) for image in parsed.data]
    bare = _reply(client, parsed, exchange, headers)
    exchange.reply = before_reading(bare, sources)
    images = await read_images(client.session, sources, call.n, origin, timeout_seconds)
    exchange.reply = bare.model_copy(update={"images": images})
    return exchange.reply


def image_body(call: ImageCall, model: str, dialect: Dialect) -> bytes:
    """The bytes of a request for images to the model that the server calls `model`; what is not set is left out.

    Bytes are asked for where a server might answer with an address instead.
    """
    body: dict[str, Any] = {"model": model, "prompt": call.prompt, "n": call.n}
    body |= {name: value for name, value in (("size", call.size), ("quality", call.quality)) if value is not None}
    if not model.startswith(ALWAYS_BASE64) and (dialect is not OPENAI or model.startswith("dall-e-")):
        body["response_format"] = "b64_json"
    return orjson.dumps(body)


def _reply(client: OpenAIClient, parsed: _Images, exchange: Exchange, headers: Mapping[str, str]) -> ProviderReply:
    return ProviderReply(
        model=client.model,
        usage=read_image_usage(parsed.usage),
        provider_cost_usd=_cost(parsed.usage),
        provider_request_id=headers.get("x-request-id"),
        request_bytes=exchange.request_bytes or b"",
        response_bytes=exchange.response_bytes or b"",
    )


def read_image_usage(said: Any) -> Usage | None:
    """The counts as ours; None where the provider does not say, or what cannot be read."""
    try:
        counts = _Usage.model_validate(said)
    except ValidationError:
        return None
    if counts.input_tokens == counts.output_tokens == 0:  # a form filled in with nothing
        return None
    read, made = counts.input_tokens_details or _Tokens(), counts.output_tokens_details or _Tokens()
    return Usage(
        input_tokens=counts.input_tokens,
        output_tokens=counts.output_tokens,
        cached_input_tokens=read.cached_tokens or 0,
        output_text_tokens=made.text_tokens or 0,
    )


def _cost(said: Any) -> Any:
    try:
        return UsageBody.model_validate(said).cost_usd()
    except ValidationError:
        return None
