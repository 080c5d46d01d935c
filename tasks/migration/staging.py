"""Staging: a run's rows in unlogged tables of their own, typed as the targets are, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.copying import copy_rows
from schemas.canonical import content_key
from tasks.ledger.rows import DIALECT
from tasks.migration.declaration import Table
from tasks.migration.reading import SEQUENCE

if TYPE_CHECKING:
    from sqlalchemy import Column

SCHEMA = "headrace_staging"
HASH = "content_hash"


def hash_of(columns: Sequence[str], alias: str = "") -> str:
    """SQL for the 64-bit hash of `columns`, the same in staging and target."""
    dot = f"{alias}." if alias else ""
    return f"hash_record_extended(ROW({', '.join(f'{dot}{quoted(name)}' for name in columns)}), 0)"


def quoted(name: str) -> str:
    """`name` as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """`value` as a text of SQL."""
    return "'" + value.replace("'", "''") + "'"


def sql_type(column: Column[Any]) -> str:
    """The type of `column` in SQL."""
    return str(column.type.compile(dialect=DIALECT))


class Staging:
    """The staging tables of one run."""

    def __init__(self, run_id: UUID) -> None:
        self.prefix = f"m{run_id.hex}_"

    def name(self, table: Table) -> str:
        """The staging table of `table`, without its schema."""
        return self.prefix + content_key(table.name)[:16]

    def view(self, table: Table) -> str:
        """The view that rules are checked on, without its schema."""
        return self.name(table) + "_v"

    def path(self, table: Table) -> str:
        """The staging table of `table`, as SQL names it."""
        return f"{SCHEMA}.{quoted(self.name(table))}"

    def view_path(self, table: Table) -> str:
        """The view that rules are checked on, as SQL names it."""
        return f"{SCHEMA}.{quoted(self.view(table))}"

    def create(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Empty staging tables are there, whatever an earlier attempt left."""
        self.drop(connection)
        for table in tables:
            columns = ", ".join(f"{quoted(column.name)} {sql_type(column)}" for column in table.columns)
            connection.execute(
                text(
                    f"CREATE UNLOGGED TABLE {self.path(table)} ({SEQUENCE} bigint NOT NULL, {columns}, {HASH} bigint "
                    f"GENERATED ALWAYS AS ({hash_of(table.column_names)}) STORED) WITH (autovacuum_enabled = false)"
                )
            )

    def drop(self, connection: Connection) -> None:
        """The run has no staging tables any more."""
        found = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = :schema AND starts_with(tablename, :prefix)"),
            {"schema": SCHEMA, "prefix": self.prefix},
        )
        for name in found.scalars().all():
            connection.execute(text(f"DROP TABLE {SCHEMA}.{quoted(name)} CASCADE"))

    def copy(
        self, connection: Connection, table: Table, names: Sequence[str], types: Sequence[str], rows: Sequence[Any]
    ) -> None:
        """`rows` are staged."""
        copy_rows(connection, self.path(table), names, types, rows)

    def index(self, connection: Connection, table: Table) -> None:
        """The staged rows of a range of places are found quickly, and the planner knows how many there are."""
        connection.execute(text(f"CREATE INDEX ON {self.path(table)} USING brin ({SEQUENCE})"))
        connection.execute(text(f"ANALYZE {self.path(table)}"))
