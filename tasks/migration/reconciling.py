"""Proof that what was staged is what the target holds: counts, and sums of hashes, which no order changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tasks.migration.declaration import Table
from tasks.migration.staging import HASH, Staging, hash_of


@dataclass(frozen=True)
class Checksum:
    """Rows of a table as one value: how many, and the sum of their hashes."""

    rows: int
    total: int

    def __str__(self) -> str:
        return f"{self.rows}:{self.total % 2**64:016x}"


def staged_checksum(connection: Connection, staging: Staging, table: Table) -> Checksum:
    """Of the rows that are staged."""
    statement = f"SELECT count(*), coalesce(sum({HASH}), 0) FROM {staging.path(table)}"
    return _checksum(connection, statement)


def target_checksum(connection: Connection, staging: Staging, table: Table, staged: Checksum, held: str) -> Checksum:
    """Of the same rows as they stand in the target, hashed anew from what is there.

    Args:
        held: checksum of all rows of the source in the target; where that is the one of the staged rows, the source
            has no others there, and so there is nothing to tell apart.
    """
    if held == str(staged):
        return staged
    statement = (
        f"SELECT count(*), coalesce(sum({hash_of(table.column_names, 't')}), 0) "
        f"FROM {table.target} AS t WHERE EXISTS (SELECT FROM {staging.path(table)} AS s WHERE s.id = t.id)"
    )
    return _checksum(connection, statement)


def source_checksum(connection: Connection, table: str, columns: Sequence[str], source_name: str) -> Checksum:
    """Of all rows of a source in a target, hashed anew from what is there."""
    statement = f"SELECT count(*), coalesce(sum({hash_of(columns, 't')}), 0) FROM {table} AS t WHERE source = :source"
    return _checksum(connection, statement, source_name)


def others_checksum(connection: Connection, table: str, columns: Sequence[str], source_name: str) -> Checksum:
    """Of the rows in a target that are not of the source."""
    return _checksum(
        connection,
        f"SELECT count(*), coalesce(sum({hash_of(columns, 't')}), 0) FROM {table} AS t "
        "WHERE source IS DISTINCT FROM :source",
        source_name,
    )


def _checksum(connection: Connection, statement: str, source_name: str = "") -> Checksum:
    row = connection.execute(text(statement), {"source": source_name} if source_name else {}).one()
    return Checksum(int(row[0]), int(row[1]))
