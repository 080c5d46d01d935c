"""Whether a source has been loaded before and the tables still hold it, so that there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.migration import MigrationReport, Policy, RuleOutcome
from tasks.ledger.run_records import read_run
from tasks.ledger.session import open_ledger
from tasks.migration.declaration import Kind, Table, rule_name
from tasks.migration.expectations import taken_rule
from tasks.migration.reconciling import others_checksum, source_checksum
from tasks.migration.rest import rest_table
from tasks.migration.rollback import MIGRATE

_LATEST = text("""
    SELECT result FROM runs
    WHERE flow = 'migrate-data' AND status = 'completed' AND result ->> 'source_name' = :source_name
        AND NOT (result ->> 'dry_run')::boolean
        AND NOT EXISTS (SELECT FROM runs AS back WHERE back.flow = 'rollback-migration'
                        AND back.status = 'completed' AND back.subject = runs.id::text)
    ORDER BY id DESC LIMIT 1
""")


_LATER = text("""
    SELECT id FROM runs
    WHERE flow = 'migrate-data' AND id > :run
        AND coalesce(nullif(parameters ->> 'source_name', ''), parameters ->> 'kind') = :source_name
        AND EXISTS (SELECT FROM migration_chunks WHERE run_id = runs.id)
    ORDER BY id LIMIT 1
""")
_TAKEN_BACK = text("""
    SELECT FROM runs WHERE flow = 'rollback-migration' AND status = 'completed' AND subject = CAST(:run AS text)
""")


def require_latest(connection: Connection, source_name: str, run_id: UUID) -> None:
    """No later run has loaded rows of the source, which this one would set back to what they were.

    Raises:
        BadInput: one has, and was not taken back.
    """
    later = connection.execute(_LATER, {"run": run_id, "source_name": source_name}).scalar()
    if later is not None:
        raise BadInput(f"run {later} has loaded {source_name} since this run began: start a new one")


async def report_of_completed(run_id: UUID) -> MigrationReport | None:
    """What the run reported when it was completed; None where it was not, or was taken back since."""
    async with open_ledger() as ledger:
        record = await read_run(run_id)
        if record.flow != MIGRATE or record.status != "completed" or record.result is None:
            return None
        with database_errors():
            async with ledger.engine.connect() as connection:
                taken_back = (await connection.execute(_TAKEN_BACK, {"run": run_id})).first()
    return None if taken_back is not None else MigrationReport.model_validate(record.result)


def loaded_before(
    connection: Connection,
    kind: Kind,
    source_name: str,
    fingerprint: str,
    policies: dict[str, Policy],
    max_rejects: int | None = None,
) -> MigrationReport | None:
    """The report of the latest migration, if it loaded this very source and would end as it did.

    It would where the source's rows are all as they were, and so are the rows of others that its rules looked at.
    """
    found = connection.execute(_LATEST, {"source_name": source_name}).scalar()
    if found is None:
        return None
    report = MigrationReport.model_validate(found)
    same = (report.kind, report.kind_version, report.fingerprint) == (kind.name, kind.version, fingerprint)
    too_many = max_rejects is not None and sum(table.rejected for table in report.tables) > max_rejects
    if not same or too_many or report.policies != policies or not report.held:
        return None
    now = Standing(connection, kind, source_name)
    names = [table.table for table in report.tables]
    return report if now.held(names) == report.held and now.others(report.rules) == report.others else None


@dataclass(frozen=True)
class Standing:
    """What stands in the targets of a source, as checksums by target."""

    connection: Connection
    kind: Kind
    source_name: str

    def held(self, names: Iterable[str]) -> dict[str, str]:
        """Of the source's rows in the targets of the tables called `names`."""
        tables = {table.target: table for table in map(self._table, reversed(list(names)))}
        return {
            target: str(source_checksum(self.connection, target, table.column_names, self.source_name))
            for target, table in sorted(tables.items())
        }

    def others(self, outcomes: Iterable[RuleOutcome]) -> dict[str, str]:
        """Of the rows of others without which the outcomes of rules might have been different."""
        tables = {table.target: table for outcome in outcomes for table in self._looked_at(outcome)}
        return {
            target: str(others_checksum(self.connection, target, table.column_names, self.source_name))
            for target, table in sorted(tables.items())
        }

    def _table(self, name: str) -> Table:
        return self.kind.table(name) or rest_table(name)

    def _looked_at(self, outcome: RuleOutcome) -> Iterator[Table]:
        table = self._table(outcome.table)
        if outcome.rule == taken_rule(table):
            yield table
        yield from (self._table(link.to) for link in table.links if rule_name(table, link.column) == outcome.rule)


def as_unchanged(report: MigrationReport, **changes: object) -> MigrationReport:
    """What a run reports that found everything of `report` in place; `changes` are its own id, times and source."""
    tables = tuple(
        table.model_copy(
            update={
                "inserted": 0,
                "updated": 0,
                "unchanged": table.accepted,
                "gone": table.gone - table.pruned,
                "pruned": 0,
                "staying": (),
                "samples": {},
            }
        )
        for table in report.tables
    )
    loaded_by = report.loaded_by or report.run_id
    return report.model_copy(update={"already_done": True, "loaded_by": loaded_by, "tables": tables, **changes})
