"""A migration, step by step: read and stage, check, load, reconcile.

Each step does its work in a thread, so that the event loop keeps the run's lease alive meanwhile. Reading and
checking are done anew by every attempt at a run; what was loaded is on record chunk by chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from blocks.database import create_database, database_errors
from blocks.expectations import expectation_runner
from blocks.sources.records import Source
from schemas.errors import BadInput, DatabaseUnavailable, ExpectationFailed, RunBusy
from schemas.migration import SHOWN, MigrationReport, Policy, RuleOutcome, Staying, TableReport
from tasks.ledger.runs import Run, hold_run_here
from tasks.ledger.steps import step
from tasks.migration.checking import Checker
from tasks.migration.declaration import Kind, Table
from tasks.migration.earlier import Standing, loaded_before, require_latest
from tasks.migration.expectations import Expectations
from tasks.migration.loading import Counts, Extent, Loader, plan
from tasks.migration.progress import Progress
from tasks.migration.pruning import Gone, Pruner, pruned_before
from tasks.migration.reconciling import staged_checksum, target_checksum
from tasks.migration.rest import REST_TARGET, rest_table
from tasks.migration.stager import StagedSource, StagedTable, Stager
from tasks.migration.staging import Staging

T = TypeVar("T")


class MigrationRequest(BaseModel):
    """What is asked of a migration, as kept on its run; `migrate_data` says what it means."""

    kind: str
    source: str
    source_name: str = ""
    policies: dict[str, Policy] = {}
    dry_run: bool = False
    prune: bool = False
    max_rejects: int | None = None
    mapping: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.source_name or self.kind


class Fingerprint(BaseModel):
    """SHA-256 of the source when the run began."""

    sha256: str


class Checked(BaseModel):
    """What the rules found, and how many rows stand in for missing ones."""

    outcomes: list[RuleOutcome]
    rejected: dict[str, int]
    placeholders: dict[str, int]


class Moved(BaseModel):
    """What became of the staged rows of each table."""

    inserted: dict[str, int] = {}
    updated: dict[str, int] = {}
    unchanged: dict[str, int] = {}
    gone: dict[str, int] = {}
    pruned: dict[str, int] = {}
    staying: dict[str, tuple[Staying, ...]] = {}
    samples: dict[str, dict[str, tuple[str, ...]]] = {}

    def note(self, table: str, counts: Counts) -> None:
        """`counts` are those of the table."""
        self.inserted[table], self.updated[table] = counts.inserted, counts.updated
        self.unchanged[table] = counts.unchanged


class Checksums(BaseModel):
    """Of each table, as staged and as read back."""

    staged: dict[str, str]
    target: dict[str, str]
    held: dict[str, str] = {}
    others: dict[str, str] = {}


@contextmanager
def hold_source(engine: Engine, source_name: str) -> Iterator[None]:
    """Inside, no other migration or rollback works on the source's rows.

    Raises:
        RunBusy: one does already.
    """
    lock = {"name": f"migration of {source_name}"}
    with database_errors(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), lock).scalar():
            raise RunBusy(
                f"another run is at work on the source {source_name}; wait for it, or name this one otherwise"
            )
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), lock)


class Migrating:
    """One attempt at a run that migrates."""

    def __init__(self, run: Run, url: URL, kind: Kind, source: Source, request: MigrationRequest) -> None:
        self.run = run
        self.kind = kind
        self.source = source
        self.request = request
        self.policies = kind.policies(request.policies)
        self.progress = Progress()
        self.staging = Staging(run.id)
        self.stager = Stager(
            run.id, kind, source, request.name, self.staging, self.progress, max_rejects=request.max_rejects
        )
        self.engine = create_database(url)
        self.url = url

    async def work(self) -> tuple[TableReport, ...]:
        """The source's rows are in our tables, or in a dry run could be.

        Raises:
            BadInput: the source cannot be read, is not the one the run was begun with, or was loaded by a later run.
            ExpectationFailed: a rule says so, too much was rejected, or what was loaded is not what was staged.
        """
        await self._same_source()
        if not self.request.dry_run:
            await self._in_thread(lambda connection: require_latest(connection, self.request.name, self.run.id))
        try:
            return await self._work(self.run.attempt.id)
        finally:
            with suppress(DatabaseUnavailable):  # another attempt makes its own and drops these first
                await self._in_thread(self._drop)

    async def _work(self, attempt: UUID) -> tuple[TableReport, ...]:
        self.staged = await step("read and stage", version="1")(self._stage)(attempt)
        self.checked = await step("check", version="1")(self._check)(attempt)
        if self.request.dry_run:
            self.moved = await step("plan", version="1")(self._plan)(attempt)
        else:
            self.moved = await step("load", version="1")(self._load)(attempt)
        self.sums = await step("reconcile", version="1")(self._reconcile)(attempt)
        reports = tuple(self._report(table) for table in self._tables())
        wrong = [report.table for report in reports if not self.request.dry_run and not report.reconciled]
        if wrong:
            raise ExpectationFailed(
                f"what was loaded is not what was staged: {', '.join(wrong)}",
                tables=[report.model_dump(mode="json") for report in reports if report.table in wrong],
            )
        return reports

    async def earlier(self) -> MigrationReport | None:
        """The report of an earlier run after which there is nothing left to do."""
        if self.request.dry_run or self.request.prune:
            return None

        def look(connection: Connection) -> MigrationReport | None:
            return loaded_before(
                connection,
                self.kind,
                self.request.name,
                self.source.fingerprint,
                dict(self.policies),
                self.request.max_rejects,
            )

        return await self._in_thread(look)

    async def _same_source(self) -> None:
        async def fingerprint(source: str) -> Fingerprint:
            return Fingerprint(sha256=self.source.fingerprint)

        begun_with = await step("open the source", version="1")(fingerprint)(self.request.source)
        if begun_with.sha256 != self.source.fingerprint:
            raise BadInput(f"{self.source.description} has changed since this run began: start a new one")

    async def _stage(self, attempt: UUID) -> StagedSource:
        return await self._in_thread(self.stager.stage)

    async def _check(self, attempt: UUID) -> Checked:
        return await self._in_thread(self._check_tables)

    async def _plan(self, attempt: UUID) -> Moved:
        return await self._in_thread(self._plan_tables)

    async def _load(self, attempt: UUID) -> Moved:
        return await self._in_thread(self._load_tables)

    async def _reconcile(self, attempt: UUID) -> Checksums:
        return await self._in_thread(self._read_back)

    async def _in_thread(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, which is asked to stop and waited for when this is interrupted."""

        def connected() -> T:
            with database_errors(), self.engine.connect() as connection:
                _prepare(connection)
                return work(connection)

        working = asyncio.ensure_future(asyncio.to_thread(connected))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            self.progress.stop()
            await asyncio.wait([working])
            working.exception()  # it was asked to stop
            raise

    def _tables(self) -> list[Table]:
        """The tables that have something to load, what is referred to first."""
        names = [name for name, table in self.staged.tables.items() if table.rest]
        rest = [rest_table(name) for name in names]
        return [
            table
            for table in (*self.kind.tables, *rest)
            if table.name in self.staged.tables or self.checked.placeholders.get(table.name)
        ]

    def _check_tables(self, connection: Connection) -> Checked:
        staged = [table for table in self.kind.tables if table.name in self.staged.tables]
        rest = [rest_table(name) for name, table in self.staged.tables.items() if table.rest]
        self.progress.begin("checking", sum(self.staged.tables[table.name].read for table in staged))
        outcomes: list[RuleOutcome] = []
        with expectation_runner(with_memory(self.url)) as runner:
            checker = Checker(self.run.id, self.staging, self.policies, runner)
            for table in (*staged, *rest):
                self.progress.table = table.name
                if self.staged.tables[table.name].rows:
                    rules = Expectations(self.kind, table, self.staging, self.request.name)
                    outcomes += checker.check(
                        connection, rules, lambda seq, name=table.name: self.stager.place(name, seq)
                    )
                self.progress.add(self.staged.tables[table.name].read)
                rejected = _rejected(connection, self.run.id)
                self.stager.limit(sum(rejected.values()), connection)
        placeholders = dict(checker.placeholders)
        return Checked(outcomes=outcomes, rejected=_rejected(connection, self.run.id), placeholders=placeholders)

    def _plan_tables(self, connection: Connection) -> Moved:
        moved = Moved()
        for table in self._tables():
            counts, moved.samples[table.name] = plan(connection, self.staging, table)
            moved.note(table.name, counts)
        self._count_gone(connection, moved)
        if self.request.prune:
            self._prune(connection, moved)
        return moved

    def _load_tables(self, connection: Connection) -> Moved:
        moved = Moved()
        tables = self._tables()
        self.progress.begin("loading", sum(self._expected(table) for table in tables))
        loader = Loader(self.run.attempt, self.staging, self.request.name)
        for table in tables:
            self.progress.table = table.name
            moved.note(table.name, loader.load(self.engine, table, self._extent(table), self.progress.add))
            moved.samples[table.name] = self._samples(connection, table)
        self._count_gone(connection, moved)
        if self.request.prune:
            self._prune(connection, moved)
        return moved

    def _expected(self, table: Table) -> int:
        staged = self.staged.tables.get(table.name)
        placeholders = self.checked.placeholders.get(table.name, 0)
        return (staged.read if staged else 0) + placeholders - self.checked.rejected.get(table.name, 0)

    def _extent(self, table: Table) -> Extent:
        staged = self.staged.tables.get(table.name)
        return staged.extent if staged else Extent(0, 0, 0)

    def _samples(self, connection: Connection, table: Table) -> dict[str, tuple[str, ...]]:
        """Ids of some rows that this run updated."""
        statement = f"SELECT row_id FROM migration_rows WHERE run_id = :run AND target = :target LIMIT {SHOWN}"
        found = connection.execute(text(statement), {"run": self.run.id, "target": table.target}).scalars().all()
        connection.commit()
        return {"updated": tuple(found)} if found else {}

    def _gone(self) -> Iterator[Gone]:
        """By target: the rows that the source no longer has.

        A table that the source does not have, or that is empty there, says nothing of what it once held, and so
        nothing is known of the target of several where one of them is not there.
        """
        for target in dict.fromkeys(table.target for table in self._tables()):
            fill = [table for table in self.kind.tables if table.target == target and not table.only_rejects]
            if target == REST_TARGET:
                fill = [rest_table(name) for name, staged in self.staged.tables.items() if staged.rest and staged.read]
            if fill and all(self._extent(table).count for table in fill):
                yield Gone(self.run.id, self.request.name, self.staging, fill)

    def _count_gone(self, connection: Connection, moved: Moved) -> None:
        for gone in self._gone():
            rows, samples = gone.count(connection)
            moved.pruned[gone.table] = pruned_before(connection, gone)
            moved.gone[gone.table] = rows + moved.pruned[gone.table]
            if samples:
                moved.samples.setdefault(gone.table, {})["gone"] = samples
        connection.commit()

    def _prune(self, connection: Connection, moved: Moved) -> None:
        """What the source no longer has is deleted in one transaction, where nothing stands on it."""
        with connection.begin():
            hold_run_here(connection, self.run.attempt)
            pruner = Pruner(connection, list(self._gone()), self._tables(), self.request.dry_run)
            for table, pruned in pruner.prune().items():
                moved.pruned[table] += pruned.rows
                moved.staying[table] = pruned.staying

    def _read_back(self, connection: Connection) -> Checksums:
        tables = self._tables()
        self.progress.begin("reconciling", sum(self._expected(table) for table in tables))
        standing = Standing(connection, self.kind, self.request.name)
        sums = Checksums(staged={}, target={})
        if not self.request.dry_run:
            sums.held = standing.held(table.name for table in tables)
            sums.others = standing.others(self.checked.outcomes)
        for table in tables:
            self.progress.table = table.name
            there = staged_checksum(connection, self.staging, table)
            sums.staged[table.name] = str(there)
            if not self.request.dry_run:
                here = target_checksum(connection, self.staging, table, there, sums.held[table.target])
                sums.target[table.name] = str(here)
            self.progress.add(self._expected(table))
        return sums

    def _drop(self, connection: Connection) -> None:
        self.staging.drop(connection)
        connection.commit()

    def _report(self, table: Table) -> TableReport:
        moved, name = self.moved, table.name
        staged = self.staged.tables.get(name) or StagedTable(table=name)
        return TableReport(
            table=name,
            target=table.target,
            read=staged.read,
            rejected=self.checked.rejected.get(name, 0),
            placeholders=self.checked.placeholders.get(name, 0),
            accepted=int(self.sums.staged[name].partition(":")[0]),
            inserted=moved.inserted[name],
            updated=moved.updated[name],
            unchanged=moved.unchanged[name],
            gone=moved.gone.get(name, 0),
            pruned=moved.pruned.get(name, 0),
            staying=moved.staying.get(name, ()),
            source_checksum=self.sums.staged[name],
            target_checksum=self.sums.target.get(name),
            repairs=staged.repairs,
            conversions=table.conversions,
            samples=moved.samples.get(name, {}),
        )


def with_memory(url: URL) -> URL:
    """`url` for connections whose joins may use more memory than a server usually grants."""
    options = url.query.get("options") or ""
    return url.update_query_dict({"options": f"{options if isinstance(options, str) else ' '.join(options)} {_MEMORY}"})


# Staged rows are joined by hash: a nested loop over hundreds of thousands of them, which the planner may choose because
# it cannot know how many values a parameter holds, takes minutes. Compiling a query takes longer than most of ours.
_SETTINGS = {"work_mem": "64MB", "enable_nestloop": "off", "jit": "off"}
_MEMORY = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())


def _prepare(connection: Connection) -> None:
    for name, value in _SETTINGS.items():
        connection.execute(text(f"SET {name} = '{value}'"))
    connection.commit()


def _rejected(connection: Connection, run_id: UUID) -> dict[str, int]:
    statement = "SELECT source_table, count(*) AS rows FROM migration_rejects WHERE run_id = :run GROUP BY 1"
    return {row.source_table: row.rows for row in connection.execute(text(statement), {"run": run_id})}
