"""Data moved into our tables, and taken back.

from flows.migration import migrate_data
from flows.running import run_flow

report = await run_flow(migrate_data, {"kind": "quokkaq", "source": "export.json"})
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any
from uuid import UUID

from prefect import flow
from pydantic import Field
from sqlalchemy.engine import URL

from blocks.database import create_database, database_errors
from flows.migration_progress import showing
from flows.migration_report import publish, publish_failure
from flows.running import note_run, prefect_flow_run_id
from schemas.errors import HeadraceError
from schemas.migration import MigrationReport, Policy, RollbackReport, RollbackTable
from tasks.ledger.operations import Attempt
from tasks.ledger.run_records import read_run
from tasks.ledger.runs import Run, RunRequest, end_if_crashed, open_run, resuming
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.steps import step
from tasks.migration.earlier import as_unchanged, report_of_completed
from tasks.migration.kinds import find_kind, kind_names
from tasks.migration.migrating import Migrating, MigrationRequest, hold_source, with_memory
from tasks.migration.refusing import require_no_password
from tasks.migration.rollback import MIGRATE, Rollback, require_migration
from tasks.migration.staging import Staging

ROLL_BACK = "rollback-migration"


@flow(name=MIGRATE, flow_run_name="migrate {kind} {source}", persist_result=False)
async def migrate_data(
    kind: Annotated[str, Field(json_schema_extra={"enum": list(kind_names())})],
    source: str,
    source_name: str = "",
    policies: dict[str, Policy] = {},  # noqa: B006 - Prefect makes the form from it and nobody changes it
    dry_run: bool = False,
    prune: bool = False,
    max_rejects: Annotated[int, Field(ge=0)] | None = None,
    project: str = "",
    mapping: dict[str, Any] = {},  # noqa: B006 - as policies
) -> MigrationReport:
    """Load a source into our tables, validated and reconciled; a run can be resumed and rolled back.

    Args:
        kind: What the source is
        source: Path or URL of it
        source_name: Tells sources of one kind apart; empty: the kind. Rows of one are never changed by another
        policies: What becomes of rows that break a rule, e.g. {"conversations.courseId": "null"}
        dry_run: Do everything but load
        prune: Delete rows of earlier migrations that the source no longer has
        max_rejects: End the run when more records are rejected
        project: Which project the run belongs to; empty: HEADRACE_PROJECT
        mapping: For the kind table: its target, key, columns and references

    Raises:
        BadInput: the source cannot be read, the mapping does not fit, or a policy cannot be carried out.
        RunBusy: another run is at work on the source.
        ExpectationFailed: a rule ends the run, or what was loaded is not what was staged.
    """
    require_no_password(source)
    declared = find_kind(kind, mapping)
    request = MigrationRequest(
        kind=kind,
        source=source,
        source_name=source_name,
        policies=policies,
        dry_run=dry_run,
        prune=prune,
        max_rejects=max_rejects,
        mapping=mapping,
    )
    declared.policies(policies)  # said before a run is opened
    async with open_ledger() as ledger:
        if (resumed := resuming.get()) and (done := await report_of_completed(resumed)):
            resuming.set(None)
            return done
        run_request = RunRequest(
            flow=MIGRATE,
            subject=source,
            project=project or ledger.settings.project,
            parameters={**request.model_dump(mode="json"), "project": project},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        opened = await asyncio.to_thread(declared.open_source, source)
        try:
            async with open_run(run_request) as run:
                note_run(run)
                migrating = Migrating(run, ledger.engine.url, declared, opened, request)
                try:
                    report = await _migrate(ledger, run, migrating)
                except HeadraceError as error:
                    await publish_failure(request, run.id, error)
                    raise
                finally:
                    await asyncio.to_thread(migrating.engine.dispose)
                run.result = report.model_dump(mode="json")
        finally:
            await asyncio.to_thread(opened.close)
    await publish(report)
    return report


async def _migrate(ledger: Ledger, run: Run, migrating: Migrating) -> MigrationReport:
    request = migrating.request
    began = time.monotonic()
    with hold_source(migrating.engine, request.name):
        async with showing(migrating.progress):
            before = await migrating.earlier()
            tables = () if before else await migrating.work()
    seconds = time.monotonic() - began
    if before:
        return as_unchanged(before, run_id=run.id, source=request.source, seconds=round(seconds, 3)).timed()
    report = MigrationReport(
        run_id=run.id,
        status="completed",
        kind=request.kind,
        kind_version=migrating.kind.version,
        policies=migrating.policies,
        source=request.source,
        source_name=request.name,
        fingerprint=migrating.source.fingerprint,
        dry_run=request.dry_run,
        tables=tables,
        rules=tuple(migrating.checked.outcomes),
        unfit=tuple(migrating.staged.unfit),
        refused=tuple(migrating.staged.refused),
        notes=tuple(migrating.staged.notes),
        held=migrating.sums.held,
        others=migrating.sums.others,
        seconds=round(seconds, 3),
    )
    return report.timed()


@flow(name=ROLL_BACK, flow_run_name="roll back {run}", persist_result=False)
async def rollback_migration(run: UUID, project: str = "") -> RollbackReport:
    """Take a migration back: what it inserted is deleted, what it changed or pruned is put back.

    Args:
        run: Id of the run to take back
        project: Which project this run belongs to; empty: that of the migration

    Raises:
        NotFound: there is no such run, or nothing of it is left.
        BadInput: it is no migration, or still at work.
        RunBusy: another run is at work on the source.
        StandsOn: later changes stand on it; the message names them and nothing was changed.
    """
    async with open_ledger() as ledger:
        await end_if_crashed(ledger, run)
        record = await read_run(run)
        dry_run = bool(record.parameters.get("dry_run"))
        require_migration(record.flow, record.status, dry_run)
        name = record.parameters.get("source_name") or record.parameters["kind"]
        run_request = RunRequest(
            flow=ROLL_BACK,
            subject=str(run),
            project=project or record.project,
            parameters={"run": str(run), "project": project},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(run_request) as opened:
            note_run(opened)
            rollback = Rollback(run, find_kind(record.parameters["kind"], record.parameters.get("mapping")))

            async def take_back(of_run: UUID) -> RollbackReport:
                tables = await asyncio.to_thread(_take_back, ledger.engine.url, rollback, name, opened.attempt)
                return RollbackReport(
                    run_id=opened.id, status="completed", of_run=of_run, source_name=name, tables=tables
                )

            report = await step("take back", version="1")(take_back)(run)
            opened.result = report.model_dump(mode="json")
    await publish(report)
    return report


def _take_back(url: URL, rollback: Rollback, source_name: str, attempt: Attempt) -> tuple[RollbackTable, ...]:
    engine = create_database(with_memory(url))
    try:
        with hold_source(engine, source_name), database_errors():
            with engine.begin() as connection:
                Staging(rollback.run_id).drop(connection)  # which a run that was killed leaves
            with engine.begin() as connection:
                return rollback.take_back(connection, attempt)
    finally:
        engine.dispose()
