"""What databases and columnar files hold, as the values of JSON."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from blocks.sources.json_record import SWAPPED
from schemas.canonical import WIDEST_INTEGER, postgres_text


def plain_record(columns: list[str], row: tuple[Any, ...]) -> tuple[dict[str, Any], list[str]]:
    """`row` as a record of JSON values that Postgres can store, and notes of what was changed.

    Moments become ISO 8601 text, exact numbers their digits, bytes base64.
    """
    notes: list[str] = []
    record = {
        name: value if value is None or type(value) is int else plain_value(value, name, notes)
        for name, value in zip(columns, row, strict=True)
    }
    return record, notes


def plain_value(value: Any, name: str, notes: list[str]) -> Any:
    """`value`, of the column `name`, as a JSON value; `notes` says what was changed."""
    match value:
        case str():
            return _text(value, notes)
        case None | bool():
            return value
        case int():
            return value if -WIDEST_INTEGER <= value < WIDEST_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else _noted(str(value), name, "a number that is none", notes)
        case bytes() | memoryview() | bytearray():
            raw = bytes(value)
            return _noted(base64.b64encode(raw).decode(), name, f"{len(raw):,} bytes, kept as base64", notes)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case dict():
            return {_text(str(key), notes): plain_value(item, name, notes) for key, item in value.items()}
        case list() | tuple():
            return [plain_value(item, name, notes) for item in value]
        case Decimal() | UUID():
            return str(value)
    return _text(str(value), notes)


def _noted(text: str, name: str, what: str, notes: list[str]) -> str:
    notes.append(f"{name} holds {what}")
    return text


def _text(text: str, notes: list[str]) -> str:
    cleaned = postgres_text(text)
    if cleaned != text and SWAPPED not in notes:
        notes.append(SWAPPED)
    return cleaned
