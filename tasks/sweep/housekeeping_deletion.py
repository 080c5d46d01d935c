"""An experiment deleted with what hangs on it; what was paid for stays in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, text

from blocks.database import database_errors
from schemas.errors import NotFound, RunBusy
from schemas.experiments import Deletion
from schemas.tables import Base, Experiment
from tasks.ledger.budgets import COUNTED_USD
from tasks.ledger.run_records import read_run
from tasks.ledger.session import open_ledger
from tasks.ledger.workers import bury_dead_workers
from tasks.sweep.experiments import ExperimentDeleted, deleted_at
from tasks.sweep.finding import find_experiment

_EXPERIMENT = text("SELECT id, name, run_id FROM experiments WHERE id = :id")
_LOCK_EXPERIMENT = text("SELECT 1 FROM experiments WHERE id = :id FOR UPDATE")
_LOCK_RUN = text("SELECT 1 FROM runs WHERE id = :run FOR UPDATE")
_AT_WORK = text("""
    SELECT workers.pid, workers.host FROM runs
    JOIN run_attempts ON run_attempts.id = runs.attempt_id AND run_attempts.ended_at IS NULL
    JOIN workers ON workers.id = run_attempts.worker_id AND workers.lease_until >= clock_timestamp()
    WHERE runs.id = :run
""")
# Its worker is dead, if there is one: what it writes late finds that the run is nobody's.
_NOTE_ON_RUN = text("""
    UPDATE runs SET attempt_id = CASE status WHEN 'running' THEN NULL ELSE attempt_id END,
        status = CASE status WHEN 'running' THEN 'crashed' ELSE status END,
        completed_at = coalesce(completed_at, clock_timestamp()),
        result = coalesce(result, '{}') || jsonb_build_object('experiment_deleted_at', clock_timestamp())
    WHERE id = :run
""")
_PAID = text(f"""
    SELECT count(*) AS calls, CASE WHEN bool_or({COUNTED_USD} IS NULL) THEN NULL ELSE coalesce(sum({COUNTED_USD}), 0)
           END AS cost_usd
    FROM llm_requests AS calls WHERE run_id = :run AND status <> 'replayed'
""")


async def plan_deletion(experiment: str) -> Deletion:
    """What `delete_experiment` would delete, and what would stay.

    Raises:
        NotFound, BadInput: see `find_experiment`.
        RunBusy: a live process works on it.
    """
    async with open_ledger() as ledger:
        await bury_dead_workers(ledger.engine, ledger.worker.id)
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(_plan, experiment)


async def delete_experiment(experiment: str) -> Deletion:
    """The experiment is gone, with its responses, scores and all that was concluded, in one transaction.

    The run that asked stays on record, and so do its calls: the same spec asked anew finds their answers and pays
    nothing. The run itself cannot be gone on with.

    Raises:
        NotFound, BadInput: see `find_experiment`.
        RunBusy: a live process works on it: interrupt it first.
    """
    async with open_ledger() as ledger:
        await bury_dead_workers(ledger.engine, ledger.worker.id)
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_delete, experiment)


async def refuse_deleted(run: UUID) -> None:
    """The experiment of `run` was not deleted.

    Raises:
        ExperimentDeleted: it was.
        NotFound: there is no such run.
    """
    if (when := deleted_at((await read_run(run)).result)) is not None:
        raise ExperimentDeleted(run, when)


def _plan(connection: Connection, experiment: str) -> Deletion:
    row = connection.execute(_EXPERIMENT, {"id": find_experiment(connection, experiment)}).one()
    _refuse_at_work(connection, row.run_id, row.name)
    conditions: dict[Table, list[ColumnElement[bool]]] = {}
    for table, condition in _hanging_on(_experiments(), _experiments().c.id == row.id):
        conditions.setdefault(table, []).append(condition)
    counts = {
        table.name: connection.execute(select(func.count()).select_from(table).where(or_(*found))).scalar_one()
        for table, found in conditions.items()
    }
    return _deletion(connection, row, counts)


def _delete(connection: Connection, experiment: str) -> Deletion:
    """Locked first: the run, as whoever stores an answer does; then the experiment, as whoever analyses does."""
    row = connection.execute(_EXPERIMENT, {"id": find_experiment(connection, experiment)}).one()
    connection.execute(_LOCK_RUN, {"run": row.run_id})
    if connection.execute(_LOCK_EXPERIMENT, {"id": row.id}).first() is None:
        raise NotFound(f"experiment {row.id} was deleted meanwhile")
    _refuse_at_work(connection, row.run_id, row.name)
    deleted: dict[str, int] = {}
    for table, condition in _hanging_on(_experiments(), _experiments().c.id == row.id):
        gone = connection.execute(delete(table).where(condition)).rowcount
        deleted[table.name] = deleted.get(table.name, 0) + gone
    connection.execute(_NOTE_ON_RUN, {"run": row.run_id})
    return _deletion(connection, row, deleted)


def _experiments() -> Table:
    return Base.metadata.tables[Experiment.__tablename__]


def _hanging_on(table: Table, condition: ColumnElement[bool]) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Each table whose rows cannot be without those of `table`, children before parents, and which of its rows.

    A table that refers to two of them comes twice.
    """
    for other in Base.metadata.sorted_tables:
        for key in other.foreign_keys:
            if key.column.table is table and other is not table and key.ondelete != "SET NULL":
                yield from _hanging_on(other, key.parent.in_(select(key.column).where(condition)))
    yield table, condition


def _refuse_at_work(connection: Connection, run: UUID | None, name: str) -> None:
    busy = connection.execute(_AT_WORK, {"run": run}).first()
    if busy is not None:
        raise RunBusy(
            f"experiment {name} is being asked by process {busy.pid} of {busy.host}: interrupt that first",
            run_id=str(run),
        )


def _deletion(connection: Connection, row: Any, rows: dict[str, int]) -> Deletion:
    paid = connection.execute(_PAID, {"run": row.run_id}).one()
    return Deletion(
        experiment_id=row.id,
        name=row.name,
        rows={table: count for table, count in rows.items() if count},
        run_id=row.run_id,
        calls=paid.calls,
        cost_usd=paid.cost_usd,
    )
