"""Whether a source has been loaded before and the tables still hold it, so that there is nothing to do."""

from __future__ import annotations

from sqlalchemy import Connection, text

from schemas.migration import MigrationReport, Policy
from tasks.migration.declaration import Kind, Table
from tasks.migration.reconciling import Checksum, source_checksum
from tasks.migration.rest import rest_table

_LATEST = text("""
    SELECT result FROM runs
    WHERE flow = 'migrate-data' AND status = 'completed' AND result ->> 'source_name' = :source_name
        AND NOT (result ->> 'dry_run')::boolean
        AND NOT EXISTS (SELECT FROM runs AS back WHERE back.flow = 'rollback-migration'
                        AND back.status = 'completed' AND back.subject = runs.id::text)
    ORDER BY id DESC LIMIT 1
""")


def loaded_before(
    connection: Connection, kind: Kind, source_name: str, fingerprint: str, policies: dict[str, Policy]
) -> MigrationReport | None:
    """The report of the latest migration, if it loaded this very source whole and its rows are all still here.

    What was rejected or changed by a rule then might fare otherwise now, so that such a source is read again.
    """
    found = connection.execute(_LATEST, {"source_name": source_name}).scalar()
    if found is None:
        return None
    report = MigrationReport.model_validate(found)
    same = (report.kind, report.kind_version, report.fingerprint) == (kind.name, kind.version, fingerprint)
    whole = not report.rules and not any(table.rejected or table.gone for table in report.tables)
    if not same or not whole or report.policies != policies:
        return None
    return report if _still_here(connection, kind, source_name, report) else None


def _still_here(connection: Connection, kind: Kind, source_name: str, report: MigrationReport) -> bool:
    expected: dict[str, Checksum] = {}
    tables: dict[str, Table] = {}
    for each in report.tables:
        table = kind.table(each.table) or rest_table(each.table)
        tables[table.target] = table
        sum_of = Checksum.parse(each.target_checksum or each.source_checksum)
        expected[table.target] = expected.get(table.target, Checksum(0, 0)) + sum_of
    return all(
        str(source_checksum(connection, target, tables[target].column_names, source_name)) == str(checksum)
        for target, checksum in expected.items()
    )


def as_unchanged(report: MigrationReport, **changes: object) -> MigrationReport:
    """What a run reports that found everything of `report` in place; `changes` are its own id, times and source."""
    tables = tuple(
        table.model_copy(update={"inserted": 0, "updated": 0, "unchanged": table.accepted, "pruned": 0, "samples": {}})
        for table in report.tables
    )
    return report.model_copy(update={"already_done": True, "tables": tables, **changes})
