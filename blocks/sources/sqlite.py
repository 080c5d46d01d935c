"""SQLite files, read without touching them.

A database whose write-ahead log was never checkpointed keeps its newest rows in the `-wal` file beside it. To
read it SQLite has to write, so that such a database is copied, log and all, and the copy is opened.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from blocks.sources.plain_values import plain_record
from blocks.sources.records import (
    RecordChunk,
    Row,
    Unreadable,
    file_fingerprint,
    open_file,
    row_chunks,
    unreadable_file,
)
from schemas.errors import BadInput

MAGIC = b"SQLite format 3\x00"
_LOGS = ("-wal", "-journal")
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
)


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """One table; a record's index is its rowid, or its number where the table has none."""

    name: str
    uri: str
    file_name: str
    columns: tuple[str, ...]
    rowid: str | None

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The rows from the rowid `start` on, in its order; a damaged file ends the table with what is wrong."""
        return row_chunks(self.name, self._rows(start), size)

    def place(self, index: int) -> str:
        """Where a record stands: `experiments.sqlite, table responses, rowid 12`."""
        return f"{self.file_name}, table {self.name}, {'rowid' if self.rowid else 'row'} {index}"

    def _rows(self, start: int) -> Iterator[Row]:
        after = start
        columns = list(self.columns)
        try:
            with closing(_connection(self.uri)) as connection:
                for index, *values in connection.execute(*self._query(start)):
                    after = index + 1
                    yield index, *plain_record(columns, tuple(values))
        except (sqlite3.Error, OverflowError) as error:
            yield after, Unreadable(after, f"the table cannot be read from here on: {error}", ""), ()

    def _query(self, start: int) -> tuple[str, tuple[int, ...]]:
        columns = ", ".join(map(_quoted, self.columns))
        if self.rowid is None:
            numbered = f"SELECT row_number() OVER () - 1 AS place, {columns} FROM {_quoted(self.name)}"
            return f"SELECT * FROM ({numbered}) LIMIT -1 OFFSET ?", (start,)
        since = f"WHERE {self.rowid} >= ?" if start else ""
        query = f"SELECT {self.rowid}, {columns} FROM {_quoted(self.name)} {since} ORDER BY {self.rowid}"
        return query, (start,) if start else ()


@dataclass(slots=True)
class Sqlite:
    """An opened SQLite database."""

    fingerprint: str
    description: str
    problems: list[str] = field(default_factory=list)
    _tables: dict[str, SqliteTable] = field(default_factory=dict)
    _copy: tempfile.TemporaryDirectory[str] | None = None

    def tables(self) -> Mapping[str, SqliteTable]:
        """The tables by name, views left out."""
        return self._tables

    def close(self) -> None:
        """A copy is gone."""
        if self._copy is not None:
            self._copy.cleanup()


def open_sqlite(path: Path) -> Sqlite:
    """The database at `path`, with what stands in its write-ahead log.

    Raises:
        BadInput: it cannot be read or is no SQLite database.
    """
    with open_file(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadInput(f"{path} is no SQLite database: its first bytes are others", path=str(path))
    logs = [log for end in _LOGS if (log := path.with_name(path.name + end)).exists() and log.stat().st_size]
    source = Sqlite(file_fingerprint(path, *logs), f"SQLite database {path}")
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    if logs:
        source._copy = tempfile.TemporaryDirectory(prefix="headrace-sqlite-")
        uri = _copied(path, logs, Path(source._copy.name))
        source.problems.append(
            f"{logs[0].name} holds changes that are not in the database yet; a copy of both was read"
        )
    try:
        _find_tables(source, uri, path)
    except sqlite3.Error as error:
        source.close()
        raise BadInput(f"{path} is damaged: {error}", path=str(path)) from error
    return source


def _copied(path: Path, logs: list[Path], folder: Path) -> str:
    try:
        for each in (path, *logs):
            shutil.copyfile(each, folder / each.name)
    except OSError as error:
        raise unreadable_file(path, error) from error
    return f"file:{quote(str(folder / path.name))}?mode=rw"


def _find_tables(source: Sqlite, uri: str, path: Path) -> None:
    with closing(_connection(uri)) as connection:
        for (name,) in connection.execute(_TABLES).fetchall():
            columns = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})"))
            source._tables[name] = SqliteTable(name, uri, path.name, columns, _rowid(connection, name, columns))


def _rowid(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> str | None:
    """What the rowid of `table` is called, None if it has none."""
    taken = {column.lower() for column in columns}
    name = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
    try:
        connection.execute(f"SELECT {name} FROM {_quoted(table)} LIMIT 0")
    except sqlite3.OperationalError:
        return None
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _connection(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection
