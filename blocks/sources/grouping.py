"""A table that a source does not have: what the records of another one that agree in some fields have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from blocks.sources.records import RecordChunk, Row, Source, SourceTable, row_chunks

_ROWS_AT_ONCE = 10_000
_MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)


@dataclass(slots=True)
class Group:
    """Records that agree: when the first and the last was made, and how many there are."""

    first: datetime
    last: datetime
    count: int = 0

    def add(self, moment: datetime) -> None:
        """One more, made at `moment`."""
        self.first, self.last = min(self.first, moment), max(self.last, moment)
        self.count += 1


@dataclass(frozen=True, slots=True)
class GroupedTable:
    """The groups of `records`, in the order in which they first appear.

    A group's record has the fields `by`, and `first`, `last` and `count`. Memory is needed for each group, not for each
    record.

    Attributes:
        by: fields that the records of a group agree in; null where a record has none.
        required: those of them that must not be null; a record where one is belongs to no group.
        moment: the field with a record's time; one without a time that can be read belongs to no group.
    """

    name: str
    records: SourceTable
    by: tuple[str, ...]
    required: tuple[str, ...]
    moment: str

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The groups from the number `start` on; reads all of the records first.

        Raises:
            BadInput: the source cannot be read any more.
        """
        return row_chunks(self.name, self._rows(start), size)

    def place(self, index: int) -> str:
        """Where a group stands: `conversations, group 3 by user_id, page`."""
        return f"{self.records.name}, group {index} by {', '.join(self.by)}"

    def _rows(self, start: int) -> Iterator[Row]:
        for index, (key, group) in enumerate(self._groups().items()):
            if index >= start:
                found = dict(zip(self.by, key, strict=True))
                times = {"first": group.first.isoformat(), "last": group.last.isoformat()}
                yield index, {**found, **times, "count": group.count}, ()

    def _groups(self) -> dict[tuple[str | None, ...], Group]:
        groups: dict[tuple[str | None, ...], Group] = {}
        for chunk in self.records.chunks(_ROWS_AT_ONCE):
            for record in chunk.records:
                moment = _moment(record.get(self.moment))
                if moment is None or any(_plain(record.get(name)) is None for name in self.required):
                    continue
                key = tuple(_plain(record.get(name)) for name in self.by)
                groups.setdefault(key, Group(moment, moment)).add(moment)
        return groups


@dataclass(slots=True)
class GroupedSource:
    """A source with a grouped table beside its own.

    Attributes:
        names: what the source may call the table that is grouped, in small letters without `_` and `-`.
        renamed: what it is called here.
    """

    source: Source
    names: tuple[str, ...]
    renamed: str
    grouped: str
    by: tuple[str, ...]
    required: tuple[str, ...]
    moment: str

    @property
    def fingerprint(self) -> str:
        """That of the source."""
        return self.source.fingerprint

    @property
    def description(self) -> str:
        """What it is, for people."""
        return self.source.description

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the source as a whole."""
        return self.source.problems

    def tables(self) -> Mapping[str, SourceTable]:
        """The tables by name, the grouped one first where there is anything to group."""
        tables = dict(self.source.tables())
        for name in list(tables):
            if name.casefold().replace("_", "").replace("-", "") in self.names:
                records = tables.pop(name)
                grouped = GroupedTable(self.grouped, records, self.by, self.required, self.moment)
                return {self.grouped: grouped, self.renamed: records, **tables}
        return tables

    def close(self) -> None:
        """The source is closed."""
        self.source.close()


def _plain(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _moment(value: Any) -> datetime | None:
    try:
        # Only this reads a zone of hours alone, as Postgres writes it.
        moment = datetime.fromisoformat(value) if isinstance(value, str) else _MOMENT.validate_python(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
