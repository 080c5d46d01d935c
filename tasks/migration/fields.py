"""Types of fields that records of many kinds share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field

LARGEST_INTEGER = 2**31 - 1
IN_UTC = "a time without a zone is read as UTC"
NOT_IN_SOURCE = "(not in the source)"
"""Name of what stands in for a missing row."""


def _empty_list(value: Any) -> Any:
    return [] if value is None else value


def _zero(value: Any) -> Any:
    return 0 if value is None else value


Id = Annotated[str, Field(min_length=1, max_length=255, coerce_numbers_to_str=True)]
"""A key: text that fits an index."""
Moment = datetime
"""A time; the engine reads one without a zone as UTC."""
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
CountOrZero = Annotated[Count, BeforeValidator(_zero)]
Percent = Annotated[int, Field(ge=0, le=100)]
Texts = Annotated[list[str], BeforeValidator(_empty_list), Field(default_factory=list)]
"""A list of texts; null or missing is an empty one."""

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def valid_uuid(name: str, value: Any) -> UUID:
    """`value` of the field `name` as a UUID.

    Raises:
        ValueError: it is none.
    """
    try:
        return UUID(str(value))
    except ValueError as error:
        raise ValueError(f"{name} is no UUID") from error


def microseconds(moment: datetime | None) -> int | None:
    """`moment` as Postgres keeps it: microseconds since 2000 in UTC."""
    if moment is None:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
