"""A migration taken back: what it inserted is deleted, what it changed or pruned is put back from before-images.

It is all or nothing, in one transaction. Nothing is taken back where something later stands on it: a row that another
run or a person changed since, or one that refers to a row that would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, ForeignKeyConstraint, Row, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.exc import IntegrityError

from schemas.errors import BadInput, ExpectationFailed, NotFound
from schemas.migration import SHOWN, RollbackTable
from schemas.tables import Base
from tasks.ledger.operations import Attempt
from tasks.ledger.runs import hold_run_here
from tasks.migration.declaration import Kind
from tasks.migration.rest import rest_table
from tasks.migration.staging import HASH, hash_of, sql_type


class StandsOn(ExpectationFailed):
    """Something later stands on what the run did; take that back first. `details` names it."""

    code = "stands_on"
    resumable = False


MIGRATE = "migrate-data"
"""The flow of a run that migrates."""


def require_migration(flow: str, status: str, dry_run: bool) -> None:
    """A run of `flow` can be taken back.

    Raises:
        BadInput: it is no migration, is still at work, or changed nothing.
    """
    if flow != MIGRATE:
        raise BadInput(f"the run is of {flow}; only a migration can be rolled back")
    if status == "running":
        raise BadInput("the run is still at work; wait for it or interrupt it")
    if dry_run:
        raise BadInput("the run was a dry run and changed nothing")


class Rollback:
    """Takes back one run of a kind."""

    def __init__(self, run_id: UUID, kind: Kind) -> None:
        self.run_id = run_id
        self.columns = {table.target: table.column_names for table in (*kind.tables, rest_table("rest"))}
        sorted_tables = [table for table in Base.metadata.sorted_tables if table.name in self.columns]
        self.targets: list[SqlTable] = sorted_tables

    def take_back(self, connection: Connection, attempt: Attempt) -> tuple[RollbackTable, ...]:
        """What the run did is undone, in the transaction of `connection`.

        Raises:
            NotFound: nothing of the run is left to take back.
            StandsOn: something later stands on it; nothing was changed.
        """
        hold_run_here(connection, attempt)
        if obstacles := [*self._changed(connection), *self._referred(connection)]:
            raise StandsOn(f"run {self.run_id} cannot be taken back: {'; '.join(obstacles)}", obstacles=obstacles)
        try:
            # What is put back no longer refers to what goes, and so comes first.
            restored = {table.name: self._restore(connection, table) for table in self.targets}
            deleted = {table.name: self._delete(connection, table) for table in reversed(self.targets)}
        except IntegrityError as error:  # written by somebody since it was looked for
            raise StandsOn(f"run {self.run_id} cannot be taken back: rows refer to what would go") from error
        for name in ("migration_rows", "migration_chunks"):
            connection.execute(text(f"DELETE FROM {name} WHERE run_id = :run"), {"run": self.run_id})
        done = tuple(
            RollbackTable(target=name, deleted=deleted[name], restored=restored[name])
            for name in (table.name for table in self.targets)
            if deleted[name] or restored[name]
        )
        if not done:
            raise NotFound(f"run {self.run_id} changed nothing that is still here")
        return done

    def _changed(self, connection: Connection) -> Iterator[str]:
        """Rows of the run that were changed since, told by table."""
        for table in self.targets:
            later = self._ask(
                connection,
                "SELECT row_id AS id, run_id AS other FROM migration_rows WHERE target = :target AND run_id <> :run "
                "AND before ->> 'migration_run_id' = CAST(:run AS text)",
                table,
            )
            if later:
                yield f"run {later[0].other} changed {_told(table, [row.id for row in later])}"
            edited = self._ask(
                connection,
                f"SELECT id FROM {table.name} AS t WHERE migration_run_id = :run AND "
                f"{HASH} <> {hash_of(self.columns[table.name], 't')}",
                table,
            )
            if edited:
                yield f"somebody changed {_told(table, [row.id for row in edited])}"
            same = f"id = CAST(m.row_id AS {sql_type(table.columns['id'])})"
            missing = self._ask(
                connection,
                f"SELECT row_id AS id FROM migration_rows AS m WHERE run_id = :run AND target = :target AND "
                f"EXISTS (SELECT FROM {table.name} WHERE {same} AND migration_run_id IS DISTINCT FROM :run)",
                table,
            )
            if missing:
                yield f"what stands in place of {_told(table, [row.id for row in missing])} is not of the run"
            deleted = self._ask(
                connection,
                f"SELECT row_id AS id FROM migration_rows AS m WHERE run_id = :run AND target = :target "
                f"AND NOT pruned AND NOT EXISTS (SELECT FROM {table.name} WHERE {same})",
                table,
            )
            if deleted:
                yield f"somebody deleted {_told(table, [row.id for row in deleted])}"

    def _referred(self, connection: Connection) -> Iterator[str]:
        """Rows of others that refer to one that would be deleted, told by table."""
        for table in self.targets:
            for child, constraint in referring(table):
                column = constraint.columns[0].name
                outside, elsewhere = "true", "false"
                if "migration_run_id" in child.columns:
                    elsewhere = _POINTED_ELSEWHERE.format(child=child.name, column=column)
                    outside = f"(c.migration_run_id IS DISTINCT FROM :run OR {_UPDATED.format(child.name, 'c')})"
                rows = self._ask(
                    connection,
                    f"SELECT c.{column} AS id FROM {child.name} AS c JOIN {table.name} AS t ON t.id = c.{column} "
                    f"WHERE t.migration_run_id = :run AND NOT {_UPDATED.format(table.name, 't')} AND {outside} "
                    f"AND NOT {elsewhere}",
                    table,
                )
                if rows:
                    yield f"{child.name} refers to {_told(table, [row.id for row in rows])}"

    def _ask(self, connection: Connection, statement: str, table: SqlTable) -> Sequence[Row[Any]]:
        values = {"run": self.run_id, "target": table.name}
        return connection.execute(text(f"{statement} LIMIT {SHOWN + 1}"), values).all()

    def _delete(self, connection: Connection, table: SqlTable) -> int:
        statement = (
            f"DELETE FROM {table.name} AS t WHERE migration_run_id = :run AND NOT {_UPDATED.format(table.name, 't')}"
        )
        return connection.execute(text(statement), {"run": self.run_id}).rowcount

    def _restore(self, connection: Connection, table: SqlTable) -> int:
        names = [f'"{column.name}"' for column in table.columns]
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != '"id"')
        statement = (
            f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(f'was.{name}' for name in names)} "
            f"FROM migration_rows AS m, jsonb_populate_record(CAST(NULL AS {table.name}), m.before) AS was "
            f"WHERE m.run_id = :run AND m.target = :target ON CONFLICT (id) DO UPDATE SET {changes}"
        )
        return connection.execute(text(statement), {"run": self.run_id, "target": table.name}).rowcount


_UPDATED = (
    "EXISTS (SELECT FROM migration_rows AS m WHERE m.run_id = :run AND m.target = '{0}' AND m.row_id = {1}.id::text)"
)
# A row that the run updated may have pointed elsewhere before, and will again.
_POINTED_ELSEWHERE = (
    "EXISTS (SELECT FROM migration_rows AS b WHERE b.run_id = :run AND b.target = '{child}' "
    "AND b.row_id = c.id::text AND b.before ->> '{column}' IS DISTINCT FROM c.{column}::text)"
)


def referring(table: SqlTable) -> Iterator[tuple[SqlTable, ForeignKeyConstraint]]:
    """The tables whose rows refer to rows of `table`, and by what."""
    for child in Base.metadata.sorted_tables:
        if child.name == "chunks":
            continue  # made from the material, they go with it
        for constraint in child.foreign_key_constraints:
            if constraint.referred_table is table:
                yield child, constraint


def _told(table: SqlTable, ids: Sequence[object]) -> str:
    shown = ", ".join(map(str, ids[:SHOWN]))
    return f"{table.name} {shown}{' …' if len(ids) > SHOWN else ''}"
