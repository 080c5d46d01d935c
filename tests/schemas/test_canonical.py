"""Equal values have equal keys, different values different ones; what JSONB refuses is made storable."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from schemas.canonical import canonical_json, content_key, jsonable, postgres_json, postgres_text

TEXT = st.text(st.characters(codec=None, exclude_categories=()))  # NUL and lone surrogates too
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


class Colour(Enum):
    """An enumeration of texts."""

    RED = "red"


class Shade(StrEnum):
    """An enumeration that is text."""

    DARK = "dark"


class Level(IntEnum):
    """An enumeration that is a number."""

    HIGH = 3


class Point(BaseModel):
    """A model with a default."""

    x: int
    y: Decimal = Decimal("1.50")


def shuffled(value: Any) -> Any:
    """`value` with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [shuffled(item) for item in value]
    return value


def typed(value: Any) -> Any:
    """`value` as JSON tells values apart: 1, 1.0 and true are three."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, repr(value)


def as_json_writes_it(value: Any) -> bytes:
    """What keys have always been made of: stored answers are found by them."""
    text = json.dumps(jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


@given(VALUES)
def test_the_bytes_are_those_of_the_json_module(value: Any) -> None:
    assert canonical_json(value) == as_json_writes_it(value)


@pytest.mark.parametrize("value", [1e16, -0.0, 1e-7, 2**64, -(2**63) - 1, '\x7f\u2028/"\\\x1f', {"\ud800": 1}])
def test_what_writers_of_json_differ_in_is_as_in_the_json_module(value: Any) -> None:
    assert canonical_json([value]) == as_json_writes_it([value])


def test_what_is_nested_deeper_than_fast_writers_go_is_keyed_too() -> None:
    value: Any = 1.5
    for _ in range(300):
        value = [value]
    assert canonical_json(value) == as_json_writes_it(value)


@given(VALUES)
def test_the_order_of_keys_is_irrelevant(value: Any) -> None:
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(VALUES, VALUES)
def test_keys_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    assert (content_key(one) == content_key(other)) == (typed(one) == typed(other))


@given(VALUES)
def test_a_key_is_the_sha256_of_the_canonical_bytes(value: Any) -> None:
    assert content_key(value) == hashlib.sha256(canonical_json(value)).hexdigest()


def test_canonical_json_is_sorted_bare_and_utf_8() -> None:
    assert canonical_json({"b": [1, 1.0, True, None], "a": "é"}) == '{"a":"é","b":[1,1.0,true,null]}'.encode()


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_equal_decimals_have_one_form_whatever_their_zeros(number: Decimal, zeros: int) -> None:
    longer = Decimal(
        (number.as_tuple().sign, number.as_tuple().digits + (0,) * zeros, number.as_tuple().exponent - zeros)
    )
    assert longer == number
    assert jsonable(longer) == jsonable(number)
    assert Decimal(jsonable(number)) == number


def test_decimals_beyond_the_precision_of_arithmetic_stay_different() -> None:
    assert content_key(Decimal("1." + "0" * 40 + "1")) != content_key(Decimal("1." + "0" * 40 + "2"))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.0"), "0"),
        (UUID("00000000-0000-7000-8000-000000000001"), "00000000-0000-7000-8000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Path("a"), "a"),
        (Colour.RED, "red"),
        (Shade.DARK, "dark"),
        (Level.HIGH, 3),
        (date(2024, 3, 1), "2024-03-01"),
        (time(12, 30), "12:30:00"),
        (datetime(2024, 3, 1, 12, tzinfo=UTC), "2024-03-01T12:00:00+00:00"),
        (datetime(2024, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))), "2024-03-01T12:00:00+00:00"),
        (("a", 1), ["a", 1]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (b"abc", hashlib.sha256(b"abc").hexdigest()),
        (Point(x=1), {"x": 1, "y": "1.5"}),
        ({Colour.RED: 1, 2: 3, None: 4}, {"red": 1, "2": 3, "null": 4}),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_every_kind_of_value_has_one_plain_form(value: Any, plain: Any) -> None:
    assert jsonable(value) == plain
    assert type(jsonable(value)) is type(plain)
    assert canonical_json([value]) == canonical_json([plain])


@given(st.sets(st.integers() | st.text()))
def test_a_set_has_one_order(items: set[Any]) -> None:
    assert canonical_json(items) == canonical_json(frozenset(sorted(items, key=repr, reverse=True)))


@dataclass
class Session:
    """Something that has no stable form."""


@pytest.mark.parametrize("value", [Session(), print, object(), SecretStr("key"), {"deep": [Session()]}])
def test_what_has_no_stable_form_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be part of a content key: make it a Pydantic model"):
        content_key(value)


def test_a_mapping_whose_keys_are_equal_as_text_is_refused() -> None:
    with pytest.raises(TypeError, match="keys that are equal as text"):
        content_key({1: "a", "1": "b"})


@given(TEXT)
def test_stored_text_is_the_text_with_one_replacement_for_each_bad_character(text: str) -> None:
    stored = postgres_text(text)
    assert len(stored) == len(text)
    for was, now in zip(text, stored, strict=True):
        bad = was == "\x00" or "\ud800" <= was <= "\udfff"
        assert now == ("\ufffd" if bad else was)
    stored.encode("utf-8")


@given(VALUES)
def test_stored_json_is_what_json_can_say(value: Any) -> None:
    stored = json.dumps(postgres_json(value), ensure_ascii=False, allow_nan=False)
    assert postgres_json(json.loads(stored)) == json.loads(stored)
    stored.encode("utf-8")


def test_stored_json_has_no_nul_surrogate_nan_or_wide_integer_at_any_depth() -> None:
    value = {"a\x00": ("x\ud800", [math.nan, 2**64, -(2**63)]), "m": {"\x00": {"\udfff"}}, "p": Point(x=2**63)}
    assert postgres_json(value) == {
        "a\ufffd": ["x\ufffd", ["nan", "18446744073709551616", -(2**63)]],
        "m": {"\ufffd": ["\ufffd"]},
        "p": {"x": "9223372036854775808", "y": "1.5"},
    }
    assert postgres_json([True, False, None, 1.0]) == [True, False, None, 1.0]
