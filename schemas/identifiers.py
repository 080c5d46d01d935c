"""Time-ordered identifiers (RFC 9562, version 7), so that new rows are neighbours in an index."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh identifier, greater than every one this process made in an earlier millisecond."""
    return uuid7()
