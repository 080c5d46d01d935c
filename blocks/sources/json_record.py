"""One JSON text to one record, leniently: what JSON or Postgres does not hold is repaired and noted.

This is the slow way, taken only by the records that a strict parser refuses or would change.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from blocks.sources.records import Unreadable, shown
from schemas.canonical import WIDEST_INTEGER, postgres_text

SWAPPED = "characters that Postgres does not store (NUL, half a character, bytes that are no UTF-8) became U+FFFD"
RAW_CONTROLS = "line breaks or control characters stood unescaped in a text"
TOO_DEEP = "the record is nested too deeply (more than 250 levels)"
_KINDS = {list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}


def read_record(text: bytes, index: int) -> tuple[dict[str, Any] | Unreadable, list[str]]:
    """The record in `text`, or why it is none, and notes of what was repaired.

    Of a key that stands twice the last value is kept, as browsers do. Numbers that a float or 64 bits do not
    hold (NaN, 1e999, 30 digits) become their text.
    """
    notes: list[str] = []
    try:
        value = _parsed(text, notes)
        if not isinstance(value, dict):
            reason = f"{_KINDS.get(type(value), 'a number')} stands where a record (an object) should be"
            return Unreadable(index, reason, shown(text)), []
        cleaned = storable(value)
        orjson.dumps(cleaned)
    except json.JSONDecodeError as error:
        return Unreadable(index, f"not valid JSON: {error.msg} at character {error.pos + 1}", shown(text)), []
    except (RecursionError, orjson.JSONEncodeError):
        return Unreadable(index, TOO_DEEP, shown(text)), []
    if cleaned != value:
        notes.append(SWAPPED)
    return cleaned, list(dict.fromkeys(notes))


def _parsed(text: bytes, notes: list[str]) -> Any:
    decoded = text.decode("utf-8", "surrogateescape")
    decoder = _Noting(notes)
    try:
        return decoder.strict.decode(decoded)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Invalid control character"):
            raise
    notes.clear()
    notes.append(RAW_CONTROLS)
    return decoder.lenient.decode(decoded)


class _Noting:
    """JSON decoders that note what they change."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self.strict, self.lenient = self._decoder(strict=True), self._decoder(strict=False)

    def _decoder(self, *, strict: bool) -> json.JSONDecoder:
        return json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._kept_as_text,
            parse_float=self._float,
            parse_int=self._integer,
            strict=strict,
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            for key in found:
                if keys.count(key) > 1:
                    self._notes.append(f"the key {shown(key)!r} stands {keys.count(key)} times; the last value is kept")
        return found

    def _kept_as_text(self, literal: str) -> str:
        self._notes.append(f"the number {literal[:40]} cannot be stored as one; it is kept as text")
        return literal

    def _float(self, literal: str) -> float | str:
        number = float(literal)
        return number if math.isfinite(number) else self._kept_as_text(literal)

    def _integer(self, literal: str) -> int | str:
        if len(literal) < 19:
            return int(literal)
        if len(literal) <= 20 and -WIDEST_INTEGER <= int(literal) < 2 * WIDEST_INTEGER:
            return int(literal)
        return self._kept_as_text(literal)


def storable(value: Any) -> Any:
    """`value` with all strings and keys as Postgres can store them.

    Raises:
        RecursionError: it is nested too deeply.
    """
    match value:
        case str():
            return postgres_text(value)
        case dict():
            return {postgres_text(key): storable(item) for key, item in value.items()}
        case list():
            return [storable(item) for item in value]
    return value
