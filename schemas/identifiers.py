"""Time-ordered identifiers (RFC 9562, version 7), so that new rows are neighbours in an index."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HASHED_BITS = 80
_VERSION = (0xF << 76, 7 << 76)
_VARIANT = (0b11 << 62, 0b10 << 62)
"""Bits that RFC 9562 (5.7) gives a meaning, and what they are."""


def new_id() -> UUID:
    """A fresh identifier, greater than every one this process made in an earlier millisecond."""
    return uuid7()


def derived_id(moment: datetime, *names: str) -> UUID:
    """The identifier of what `names` call and `moment` dates: always the same, in its place among those of then.

    Where `new_id` has random bits it has those of a SHA-256 over the names. A time before 1970 counts as 1970.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    milliseconds = max((aware - _EPOCH) // _MILLISECOND, 0)
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()
    number = milliseconds << _HASHED_BITS | int.from_bytes(digest[: _HASHED_BITS // 8], "big")
    for mask, value in (_VERSION, _VARIANT):
        number = number & ~mask | value
    return UUID(int=number)
