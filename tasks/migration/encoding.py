"""Values as a binary COPY takes them, column by column."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import ARRAY, BigInteger, Boolean, DateTime, Float, Integer, Numeric, SmallInteger, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from schemas.canonical import postgres_json, postgres_text
from tasks.migration.fields import microseconds

if TYPE_CHECKING:
    from sqlalchemy import Column

JSONB_VERSION = b"\x01"
"""Begins the binary form of jsonb (`jsonb_send` in Postgres)."""
SHOWN_CHARACTERS = 2000
NO_ATTRIBUTES = JSONB_VERSION + b"{}"

Encoder = Callable[[Any], Any]


def copy_type(column: Column[Any]) -> str:
    """The type whose binary form is sent for `column`; that of a time is its microseconds, of jsonb its text."""
    match column.type:
        case DateTime():
            return "int8"
        case JSONB():
            return "bytea"
        case Boolean():
            return "bool"
        case BigInteger():
            return "int8"
        case SmallInteger():
            return "int2"
        case Integer():
            return "int4"
        case Float():
            return "float8"
        case Numeric():
            return "numeric"
        case Uuid():
            return "uuid"
        case ARRAY() as array if isinstance(array.item_type, Text):
            return "text[]"
        case Text():
            return "text"
    raise TypeError(f"no binary form is known for {column}")


def encoder(column: Column[Any]) -> Encoder | None:
    """What turns a value of `column` into what is sent; None where it is sent as it is."""
    if isinstance(column.type, DateTime):
        return microseconds
    return jsonb if isinstance(column.type, JSONB) else None


def jsonb(value: Any) -> bytes | None:
    """`value` in the binary form of jsonb; whole numbers of any size and any depth stay what they are."""
    if value is None:
        return None
    try:
        text = orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, or nesting beyond orjson's
        text = json.dumps(value, allow_nan=False).encode()
    return JSONB_VERSION + text


def kept_json(value: Any) -> str:
    """`value` as JSON text that Postgres takes, whatever it is: for records that are rejected."""
    try:
        return orjson.dumps(postgres_json(value)).decode()
    except (RecursionError, TypeError):
        return orjson.dumps(postgres_text(json.dumps(value)[:SHOWN_CHARACTERS])).decode()
