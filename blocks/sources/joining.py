"""Records with what other tables of their source say of them, found through an index on disk."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from blocks.sources.records import RecordChunk, Source, SourceTable
from schemas.errors import BadInput

_ROWS_AT_ONCE = 5_000
_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Join:
    """A record's field `into` is the record of the table `of` whose `match` equal this one's `by`, or null.

    Attributes:
        by: fields, also of what was joined before: `response.request_id`.
        keep: the fields that are taken of what is found; all where none is named.
        last_by: a field with a time: of several records the last is taken; where none is named, the first.
    """

    into: str
    of: str
    by: tuple[str, ...]
    match: tuple[str, ...]
    keep: tuple[str, ...] = ()
    last_by: str = ""


class RecordIndex:
    """The records of a table by some of their fields, in a temporary SQLite file."""

    def __init__(self, path: Path, table: SourceTable | None, join: Join) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute(f"PRAGMA mmap_size = {1 << 36}")
        self._file.execute("CREATE TABLE records (key BLOB, time REAL, place INTEGER, record BLOB)")
        for chunk in table.chunks(_ROWS_AT_ONCE) if table else ():
            rows = zip(chunk.indexes, chunk.records, strict=True)
            found = [_indexed(join, place, record) for place, record in rows]
            self._file.execute("BEGIN")
            self._file.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", found)
            self._file.execute("COMMIT")
        self._file.execute("CREATE INDEX by_key ON records (key)")
        order = "time DESC, place DESC" if join.last_by else "place"
        marks = ", ".join("?" * _KEYS_AT_ONCE)
        self._query = f"SELECT key, record FROM records WHERE key IN ({marks}) ORDER BY {order}"

    def find(self, keys: Iterable[bytes | None]) -> dict[bytes | None, bytes]:
        """The record, as JSON, of each of `keys` that has one."""
        wanted = list({key for key in keys if key is not None})
        found: dict[bytes | None, bytes] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            asked = wanted[start : start + _KEYS_AT_ONCE]
            for key, record in self._file.execute(self._query, asked + [None] * (_KEYS_AT_ONCE - len(asked))):
                found.setdefault(key, record)
        return found

    def close(self) -> None:
        """The file is closed."""
        self._file.close()


@dataclass(slots=True)
class JoinedTable:
    """A table whose records have what is joined to them.

    Attributes:
        wanted: whether a record, as joined, belongs here.
    """

    name: str
    records: SourceTable
    joins: tuple[Join, ...]
    index: Callable[[Join], RecordIndex]
    wanted: Callable[[dict[str, Any]], bool]

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The records from the place `start` on; the tables that are joined are read first.

        Raises:
            BadInput: the source cannot be read any more.
        """
        for chunk in self.records.chunks(size, start):
            joined = self._joined(chunk.records)
            rows = [row for row in zip(chunk.indexes, joined, strict=True) if self.wanted(row[1])]
            if rows or chunk.unreadable:
                yield replace(chunk, indexes=[place for place, _ in rows], records=[record for _, record in rows])

    def place(self, index: int) -> str:
        """Where a record stands in the source."""
        return self.records.place(index)

    def _joined(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        joined = [dict(record) for record in records]
        for join in self.joins:
            keys = [_key(_inside(record, path) for path in join.by) for record in joined]
            found = self.index(join).find(keys)
            for record, key in zip(joined, keys, strict=True):
                record[join.into] = orjson.loads(found[key]) if key in found else None
        return joined


@dataclass(slots=True)
class JoinedSource:
    """A source whose tables are joined as `joins` says.

    Attributes:
        called: what a name of the source is here; None for a table that is shown as it is.
        wanted: by table, which of its records belong to it; all where nothing is said.
        needs: by table, another without which its records say something else than they mean.
    """

    source: Source
    called: Callable[[str], str | None]
    joins: Mapping[str, tuple[Join, ...]]
    wanted: Mapping[str, Callable[[dict[str, Any]], bool]] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    _indexes: dict[Join, RecordIndex] = field(default_factory=dict)
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def fingerprint(self) -> str:
        """That of the source."""
        return self.source.fingerprint

    @property
    def description(self) -> str:
        """That of the source."""
        return self.source.description

    @property
    def problems(self) -> Sequence[str]:
        """Those of the source."""
        return self.source.problems

    def tables(self) -> Mapping[str, SourceTable]:
        """The tables by name.

        Raises:
            BadInput: there is one without another that it needs.
        """
        shown: dict[str, SourceTable] = {}
        for name, table in self.source.tables().items():
            called = self.called(name)
            if called is None or called in shown:
                shown[name] = table
            else:
                wanted = self.wanted.get(called, lambda _: True)
                shown[called] = JoinedTable(called, table, self.joins.get(called, ()), self._index, wanted)
        for name, needed in self.needs.items():
            if name in shown and needed not in shown:
                raise BadInput(
                    f"{self.description} has {name} and no {needed}, without which they cannot be told: export both, "
                    f"an empty table too"
                )
        return shown

    def close(self) -> None:
        """The source is closed and the indexes are gone."""
        self.source.close()
        for index in self._indexes.values():
            index.close()
        self._indexes.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def _index(self, join: Join) -> RecordIndex:
        known = replace(join, into="", by=())  # what is looked for is the same, wherever it goes
        if known not in self._indexes:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="headrace-join-")
            path = Path(self._folder.name) / f"{len(self._indexes)}.sqlite"
            tables = self.source.tables().items()
            table = next((table for name, table in tables if self.called(name) == join.of), None)
            self._indexes[known] = RecordIndex(path, table, known)
        return self._indexes[known]


def _indexed(join: Join, place: int, record: dict[str, Any]) -> tuple[bytes | None, float, int, bytes]:
    kept = {name: record.get(name) for name in join.keep} if join.keep else record
    key = _key(record.get(name) for name in join.match)
    return key, _seconds(record.get(join.last_by)), place, orjson.dumps(kept)


def _key(values: Iterator[Any]) -> bytes | None:
    """`values` as a key; None where the first is null, which equals nothing."""
    found = [None if value is None or value == "" else str(value) for value in values]
    return orjson.dumps(found) if found[0] is not None else None


def _inside(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _seconds(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
