"""The commands that move data in and take it back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from flows.command_options import AtLeastOne, Bare, Json
from schemas.errors import BadInput


def migrate(
    kind: str,
    source: str,
    *,
    name: str = "",
    policy: Annotated[list[str] | None, Parameter(negative="")] = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    prune: Annotated[bool, Parameter(negative="")] = False,
    max_rejects: int | None = None,
    project: str = "",
    mapping: Path | None = None,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Load an older application's data into Headrace's tables; `headrace rollback RUN` takes it back.

    Parameters
    ----------
    kind
        What the source is: quokkaq (the course forum's localStorage export or JSON files), llm-lab (the prompt
        laboratory's SQLite file), llm-services (the gateway's llm_requests, from SQLite, CSV or a Postgres URL),
        lexybrain (the keyword service's three tables), affordabot (the bill analyser's four), prime-radiant (the
        finance assistant's conversations), or table (any CSV, JSON lines, Parquet or SQLite table, with --mapping).
    source
        Path or URL of it.
    name
        Tells sources of one kind apart: rows of one are never changed by another. The kind when not given.
    policy
        TABLE.FIELD=POLICY, once for each rule: reject, null, create-placeholder or abort.
    dry_run
        Do everything but load, and show the same report.
    prune
        Delete rows of earlier migrations that the source no longer has.
    max_rejects
        End the run when more records than this are rejected.
    project
        Which project the run belongs to; HEADRACE_PROJECT when not given.
    mapping
        For the kind table: a TOML, YAML or JSON file that says which of our tables it fills, and how.
    """
    from blocks.mapping_files import read_mapping_file
    from tasks.migration.refusing import require_no_password

    require_no_password(source)  # before Prefect keeps it as well
    parameters = {
        "kind": kind,
        "source": source,
        "source_name": name,
        "policies": _policies(policy or []),
        "dry_run": dry_run,
        "prune": prune,
        "max_rejects": max_rejects,
        "project": project,
        "mapping": read_mapping_file(mapping) if mapping else {},
    }
    return go_on_with_migration(parameters, None, bare=bare, as_json=json)


def _policies(chosen: list[str]) -> dict[str, str]:
    """`table.field=policy` by `table.field`.

    Raises:
        BadInput: one is written otherwise.
    """
    policies = {}
    for each in chosen:
        rule, equals, policy = each.partition("=")
        if not (rule and equals and policy):
            raise BadInput(f"a policy is written TABLE.FIELD=POLICY, as conversations.courseId=null; not {each!r}")
        policies[rule] = policy
    return policies


def go_on_with_migration(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The migration with `parameters`, begun or gone on with, is done and shown."""
    from flows.migration import migrate_data
    from flows.migration_report import show_migration
    from flows.running import run_flow

    report = asyncio.run(run_flow(migrate_data, parameters, resume=run, bare=bare))
    return show_migration(report, as_json=as_json)


def rollback(run: UUID, *, bare: Bare = False, json: Json = False) -> int:
    """Take a migration back: what it inserted is deleted, what it changed or pruned is put back as it was.

    Parameters
    ----------
    run
        The migration's run.
    """
    return go_on_with_rollback({"run": str(run)}, None, bare=bare, as_json=json)


def go_on_with_rollback(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The rollback with `parameters`, begun or gone on with, is done and shown."""
    from flows.migration import rollback_migration
    from flows.migration_report import show_rollback
    from flows.running import run_flow

    report = asyncio.run(run_flow(rollback_migration, parameters, resume=run, bare=bare))
    return show_rollback(report, as_json=as_json)


def rejects(
    run: UUID,
    *,
    table: str = "",
    limit: AtLeastOne = 20,
    csv: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    json: Json = False,
) -> int:
    """What a migration did not load: counts by rule, then each record's place and the reason.

    Parameters
    ----------
    run
        The migration's run.
    table
        Only rejects of this table of the source.
    limit
        Show no more than these.
    csv
        Write all of them, with their records, to this file; - is standard output.
    """
    from flows.migration_rejects import show_rejects

    return asyncio.run(show_rejects(run, table=table, limit=limit, csv_to=csv, as_json=json))
