"""Values of databases and columnar files as those of JSON."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest

from blocks.sources.plain_values import plain_record


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, True),
        (2**62, 2**62),
        (2**70, str(2**70)),
        (0.5, 0.5),
        (Decimal("1.500"), "1.500"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2025, 1, 2, 3, 4, 5), "2025-01-02T03:04:05"),  # noqa: DTZ001 - a source's own, without a zone
        (date(1, 1, 1), "0001-01-01"),
        (time(1, 2), "01:02:00"),
        (timedelta(minutes=1.5), 90.0),
        ({"a": (1, Decimal(2)), 3: None}, {"a": [1, "2"], "3": None}),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
    ],
)
def test_a_value_keeps_its_meaning_and_digits(value: Any, plain: Any) -> None:
    assert plain_record(["column"], (value,)) == ({"column": plain}, [])


def test_what_is_changed_is_noted_with_its_column() -> None:
    record, notes = plain_record(["a", "b", "c"], (float("nan"), b"\x00", ["x\x00", "\ud800"]))
    assert record == {"a": "nan", "b": "AA==", "c": ["x\ufffd", "\ufffd"]}
    assert notes[:2] == ["a holds a number that is none", "b holds 1 bytes, kept as base64"]
    assert len(notes) == 3
