"""What a migration did not load, as a person finds it: where it stood, what it was, and which rule it broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from blocks.database import database_errors
from schemas.errors import BadInput, NotFound
from schemas.tables.migration import MigrationReject
from tasks.ledger.run_records import read_run
from tasks.ledger.session import open_ledger
from tasks.migration.rollback import MIGRATE

_AT_ONCE = 500


class RejectRecord(BaseModel):
    """A record that was not loaded.

    Attributes:
        table: of the source.
        place: in the source, as `threads[12]`.
        source_id: the record's own id, where it has one.
        rule: `table.field` and what was asked of it.
        record: as read, without passwords and keys.
    """

    model_config = ConfigDict(frozen=True)

    table: str
    place: str
    source_id: str | None
    rule: str
    reason: str
    record: dict[str, Any] | None


async def count_rejects(run: UUID, *, table: str = "") -> dict[str, int]:
    """How many records of each rule the migration `run` rejected, of `table` or of all; the commonest first.

    Raises:
        NotFound: there is no such run, or it has no such table.
        BadInput: the run is no migration.
    """
    count = func.count().label("records")
    asked = select(MigrationReject.rule, count).where(MigrationReject.run_id == run).group_by(MigrationReject.rule)
    if table:
        asked = asked.where(MigrationReject.source_table == table)
    async with open_ledger() as ledger:
        _require_migration((await read_run(run)).flow)
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(asked.order_by(count.desc(), MigrationReject.rule))).all()
                if table and not rows:
                    known = select(MigrationReject.source_table).where(MigrationReject.run_id == run).distinct()
                    _require_known(table, list((await connection.execute(known)).scalars()))
    return {row.rule: row.records for row in rows}


def _require_migration(flow: str) -> None:
    if flow != MIGRATE:
        raise BadInput(f"the run is of {flow}; only a migration rejects records")


def _require_known(table: str, known: list[str]) -> None:
    if known:
        raise NotFound(f"the run rejected nothing of {table!r}, but of {', '.join(sorted(known))}", table=table)


async def read_rejects(run: UUID, *, table: str = "", limit: int | None = None) -> AsyncIterator[RejectRecord]:
    """The rejects of the migration `run` in the order they were found, read as they are asked for.

    Args:
        table: of the source; empty: all.
        limit: no more than these.
    """
    asked = (
        select(
            MigrationReject.source_table.label("table"),
            MigrationReject.place,
            MigrationReject.source_id,
            MigrationReject.rule,
            MigrationReject.reason,
            MigrationReject.record,
        )
        .where(MigrationReject.run_id == run)
        .order_by(MigrationReject.id)
        .limit(limit)
    )
    if table:
        asked = asked.where(MigrationReject.source_table == table)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                streaming = await connection.execution_options(yield_per=_AT_ONCE)
                async for row in await streaming.stream(asked):
                    yield RejectRecord.model_validate(row._mapping)
