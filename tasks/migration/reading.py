"""Records validated, a chunk at a time: rows ready to be copied, and what was rejected.

A chunk is validated as a whole by compiled code. Only where some of its records fail, those are taken out by the
places that the error names and the rest is validated once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from schemas.canonical import postgres_json
from tasks.migration.declaration import ATTRIBUTES, Nested, SourceRecord, Table
from tasks.migration.encoding import NO_ATTRIBUTES, copy_type, encoder, jsonb, kept_json
from tasks.migration.refusing import Refusal

SEQUENCE = "_seq"
NESTED_BITS = 20
"""A nested record's place is that of the outer one and, in these bits, its own in the list."""


@dataclass(frozen=True)
class Reject:
    """A record that is not loaded; `record` is its JSON text, without secrets."""

    table: str
    index: int
    source_id: str | None
    record: str
    rule: str
    reason: str


@dataclass
class ValidRows:
    """What came of a chunk.

    Attributes:
        rows: place and column values of each accepted record, encoded for COPY.
        nested: records of other tables that were inside, with their places.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    nested: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)


class RecordValidator:
    """Validates and encodes the records of one table."""

    def __init__(self, table: Table, refusal: Refusal, source_name: str = "") -> None:
        self.table = table
        self.source_name = source_name
        self.refusal = refusal
        looked_up = {lookup.column for lookup in table.lookups} - set(table.model.model_fields)
        self.columns = [column for column in table.columns if column.name not in looked_up]
        self.names = [SEQUENCE, *(column.name for column in self.columns)]
        self.types = ["int8", *map(copy_type, self.columns)]
        self._adapter: TypeAdapter[list[SourceRecord]] = TypeAdapter(list[table.model])  # type: ignore[name-defined]
        fields = [column.name for column in self.columns if column.name in table.model.model_fields]
        self._values = itemgetter(*fields)
        self._encoders = [(place, code) for place, name in enumerate(fields) if (code := self._encoder(name))]
        self._attributes = ATTRIBUTES in table.column_names

    def _encoder(self, name: str) -> Any:
        column = self.table.sql.columns[name]
        if copy_type(column) == "bytea":
            return lambda value: jsonb(self.refusal.scrub(self.table.name, value))
        return encoder(column)

    def validate(self, indexes: Sequence[int], records: Sequence[dict[str, Any]]) -> ValidRows:
        """The rows and rejects that `records`, at the places `indexes`, come to. Changes the records."""
        result = ValidRows()
        if self.table.prepare is not None:
            for record in records:
                self.table.prepare(record, self.source_name)
        self.refusal.strip(self.table.name, records)
        found = self._accepted(indexes, records, result)
        if found is None:
            return result
        indexes, models, records = found
        if not models:
            return result
        self._take_nested(indexes, records, models, result)
        columns: list[Iterable[Any]] = list(zip(*(self._values(model.__dict__) for model in models), strict=True))
        for place, code in self._encoders:
            columns[place] = map(code, columns[place])
        if self._attributes:
            columns.append([self._encode_attributes(model.__pydantic_extra__) for model in models])
        result.rows = list(zip(indexes, *columns, strict=True))
        return result

    def _accepted(
        self, indexes: Sequence[int], records: Sequence[dict[str, Any]], result: ValidRows
    ) -> tuple[Sequence[int], list[SourceRecord], Sequence[dict[str, Any]]] | None:
        try:
            return indexes, self._adapter.validate_python(records), records
        except ValidationError as error:
            faults = _by_record(error)
        for place, fault in faults.items():
            result.rejects.append(self._reject(indexes[place], records[place], fault))
        good = [place for place in range(len(records)) if place not in faults]
        kept = [records[place] for place in good]
        return [indexes[place] for place in good], self._adapter.validate_python(kept), kept

    def _reject(self, index: int, record: dict[str, Any], fault: ErrorDetails) -> Reject:
        place = ".".join(map(str, fault["loc"][1:])) or "record"
        identity = record.get(self.table.alias("id"))
        return Reject(
            self.table.name,
            index,
            str(postgres_json(identity)) if isinstance(identity, str | int) else None,
            kept_json(self.refusal.scrub(self.table.name, record)),
            f"{self.table.name}.{place.partition('.')[0]}",
            f"{place}: {fault['msg']}",
        )

    def _encode_attributes(self, extra: dict[str, Any] | None) -> bytes | None:
        if not extra:
            return NO_ATTRIBUTES
        for value in extra.values():
            if isinstance(value, dict | list):
                return jsonb(self.refusal.scrub(self.table.name, extra))
        return jsonb(extra)

    def _take_nested(
        self,
        indexes: Sequence[int],
        records: Sequence[dict[str, Any]],
        models: Sequence[SourceRecord],
        result: ValidRows,
    ) -> None:
        for nested in self.table.nested:
            found = result.nested.setdefault(nested.table, [])
            for index, record, model in zip(indexes, records, models, strict=True):
                items = (model.__pydantic_extra__ or {}).pop(nested.field, None)
                found += self._inner(nested, index, record, items, result)

    def _inner(
        self, nested: Nested, index: int, record: dict[str, Any], items: Any, result: ValidRows
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        if items is None:
            return
        given = {name: record.get(outer) for name, outer in nested.inherits.items()}
        identity = record.get("id")
        for place, item in enumerate(items if isinstance(items, list) else [items]):
            seq = (index << NESTED_BITS) + place
            if not isinstance(item, dict) or place >> NESTED_BITS:
                reason = f"{nested.field}[{place}] is no record of {nested.table}"
                found = kept_json(self.refusal.scrub(nested.table, item))
                result.rejects.append(Reject(nested.table, seq, None, found, f"{nested.table}.record", reason))
                continue
            item = {**item, **given, nested.ordinal: place + 1}
            if nested.scope:
                item["id"] = f"{identity}/{item.get('id', place + 1)}"
            yield seq, item


def _by_record(error: ValidationError) -> dict[int, ErrorDetails]:
    """The first fault of each record that has one."""
    faults: dict[int, ErrorDetails] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        faults.setdefault(int(fault["loc"][0]), fault)
    return faults
