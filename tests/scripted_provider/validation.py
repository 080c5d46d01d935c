"""Whether OpenAI would take a request: its fields, their types, and the rules of strict schemas.

Fields and types come from the parameter types of the openai package; the rules of strict mode from
https://platform.openai.com/docs/guides/structured-outputs (supported schemas).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tests.scripted_provider.replies import Reply, count_tokens, error, prompt_tokens

_EVERYWHERE = {"type", "description", "title", "enum", "const", "anyOf", "$ref", "$defs", "definitions"}
_OBJECT = {"properties", "required", "additionalProperties"}
_STRING = {"pattern", "format"}
_NUMBER = {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
_ARRAY = {"items", "minItems", "maxItems"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_SCHEMA_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
MAX_NESTING = 10


@lru_cache(maxsize=1)
def load_types() -> tuple[TypeAdapter[Any], frozenset[str], TypeAdapter[Any], frozenset[str]]:
    """The checkers of chat and embedding requests and the fields they know; costs a second, once."""
    from openai.types import EmbeddingCreateParams
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams

    chat, embedding = TypeAdapter(ChatParams), TypeAdapter(EmbeddingCreateParams)
    return chat, _fields(ChatParams), embedding, _fields(EmbeddingCreateParams)


def _fields(parameters: Any) -> frozenset[str]:
    return frozenset(parameters.__required_keys__ | parameters.__optional_keys__)


def chat_complaint(request: Any, context_window: int | None) -> Reply | None:
    """The error OpenAI would answer to this chat request, or None when it would take it."""
    checker, known, _, _ = load_types()
    complaint = _typed(request, checker, known, generators=("messages",))
    if complaint is not None:
        return complaint
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("max_tokens", 1, 10**9)):
        value = request.get(name)
        if value is not None and not low <= value <= high:
            return error(400, f"Invalid '{name}'", param=name, code="invalid_value")
    if not request["messages"]:
        return error(400, "Invalid 'messages': empty array", param="messages", code="empty_array")
    wanted = request.get("max_tokens") or request.get("max_completion_tokens") or 0
    if context_window is not None and prompt_tokens(request) + wanted > context_window:
        return error(400, "context length exceeded", param="messages", code="context_length_exceeded")
    return _format_complaint(request.get("response_format"))


def embedding_complaint(request: Any, context_window: int | None) -> Reply | None:
    """The error OpenAI would answer to this embedding request, or None when it would take it."""
    _, _, checker, known = load_types()
    complaint = _typed(request, checker, known, generators=())
    if complaint is not None:
        return complaint
    texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
    if not texts or not all(texts) or len(texts) > 2048:
        return error(400, "'$.input' is invalid", param="input")
    if context_window is not None and any(count_tokens(text) > context_window for text in texts):
        return error(400, "too long", param="input", code="context_length_exceeded")
    return None


def _typed(
    request: Any, checker: TypeAdapter[Any], known: frozenset[str], *, generators: tuple[str, ...]
) -> Reply | None:
    if not isinstance(request, dict):
        return error(400, "We could not parse the JSON body of your request.")
    unknown = sorted(set(request) - known)
    if unknown:
        return error(400, f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")
    try:
        checked = checker.validate_python(request)
        for name in generators:
            list(checked[name])
    except ValidationError as problem:
        place = ".".join(map(str, problem.errors()[0]["loc"]))
        return error(400, f"Invalid type at {place}", param=place, code="invalid_type")
    return None


def _format_complaint(response_format: Any) -> Reply | None:
    if not response_format or response_format["type"] != "json_schema":
        return None
    wanted = response_format["json_schema"]
    if not _SCHEMA_NAME.match(wanted["name"]):
        return error(400, "Invalid name", param="response_format.json_schema.name", code="invalid_value")
    problem = next(strict_problems(wanted.get("schema", {})), None) if wanted.get("strict") else None
    if problem is None:
        return None
    message = f"Invalid schema for response_format '{wanted['name']}': {problem}"
    return error(400, message, param="response_format", code="invalid_json_schema")


def strict_problems(schema: dict[str, Any]) -> Iterator[str]:
    """What OpenAI's strict mode would not accept in `schema`."""
    if schema.get("type") != "object" or "anyOf" in schema:
        yield "(): the root must be an object and not anyOf"
    yield from _problems(schema, (), 1)


def _problems(schema: Any, path: tuple[str, ...], nesting: int) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"{path}: not a schema"
        return
    if "$ref" in schema and len(schema) > 1:
        yield f"{path}: $ref cannot have keywords beside it"
    allowed = _EVERYWHERE | _OBJECT | _STRING | _NUMBER | _ARRAY
    for keyword in sorted(set(schema) - allowed):
        yield f"{path}: '{keyword}' is not permitted"
    if schema.get("format", "date") not in _FORMATS:
        yield f"{path}: format '{schema['format']}' is not supported"
    if not {"type", "anyOf", "$ref", "enum", "const"} & set(schema):
        yield f"{path}: schema must have a 'type' key"
    yield from _object_problems(schema, path, nesting)
    for name in ("$defs", "definitions"):
        for key, part in schema.get(name, {}).items():
            yield from _problems(part, (*path, name, key), nesting)
    for index, part in enumerate(schema.get("anyOf", ())):
        yield from _problems(part, (*path, "anyOf", str(index)), nesting)
    if "items" in schema:
        yield from _problems(schema["items"], (*path, "items"), nesting + 1)


def _object_problems(schema: dict[str, Any], path: tuple[str, ...], nesting: int) -> Iterator[str]:
    kinds = schema.get("type")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return
    if nesting > MAX_NESTING:
        yield f"{path}: nested deeper than {MAX_NESTING}"
    if schema.get("additionalProperties") is not False:
        yield f"{path}: 'additionalProperties' is required to be false"
    properties = schema.get("properties", {})
    if sorted(schema.get("required", ())) != sorted(properties):
        yield f"{path}: 'required' must name every key of properties"
    for name, part in properties.items():
        yield from _problems(part, (*path, "properties", name), nesting + 1)
