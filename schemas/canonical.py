"""Canonical JSON and the content keys made from it.

Equal values give equal bytes whatever the order of their keys, so that a SHA-256 over them can
stand for the work they describe (RFC 8785 in spirit: sorted keys, no white space, UTF-8).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

from schemas.errors import BadInput

WIDEST_INTEGER = 2**63

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_KEYABLE = "{} cannot be part of a content key: make it a Pydantic model, a mapping, a list or a plain value"


def jsonable(value: Any) -> Any:
    """`value` as plain JSON types, the same for equal values.

    Floats that are whole numbers stay floats; NaN and infinities, which JSON lacks, become strings; moments
    are told in UTC.

    Raises:
        TypeError: the value has a type without a stable JSON form (a session, a client, a function).
    """
    match value:
        case None | bool() | int() | str():
            return value.value if isinstance(value, Enum) else value
        case float():
            return value if math.isfinite(value) else repr(value)
        case BaseModel():
            return jsonable(value.model_dump(mode="python"))
        case Mapping():
            return _jsonable_mapping(value)
        case list() | tuple():
            return [jsonable(item) for item in value]
        case set() | frozenset():
            return sorted((jsonable(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        case Decimal():
            return _plain_decimal(value)
        case UUID() | PurePath():
            return str(value)
        case bytes():
            return hashlib.sha256(value).hexdigest()
        case Enum():
            return jsonable(value.value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
        case _ if hasattr(value, "isoformat"):
            return value.isoformat()
    raise TypeError(_NOT_KEYABLE.format(type(value).__qualname__))


def _jsonable_mapping(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {_key_text(key): jsonable(item) for key, item in mapping.items()}
    if len(plain) < len(mapping):
        raise TypeError(_NOT_KEYABLE.format("a mapping with keys that are equal as text"))
    return plain


def _key_text(key: Any) -> str:
    plain = key if type(key) is str else jsonable(key)
    return plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True)


def _plain_decimal(number: Decimal) -> str:
    """`number` without exponent and trailing zeros, to its last digit."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON with sorted keys and no white space, numbers as Python's `json` writes them."""
    plain = jsonable(value)
    try:
        return orjson.dumps(_with_numbers_told(plain), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # a lone surrogate, which has bytes of its own, or nested more than 254 deep
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")


def _with_numbers_told(plain: Any) -> Any:
    """`plain` for orjson, which writes some floats otherwise and takes no integer beyond 64 bits."""
    kind = type(plain)
    if kind is dict:
        return {key: _with_numbers_told(item) for key, item in plain.items()}
    if kind is list:
        return [_with_numbers_told(item) for item in plain]
    if kind is float or (kind is int and not -WIDEST_INTEGER <= plain < WIDEST_INTEGER):
        return orjson.Fragment(json.dumps(plain))
    return plain


def content_key(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def postgres_json(value: Any) -> Any:
    """`value` with what JSONB refuses made storable.

    NUL and lone surrogates become U+FFFD, integers beyond 64 bits become text.

    Raises:
        TypeError: as `jsonable`.
    """
    match value:
        case str():
            return postgres_text(value)
        case dict():
            return {
                postgres_text(key if type(key) is str else _key_text(key)): postgres_json(value[key]) for key in value
            }
        case list() | tuple():
            return [postgres_json(item) for item in value]
        case None | bool():
            return value
    plain = jsonable(value)
    if isinstance(plain, int) and not -WIDEST_INTEGER <= plain < WIDEST_INTEGER:
        return str(plain)
    return postgres_json(plain) if isinstance(plain, str | dict | list) else plain


def require_storable(text: str | None, name: str) -> None:
    """`text` can be a name in Postgres as it is.

    Raises:
        BadInput: it holds NUL or half a character.
    """
    if text is not None and postgres_text(text) != text:
        raise BadInput(f"the {name} {postgres_text(text)!r} has a NUL or half a character in it", name=name)


def postgres_text(text: str) -> str:
    """`text` as Postgres can store it: NUL and lone surrogates become U+FFFD."""
    cleaned = text.replace("\x00", "\ufffd")
    if text.isascii():
        return cleaned
    return _SURROGATE.sub("\ufffd", cleaned)
