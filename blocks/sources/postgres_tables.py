"""Tables of another Postgres, read in a transaction that can write nothing.

Rows are made JSON by the server itself, so that dates beyond Python's and types of extensions arrive as text;
exact numbers are turned to text first and keep their digits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from blocks.database import create_database, database_errors, normal_url
from blocks.sources.json_record import read_record
from blocks.sources.records import RecordChunk, Row, row_chunks
from schemas.errors import BadInput, ConfigurationError

_ROWS_AT_ONCE = 2000
_NO_SUCH = ("28", "3D", "42")
"""SQLSTATE classes: not authorised, no such database, no such table or no right to read it."""
_COLUMNS = text("""
    SELECT c.table_name, c.column_name, c.data_type = 'numeric' AS exact
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = :schema AND t.table_type IN ('BASE TABLE', 'VIEW', 'FOREIGN')
    ORDER BY c.table_name, c.ordinal_position""")
_KEYS = text("""
    SELECT a.attname FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND i.indrelid = to_regclass(:name)
    ORDER BY array_position(i.indkey::int2[], a.attnum)""")


@dataclass(frozen=True, slots=True)
class PostgresTable:
    """One table; a record's index is its number in the order of the primary key."""

    name: str
    schema: str
    columns: tuple[tuple[str, bool], ...]
    keys: tuple[str, ...]
    engine: Engine

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The rows from the number `start` on, through a server-side cursor in one read-only snapshot.

        Raises:
            BadInput: the user may not read the table.
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        return row_chunks(self.name, self._rows(start), size)

    def place(self, index: int) -> str:
        """Where a record stands: `table cost_tracking, row 12 by id`."""
        return f"table {self.name}, row {index}" + (f" by {', '.join(self.keys)}" if self.keys else "")

    def _rows(self, start: int) -> Iterator[Row]:
        with _reading(self.engine) as connection:
            rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(text(self._query()), {"start": start})
            for index, (row,) in enumerate(rows, start):
                yield index, *read_record(row.encode("utf-8", "surrogatepass"), index)

    def _query(self) -> str:
        taken = ", ".join(
            f"{_quoted(name)}{'::text' if exact else ''} AS {_quoted(name)}" for name, exact in self.columns
        )
        order = ", ".join(map(_quoted, self.keys)) or "1"
        table = f"{_quoted(self.schema)}.{_quoted(self.name)}"
        ordered = f"SELECT {taken} FROM {table} ORDER BY {order} OFFSET :start"
        return f"SELECT to_jsonb(ordered)::text FROM ({ordered}) AS ordered"

    def digest(self, connection: Connection) -> str:
        """How many rows the table has, and a sum over hashes of them all that does not depend on their order."""
        table = f"{_quoted(self.schema)}.{_quoted(self.name)}"
        counted = text(f"SELECT count(*), sum(hashtextextended(rows::text, 0)::numeric) FROM {table} AS rows")
        count, total = connection.execute(counted).one()
        return f"{self.name}\0{count}\0{total}\0"


@dataclass(slots=True)
class PostgresTables:
    """An opened schema of another Postgres."""

    description: str
    engine: Engine
    problems: list[str] = field(default_factory=list)
    _tables: dict[str, PostgresTable] = field(default_factory=dict)
    _fingerprint: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over counts and hashes of all rows of all tables; computed by the server, once.

        Raises:
            BadInput: the user may not read a table.
            DatabaseUnavailable: the server cannot be reached or went away.
        """
        if not self._fingerprint:
            with _reading(self.engine) as connection:
                digests = "".join(table.digest(connection) for table in self._tables.values())
            self._fingerprint = hashlib.sha256(digests.encode()).hexdigest()
        return self._fingerprint

    def tables(self) -> Mapping[str, PostgresTable]:
        """Tables and views of the schema, by name."""
        return self._tables

    def close(self) -> None:
        """The connections are closed."""
        self.engine.dispose()


def open_postgres(url: str, *, schema: str = "public", names: frozenset[str] | None = None) -> PostgresTables:
    """The tables of `schema` in the database at `url`, or those of `names` among them.

    Raises:
        BadInput: it is no Postgres URL, or the database does not let us in, or has no tables there.
        DatabaseUnavailable: the server cannot be reached.
    """
    try:
        address = normal_url(url)
    except ConfigurationError as error:
        raise BadInput("the source is no Postgres URL; it should look like postgresql://user@host/database") from error
    source = PostgresTables(f"Postgres database {_told(address)}, schema {schema}", create_database(address))
    try:
        _find_tables(source, schema, names)
    except BaseException:
        source.close()
        raise
    return source


def _find_tables(source: PostgresTables, schema: str, names: frozenset[str] | None) -> None:
    found: dict[str, list[tuple[str, bool]]] = {}
    with _reading(source.engine) as connection:
        for table, column, exact in connection.execute(_COLUMNS, {"schema": schema}):
            if names is None or table in names:
                found.setdefault(table, []).append((column, exact))
        for table, columns in found.items():
            keys = connection.execute(_KEYS, {"name": f"{_quoted(schema)}.{_quoted(table)}"}).scalars()
            source._tables[table] = PostgresTable(table, schema, tuple(columns), tuple(keys), source.engine)
    if not found:
        raise BadInput(f"{source.description} has no tables that the user may see")


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    """A connection in a read-only snapshot; what the server refuses is `BadInput`, without the URL."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with database_errors(), engine.connect().execution_options(**options) as connection:
            connection.execute(text("SET LOCAL TimeZone = 'UTC'"))
            yield connection
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", "") or "")
        if not state.startswith(_NO_SUCH):
            raise
        raise BadInput(f"the source database refuses: {(str(error.orig).splitlines() or [state])[0]}") from error


def _told(url: URL) -> str:
    return f"{url.database} on {url.host or url.query.get('host', 'localhost')}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
