"""Staged rows into the target, in chunks that are committed with their bookkeeping.

A row that is there with the same hash is left; one whose hash differs is updated, its former state kept in
`migration_rows`. A chunk that is on record as loaded is not loaded again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from blocks.database import database_errors
from schemas.errors import ExpectationFailed
from schemas.migration import SHOWN
from tasks.ledger.operations import Attempt
from tasks.ledger.runs import hold_run_here
from tasks.migration.declaration import Table
from tasks.migration.reading import SEQUENCE
from tasks.migration.staging import HASH, Staging, quoted

CHUNK_ROWS = 50_000
CONNECTIONS = 2
"""Foreign keys, which Postgres checks row by row, cost more than all else; two servers check twice as many."""


@dataclass(frozen=True)
class Extent:
    """Where the records of a table stand in the source: the first and last place, and how many were read."""

    first: int
    last: int
    count: int

    def chunks(self, size: int = CHUNK_ROWS) -> list[tuple[int, int]]:
        """Ranges of places, the same for the same source, each of about `size` rows; the last has no end."""
        parts = max(1, math.ceil(self.count / size))
        width = (self.last - self.first) // parts + 1
        starts = [self.first + width * part for part in range(parts)]
        return list(zip(starts, [*starts[1:], 2**63 - 1], strict=True))


@dataclass(frozen=True)
class Counts:
    """What became of rows, or would."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.inserted + other.inserted, self.updated + other.updated, self.unchanged + other.unchanged)


@dataclass(frozen=True)
class Loader:
    """Loads the staged tables of one run."""

    attempt: Attempt
    staging: Staging
    source_name: str

    def load(self, engine: Engine, table: Table, extent: Extent, tell: Callable[[int], None]) -> Counts:
        """The rows of the table are in its target, loaded over a few connections at once.

        Args:
            tell: is told how many rows each chunk had; what it raises ends the loading.

        Raises:
            LeaseLost: another attempt has taken the run over; what was committed before stays.
            DatabaseUnavailable: the run can be resumed.
        """
        with engine.begin() as connection:
            done = self._done(connection, table)
            empty = not done and not connection.execute(text(f"SELECT EXISTS (SELECT FROM {table.target})")).scalar()
        stopped = threading.Event()

        def load_chunk(number: int, part: tuple[int, int]) -> Counts:
            if stopped.is_set():
                return Counts()
            try:
                counts = done.get(number)
                if counts is None:
                    counts = self._load_chunk(engine, table, number, part, empty=empty)
                tell(counts.inserted + counts.updated + counts.unchanged)
            except BaseException:
                stopped.set()
                raise
            return counts

        chunks = extent.chunks()
        with ThreadPoolExecutor(min(CONNECTIONS, len(chunks)), "loading") as threads:
            loading = [threads.submit(load_chunk, number, part) for number, part in enumerate(chunks)]
        return sum((each.result() for each in loading), Counts())

    def _load_chunk(self, engine: Engine, table: Table, number: int, part: tuple[int, int], *, empty: bool) -> Counts:
        """The chunk is committed; a target that is no longer empty is no surprise, but a rule of its own broken is."""
        places = {"begin": part[0], "end": part[1]}
        for expect_empty in (True, False) if empty else (False,):
            try:
                with database_errors(), engine.begin() as connection:
                    return self._chunk(connection, table, number, places, empty=expect_empty)
            except IntegrityError as error:
                refusal = error
        raise ExpectationFailed(
            f"{table.target} refuses rows that met the rules: what they refer to was changed meanwhile; resume the run"
        ) from refusal

    def _done(self, connection: Connection, table: Table) -> dict[int, Counts]:
        statement = (
            "SELECT chunk, inserted, updated, unchanged FROM migration_chunks WHERE run_id = :run AND target = :t"
        )
        rows = connection.execute(text(statement), {"run": self.attempt.run_id, "t": table.name})
        return {row.chunk: Counts(row.inserted, row.updated, row.unchanged) for row in rows}

    def _chunk(self, connection: Connection, table: Table, number: int, part: dict[str, int], *, empty: bool) -> Counts:
        hold_run_here(connection, self.attempt)
        values = {**part, "run": self.attempt.run_id, "source": self.source_name, "target": table.target}
        path = self.staging.path(table)
        where = f"s.{SEQUENCE} >= :begin AND s.{SEQUENCE} < :end"
        updated = 0
        if not empty:
            updated = connection.execute(
                text(_BEFORE.format(path=path, target=table.target, where=where)), values
            ).rowcount
        statement = self._insert(table, where) + ("" if empty else self._on_conflict(table))
        written = connection.execute(text(statement), values).rowcount
        count = f"SELECT count(*) FROM {path} AS s WHERE {where}"
        staged = written if empty else connection.execute(text(count), values).scalar_one()
        counts = Counts(written - updated, updated, staged - written)
        connection.execute(text(_NOTE), {**values, **vars(counts), "table": table.name, "chunk": number})
        return counts

    def _insert(self, table: Table, where: str) -> str:
        names = [quoted(name) for name in table.column_names]
        return (
            f"INSERT INTO {table.target} AS t ({', '.join(names)}, {HASH}, source, migration_run_id) "
            f"SELECT {', '.join(f's.{name}' for name in names)}, s.{HASH}, :source, :run "
            f"FROM {self.staging.path(table)} AS s WHERE {where}"
        )

    def _on_conflict(self, table: Table) -> str:
        names = [*map(quoted, table.column_names[1:]), HASH, "migration_run_id"]
        return (
            f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)} "
            f"WHERE t.source = excluded.source AND t.{HASH} IS DISTINCT FROM excluded.{HASH}"
        )


_BEFORE = f"""
    INSERT INTO migration_rows (run_id, target, row_id, before, pruned)
    SELECT :run, :target, t.id, to_jsonb(t), false FROM {{path}} AS s JOIN {{target}} AS t ON t.id = s.id
    WHERE {{where}} AND t.source = :source AND t.{HASH} IS DISTINCT FROM s.{HASH}
    ORDER BY t.id
"""
_NOTE = """
    INSERT INTO migration_chunks (run_id, target, chunk, inserted, updated, unchanged)
    VALUES (:run, :table, :chunk, :inserted, :updated, :unchanged)
"""


def plan(connection: Connection, staging: Staging, table: Table) -> tuple[Counts, dict[str, tuple[str, ...]]]:
    """What loading the table would do now, with ids of some rows."""
    found = connection.execute(
        text(
            f"SELECT CASE WHEN t.id IS NULL THEN 'inserted' WHEN t.{HASH} IS DISTINCT FROM s.{HASH} THEN 'updated' "
            f"ELSE 'unchanged' END AS fate, count(*) AS rows, "
            f"(array_agg(s.id ORDER BY s.{SEQUENCE}))[1: {SHOWN}] AS samples "
            f"FROM {staging.path(table)} AS s LEFT JOIN {table.target} AS t ON t.id = s.id GROUP BY 1"
        )
    )
    rows = {row.fate: row for row in found}
    counts = Counts(**{fate: row.rows for fate, row in rows.items()})
    samples = {fate: tuple(map(str, row.samples)) for fate, row in rows.items() if fate != "unchanged"}
    return counts, samples
