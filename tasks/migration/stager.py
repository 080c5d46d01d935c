"""A source read to its end: every record staged, or rejected with its place and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from sqlalchemy import Connection, text

from blocks.garbage import without_garbage_collection
from blocks.sources.records import RecordChunk, Source, SourceTable
from schemas.canonical import postgres_text
from schemas.errors import BadInput
from schemas.migration import NAMED, Refused, RuleOutcome
from tasks.migration.declaration import Kind, Nested, Table
from tasks.migration.loading import Extent
from tasks.migration.progress import Progress
from tasks.migration.reading import NESTED_BITS, RecordValidator, Reject
from tasks.migration.refusing import Refusal
from tasks.migration.rejects import SourceRefused
from tasks.migration.rest import as_rest, rest_table
from tasks.migration.staging import Staging

READ_ROWS = 10_000


class StagedTable(BaseModel):
    """What came of one table of the source.

    Attributes:
        read: records of the source, readable or not.
        rows: those of them that are staged.
        first, last: the places of the first and last record.
        outer, field: where nested records come from.
    """

    table: str
    read: int = 0
    rows: int = 0
    first: int = 0
    last: int = 0
    repairs: int = 0
    rest: bool = False
    outer: str | None = None
    nested_in: str | None = None
    where: str = ""

    @property
    def extent(self) -> Extent:
        """Where its records stand."""
        return Extent(self.first, self.last, self.read)


class StagedSource(BaseModel):
    """What came of a source."""

    tables: dict[str, StagedTable]
    unfit: list[RuleOutcome] = []
    refused: list[Refused]
    notes: list[str]


@dataclass
class Stager:
    """Reads one source into a run's staging tables."""

    run_id: UUID
    kind: Kind
    source: Source
    source_name: str
    staging: Staging
    progress: Progress
    max_rejects: int | None = None
    refusal: Refusal = field(init=False)
    rejected: int = 0
    _places: dict[str, Any] = field(default_factory=dict)
    _validators: dict[str, RecordValidator] = field(default_factory=dict)
    _staged: dict[str, StagedTable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refusal = Refusal(self.kind.secrets)

    def stage(self, connection: Connection) -> StagedSource:
        """Everything in the source is staged or rejected.

        Raises:
            BadInput: the source cannot be read, or has nothing that this kind knows.
            SourceRefused: more was rejected than may be.
            Stopped: somebody asked to stop.
        """
        found, notes = self._tables()
        self.progress.begin("reading")
        everything = {table.name: table for table in (*self.kind.tables, *(table for table, _ in found))}
        self.staging.create(connection, list(everything.values()))
        connection.execute(text("DELETE FROM migration_rejects WHERE run_id = :run"), {"run": self.run_id})
        connection.commit()
        with without_garbage_collection():
            for table, source_table in found:
                self._stage_table(connection, table, source_table)
        for table in everything.values():
            self.staging.index(connection, table)
        connection.commit()
        refused = [
            Refused(table=table, field=name, count=count) for (table, name), count in self.refusal.counts.items()
        ]
        notes += self.source.problems
        return StagedSource(tables=self._staged, unfit=self._unfit(connection), refused=refused, notes=notes)

    def _unfit(self, connection: Connection) -> list[RuleOutcome]:
        """What was rejected so far, by table and rule: how much, the first reason and the first places."""
        found = connection.execute(text(_UNFIT), {"run": self.run_id}).all()
        connection.commit()
        return [
            RuleOutcome(
                table=row.source_table, rule=row.rule, policy="reject", count=row.rows, sentence=row.reason,
                samples=row.places,
            )
            for row in found
        ]  # fmt: skip

    def _tables(self) -> tuple[list[tuple[Table, SourceTable]], list[str]]:
        """The source's tables as they are declared, in the order in which they are loaded."""
        known: dict[str, SourceTable] = {}
        rest: list[tuple[Table, SourceTable]] = []
        notes = []
        for name, source_table in self.source.tables().items():
            table = self.kind.table(name)
            if name in self.kind.ignored:
                notes.append(f"{name} is no table and was left out")
            elif table is None and self.refusal.refuses(name):
                notes.append(f"{name} is refused whole: by its name it holds secrets")
            elif table is None:
                rest.append((rest_table(postgres_text(name)), source_table))
            elif table.name in known:
                raise BadInput(
                    f"{self.source.description} has {table.name} twice, as {known[table.name].name} and {name}"
                )
            else:
                known[table.name] = source_table
        if not known:
            raise BadInput(
                f"{self.source.description} has none of the tables of {self.kind.name}: "
                f"{', '.join(table.name for table in self.kind.tables)}"
            )
        return [*((table, known[table.name]) for table in self.kind.tables if table.name in known), *rest], notes

    def _stage_table(self, connection: Connection, table: Table, source_table: SourceTable) -> None:
        is_rest = self.kind.table(table.name) is not table
        self._places[table.name] = source_table.place
        staged = self._staged.setdefault(table.name, StagedTable(table=table.name, rest=is_rest))
        self.progress.table = table.name
        for chunk in source_table.chunks(READ_ROWS):
            records = chunk.records
            if is_rest:
                records = as_rest(self.source_name, table.name, chunk.indexes, records)
            self._stage_records(connection, table, chunk.indexes, records, self._unreadable(table, chunk))
            _extend(staged, [*chunk.indexes, *(piece.index for piece in chunk.unreadable)])
            staged.repairs += len(chunk.notes)
            connection.commit()
            self.progress.add(len(chunk.indexes) + len(chunk.unreadable))

    def _unreadable(self, table: Table, chunk: RecordChunk) -> list[Reject]:
        return [
            Reject(
                table.name,
                piece.index,
                None,
                orjson.dumps(self.refusal.redact(piece.raw, (table.name, *piece.columns))).decode(),
                f"{table.name}.readable",
                piece.reason,
            )
            for piece in chunk.unreadable
        ]

    def _stage_records(
        self,
        connection: Connection,
        table: Table,
        indexes: Sequence[int],
        records: Sequence[dict[str, Any]],
        rejects: list[Reject],
    ) -> None:
        validator = self._validators.get(table.name)
        if validator is None:
            validator = self._validators[table.name] = RecordValidator(table, self.refusal, self.source_name)
        valid = validator.validate(indexes, records) if records else None
        if valid is not None:
            rejects = [*rejects, *valid.rejects]
            if valid.rows:
                self.staging.copy(connection, table, validator.names, validator.types, valid.rows)
                self._staged[table.name].rows += len(valid.rows)
            for nested in table.nested:
                self._stage_nested(connection, table, nested, valid.nested.get(nested.table, []))
        self._store(connection, rejects)

    def _stage_nested(
        self, connection: Connection, outer: Table, nested: Nested, found: list[tuple[int, dict[str, Any]]]
    ) -> None:
        inner = self.kind.table(nested.table)
        assert inner is not None
        place_of_outer = self._places[outer.name]
        mask = (1 << NESTED_BITS) - 1
        self._places[inner.name] = lambda seq: f"{place_of_outer(seq >> NESTED_BITS)}.{nested.field}[{seq & mask}]"
        staged = self._staged.setdefault(inner.name, StagedTable(table=inner.name))
        indexes = [seq for seq, _ in found]
        _extend(staged, indexes)
        self._stage_records(connection, inner, indexes, [record for _, record in found], [])

    def _store(self, connection: Connection, rejects: list[Reject]) -> None:
        """The rejects are on record.

        Raises:
            SourceRefused: there are more than may be.
        """
        if not rejects:
            return
        rows = [
            [each.table, self.place(each.table, each.index), each.source_id, each.record, each.rule, each.reason]
            for each in rejects
        ]
        values = {"run": self.run_id, "rows": orjson.dumps(rows).decode()}
        connection.execute(text(_STORE), values)
        self.rejected += len(rejects)
        self.limit(self.rejected, connection)

    def limit(self, rejected: int, connection: Connection) -> None:
        """No more was rejected than may be.

        Raises:
            SourceRefused: more was; the rejects so far are on record.
        """
        if self.max_rejects is not None and rejected > self.max_rejects:
            connection.commit()
            counted = "1 record was" if rejected == 1 else f"{rejected:,} records were"
            raise SourceRefused(
                f"{counted} rejected, more than the {self.max_rejects} that may be; "
                f"`headrace rejects {self.run_id}` shows each"
            )

    def place(self, table: str, index: int) -> str:
        """Where the record stands in the source, for people."""
        found = self._places.get(table)
        return str(found(index)) if found else f"{table}[{index}]"


def _extend(staged: StagedTable, indexes: Sequence[int]) -> None:
    if indexes:
        first, last = min(indexes), max(indexes)
        staged.first = min(staged.first, first) if staged.read else first
        staged.last = max(staged.last, last)
        staged.read += len(indexes)


_UNFIT = f"""
    SELECT source_table, rule, max(rows) AS rows, min(reason) FILTER (WHERE nth = 1) AS reason,
        array_agg(place ORDER BY nth) AS places
    FROM (
        SELECT id, source_table, rule, reason, place,
            row_number() OVER same AS nth, count(*) OVER (PARTITION BY source_table, rule) AS rows
        FROM migration_rejects WHERE run_id = :run WINDOW same AS (PARTITION BY source_table, rule ORDER BY id)
    ) AS numbered
    WHERE nth <= {NAMED} GROUP BY source_table, rule ORDER BY min(id)
"""
_STORE = """
    INSERT INTO migration_rejects (run_id, source_table, place, source_id, record, rule, reason)
    SELECT :run, row ->> 0, row ->> 1, row ->> 2, CAST(row ->> 3 AS jsonb), row ->> 4, row ->> 5
    FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS rows(row)
"""
