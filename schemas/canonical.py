"""Canonical JSON and the content keys made from it.

Equal values give equal bytes whatever the order of their keys, so that a SHA-256 over them can
stand for the work they describe (RFC 8785 in spirit: sorted keys, no white space, UTF-8).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

type_error = "{} cannot be part of a content key: make it a Pydantic model, a mapping, a list or a plain value"


def jsonable(value: Any) -> Any:
    """`value` as plain JSON types, the same for equal values.

    Floats that are whole numbers stay floats; NaN and infinities, which JSON lacks, become strings.

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
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case set() | frozenset():
            return sorted((jsonable(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        case Decimal():
            return format(value.normalize(), "f")
        case UUID() | PurePath():
            return str(value)
        case bytes():
            return hashlib.sha256(value).hexdigest()
        case Enum():
            return jsonable(value.value)
        case _ if hasattr(value, "isoformat"):
            return value.isoformat()
    raise TypeError(type_error.format(type(value).__qualname__))


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON with sorted keys and no white space; lone surrogates are kept as escapes."""
    text = json.dumps(jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def content_key(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def postgres_json(value: Any) -> Any:
    """`value` with what JSONB refuses made storable: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return postgres_text(value)
    if isinstance(value, dict):
        return {postgres_text(str(key)): postgres_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [postgres_json(item) for item in value]
    return jsonable(value)


def postgres_text(text: str) -> str:
    """`text` as Postgres can store it: NUL and lone surrogates become U+FFFD."""
    if text.isascii():
        return text.replace("\x00", "\ufffd")
    cleaned = text.replace("\x00", "\ufffd")
    try:
        cleaned.encode("utf-8")
    except UnicodeEncodeError:
        cleaned = cleaned.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return cleaned
