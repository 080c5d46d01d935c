"""Request bodies of the OpenAI API (https://platform.openai.com/docs/api-reference/chat/create)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from blocks.providers.strict_schema import strict_schema
from schemas.calls import ChatCall, ChatParameters, EmbeddingCall


@dataclass(frozen=True)
class Dialect:
    """How a server departs from the others.

    Attributes:
        strict: schemas go in strict mode; else whole, with all their bounds.
        limit_field: name of the bound on the answer's tokens.
    """

    strict: bool
    limit_field: Literal["max_tokens", "max_completion_tokens"]


OPENAI = Dialect(strict=True, limit_field="max_completion_tokens")
"""OpenAI itself, whose reasoning models refuse `max_tokens`."""
COMPATIBLE = Dialect(strict=True, limit_field="max_tokens")
"""Other servers of the same API: vLLM, Ollama, gateways."""
EMBEDDED = Dialect(strict=False, limit_field="max_tokens")
"""llama.cpp on this machine, which enforces bounds and lengths itself."""


def chat_body(call: ChatCall, model: str, dialect: Dialect) -> bytes:
    """The bytes of a chat completion request to the model that the server calls `model`."""
    body = {"model": model, "messages": messages(call), dialect.limit_field: call.parameters.max_tokens}
    body |= sampling(call.parameters)
    if call.output_schema is not None:
        body["response_format"] = response_format(call.output_name, call.output_schema, strict=dialect.strict)
    return orjson.dumps(body)


def embedding_body(call: EmbeddingCall, model: str) -> bytes:
    """The bytes of an embedding request to the model that the server calls `model`.

    Vectors are asked for as base64, which is smaller and faster to read; servers that do not know it
    answer with numbers.
    """
    body: dict[str, Any] = {"model": model, "input": list(call.texts), "encoding_format": "base64"}
    if call.dimensions is not None:
        body["dimensions"] = call.dimensions
    return orjson.dumps(body)


def messages(call: ChatCall) -> list[dict[str, str]]:
    """The conversation as the API takes it."""
    return [{"role": turn.role, "content": turn.content} for turn in call.messages]


def sampling(parameters: ChatParameters) -> dict[str, Any]:
    """The sampling parameters that are set; what is not set is left to the provider."""
    chosen = {
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "seed": parameters.seed,
        "stop": list(parameters.stop) or None,
        "frequency_penalty": parameters.frequency_penalty,
        "presence_penalty": parameters.presence_penalty,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def response_format(name: str, schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    """The demand for an answer that fits `schema`.

    Raises:
        BadInput: strict mode cannot express the schema; the message names the place.
    """
    if not strict:
        return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
    return {"type": "json_schema", "json_schema": {"name": name, "schema": strict_schema(schema), "strict": True}}
