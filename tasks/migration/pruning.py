"""What a source no longer has: counted, and pruned where nothing stands on it.

A row stays that somebody changed here, or that a row refers to which stays itself, whoever wrote that one and whatever
the database would do with it: a prune takes nothing along. What stays is told with what stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, CursorResult, text

from schemas.migration import SHOWN, Staying
from tasks.migration.declaration import Table
from tasks.migration.rest import REST_TARGET
from tasks.migration.rollback import referring
from tasks.migration.staging import HASH, Staging, hash_of, quoted

if TYPE_CHECKING:
    from sqlalchemy import Table as SqlTable


@dataclass(frozen=True)
class Gone:
    """Rows of earlier migrations of a source in one target that none of `tables`, all that fill it, has any more.

    Rows that were rejected this time are at the source, and so not gone.
    """

    run_id: UUID
    source_name: str
    staging: Staging
    tables: Sequence[Table]

    @property
    def table(self) -> str:
        """The table that a report counts them for."""
        return self.tables[0].name

    @property
    def target(self) -> str:
        """The target that all of the tables fill."""
        return self.tables[0].target

    @property
    def query(self) -> str:
        """SQL of their ids."""
        there = " ".join(
            f"AND NOT EXISTS (SELECT FROM {self.staging.path(table)} AS s WHERE s.id = t.id)" for table in self.tables
        )
        # Tables without a counterpart share a target; of one that the source does not have this time, nothing is gone.
        of_these = "AND t.source_table = ANY(:tables)" if self.target == REST_TARGET else ""
        rejected = "SELECT FROM migration_rejects AS r WHERE r.run_id = :run AND r.source_table = ANY(:tables)"
        return (
            f"SELECT t.id FROM {self.target} AS t WHERE t.source = :source {of_these} {there} "
            f"AND NOT EXISTS ({rejected} AND r.source_id = t.id::text)"
        )

    @property
    def values(self) -> dict[str, object]:
        """Parameters of the query."""
        names = [table.name for table in self.tables]
        return {"run": self.run_id, "source": self.source_name, "tables": names, "target": self.target}

    def count(self, connection: Connection) -> tuple[int, tuple[str, ...]]:
        """How many there are, and ids of some."""
        statement = f"SELECT count(*) AS rows, (array_agg(id))[1: {SHOWN}] AS samples FROM ({self.query}) AS gone"
        row = connection.execute(text(statement), self.values).one()
        return row.rows, tuple(map(str, row.samples or ()))


@dataclass(frozen=True)
class Pruned:
    """What became of the rows of one target that are gone, or would: so many are deleted, the others stay."""

    rows: int
    staying: tuple[Staying, ...]


@dataclass(frozen=True)
class Pruner:
    """Deletes what is gone, within one transaction.

    Attributes:
        gone: by target, those that others refer to first.
        staged: every table that is staged: in a dry run its rows stand for what loading would have made of the target.
    """

    connection: Connection
    gone: Sequence[Gone]
    staged: Sequence[Table]
    dry_run: bool

    def prune(self) -> dict[str, Pruned]:
        """By table: what is deleted, its state kept for a rollback, and what stays. A dry run deletes nothing."""
        going: set[str] = set()
        pruned = {}
        for gone in reversed(self.gone):  # what refers to others goes first
            self._find(gone)
            going.add(gone.target)
            staying = [*self._changed(gone), *self._referred(gone, going)]
            self._keep(gone)
            pruned[gone.table] = Pruned(self._count(gone) if self.dry_run else self._delete(gone), tuple(staying))
        return pruned

    def _find(self, gone: Gone) -> None:
        """Their ids are in a table of this transaction, and nobody changes them or begins to refer to them."""
        self._run(f"CREATE TEMPORARY TABLE {_going(gone.target)} ON COMMIT DROP AS {gone.query}", gone)
        self._run(f"ALTER TABLE {_going(gone.target)} ADD COLUMN stays boolean NOT NULL DEFAULT false", gone)
        if not self.dry_run:
            these = f"SELECT FROM {gone.target} WHERE id IN (SELECT id FROM {_going(gone.target)}) FOR UPDATE"
            self._run(f"SELECT count(*) FROM ({these}) AS held", gone)

    def _changed(self, gone: Gone) -> Iterator[Staying]:
        changed = (
            f"SELECT t.id, CAST(NULL AS text) AS by FROM {gone.target} AS t JOIN {_going(gone.target)} USING (id) "
            f"WHERE t.{HASH} <> {hash_of(gone.tables[0].column_names, 't')}"
        )
        yield from self._stay(gone, changed, "")

    def _referred(self, gone: Gone, going: set[str]) -> Iterator[Staying]:
        """Those that something refers to which does not go itself."""
        for child, constraint in referring(gone.tables[0].sql):
            referring_rows = " UNION ALL ".join(self._referring(gone, child, constraint.columns[0].name, going))
            yield from self._stay(gone, referring_rows, child.name)

    def _referring(self, gone: Gone, child: SqlTable, column: str, going: set[str]) -> Iterator[str]:
        key = next(iter(child.primary_key.columns)).name
        staged = [table for table in self.staged if table.target == child.name and column in table.column_names]
        staged = staged if self.dry_run else []
        goes = (
            f"EXISTS (SELECT FROM {_going(child.name)} AS x WHERE x.id = c.{key})" if child.name in going else "false"
        )
        replaced = " ".join(
            f"AND NOT EXISTS (SELECT FROM {gone.staging.path(table)} AS s WHERE s.id = c.{key})" for table in staged
        )
        here = f"SELECT g.id, c.{key}::text AS by FROM {_going(gone.target)} AS g"
        yield f"{here} JOIN {child.name} AS c ON c.{quoted(column)} = g.id WHERE NOT {goes} {replaced}"
        for table in staged:
            yield f"{here} JOIN {gone.staging.path(table)} AS c ON c.{quoted(column)} = g.id"

    def _stay(self, gone: Gone, rows: str, referred_by: str) -> Iterator[Staying]:
        """The rows of SQL `rows` stay: ids, each with what stands in its way."""
        told = self._run(
            f"WITH these AS MATERIALIZED ({rows}), marked AS (UPDATE {_going(gone.target)} SET stays = true "
            f"WHERE id IN (SELECT id FROM these)) SELECT count(DISTINCT id) AS rows, "
            f"(array_agg(DISTINCT id::text))[1: {SHOWN}] AS ids, (array_agg(DISTINCT by))[1: {SHOWN}] AS by FROM these",
            gone,
        ).one()
        if told.rows:
            by = tuple(told.by) if referred_by else ()
            yield Staying(count=told.rows, samples=tuple(told.ids), referred_by=referred_by, referring=by)

    def _keep(self, gone: Gone) -> None:
        """Those that stay are no longer among those that go."""
        self._run(f"DELETE FROM {_going(gone.target)} WHERE stays", gone)

    def _count(self, gone: Gone) -> int:
        counted: int = self._run(f"SELECT count(*) FROM {_going(gone.target)}", gone).scalar_one()
        return counted

    def _delete(self, gone: Gone) -> int:
        these = f"id IN (SELECT id FROM {_going(gone.target)})"
        self._run(
            f"INSERT INTO migration_rows (run_id, target, row_id, before, pruned) "
            f"SELECT :run, :target, t.id, to_jsonb(t), true FROM {gone.target} AS t WHERE {these} "
            f"ON CONFLICT DO NOTHING",
            gone,
        )
        return self._run(f"DELETE FROM {gone.target} WHERE {these}", gone).rowcount

    def _run(self, statement: str, gone: Gone) -> CursorResult[Any]:
        return self.connection.execute(text(statement), gone.values)


def pruned_before(connection: Connection, gone: Gone) -> int:
    """How many rows an earlier attempt at the run deleted."""
    statement = "SELECT count(*) FROM migration_rows WHERE run_id = :run AND target = :target AND pruned"
    counted: int = connection.execute(text(statement), gone.values).scalar_one()
    return counted


def _going(target: str) -> str:
    """The table of this transaction that has the ids of those that go."""
    return f"going_{target}"
