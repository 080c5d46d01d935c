"""Tables of a source that have no counterpart here: kept record by record, as they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.migration.declaration import SourceRecord, Table
from tasks.migration.fields import Id

REST_TARGET = "source_records"


class RestRecord(SourceRecord):
    """A record of any shape."""

    id: Id
    source_table: str
    source_id: Id
    record: dict[str, Any]


def rest_table(name: str) -> Table:
    """Declares a source table that nobody declared."""
    return Table(name, RestRecord, REST_TARGET, conversions=("kept as it is in source_records",))


def as_rest(source: str, table: str, indexes: Sequence[int], records: Sequence[Any]) -> list[dict[str, Any]]:
    """`records` as `RestRecord` reads them; one without an id is called by its place."""
    wrapped = []
    for index, record in zip(indexes, records, strict=True):
        identity = record.get("id")
        name = str(identity) if isinstance(identity, str | int) and identity != "" else str(index)
        wrapped.append({"id": f"{source}/{table}/{name}", "sourceTable": table, "sourceId": name, "record": record})
    return wrapped
