"""Records that were rows of SQL tables: fields named as columns are, JSON and times kept as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from schemas.canonical import postgres_json
from tasks.migration.declaration import SourceRecord
from tasks.migration.refusing import Refusal

Number = Annotated[float, Field(allow_inf_nan=False)]
SqlMoment = Annotated[datetime, BeforeValidator(lambda value: read_moment(value) or value)]
"""A time as Postgres writes it, with hours for a zone."""
Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]


class SqlRecord(SourceRecord):
    """A record whose fields are called as the columns are."""

    model_config = ConfigDict(extra="allow", alias_generator=None)


def own_id(record: dict[str, Any], field: str, source_name: str) -> None:
    """The id in `field` names a row of this source, of which another may have the same numbers: `llm-lab/7`."""
    value = record.get(field)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        record[field] = f"{source_name}/{value}"


def without_blanks(record: dict[str, Any]) -> None:
    """Fields that hold an empty text, which is all that a CSV file has for NULL, are gone."""
    for name in [name for name, value in record.items() if value == ""]:
        del record[name]


def open_json(record: dict[str, Any], fields: Iterable[str]) -> None:
    """JSON that is kept as text in `fields` is the value it stands for.

    Text that is no JSON stays, with what looks like a secret in it blotted out.
    """
    for name in fields:
        value = record.get(name)
        if isinstance(value, str):
            try:
                record[name] = postgres_json(json.loads(value))
            except (ValueError, RecursionError):
                record[name] = Refusal().redact(value)


def rename(record: dict[str, Any], names: dict[str, str]) -> None:
    """Fields have the name that `names` gives them, unless that is taken by a value."""
    for old, new in names.items():
        if old in record and record.get(new) is None:
            record[new] = record.pop(old)


def read_moment(value: Any) -> datetime | None:
    """The time that `value` tells, in any form of ISO 8601; None where it tells none."""
    if not isinstance(value, str):
        return value if isinstance(value, datetime) else None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None
