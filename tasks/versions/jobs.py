"""The fine-tuning job of a run, as it is on record: its id is there before the job is asked for the first time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from blocks.database import database_errors
from schemas.errors import NotFound
from schemas.fine_tuning import JobState
from tasks.ledger.runs import Run, hold_run
from tasks.ledger.session import Ledger

_READ = text("""
    SELECT run_id, base_model, training_sha256, training_file_id, validation_file_id, job_id, status
    FROM fine_tuning_jobs WHERE run_id = :run
""")
_BEGIN = text("""
    INSERT INTO fine_tuning_jobs (run_id, base_model, training_sha256) VALUES (:run, :base_model, :sha256)
    ON CONFLICT (run_id) DO NOTHING
""")
_NOTE_FILES = text("""
    UPDATE fine_tuning_jobs
    SET training_file_id = :training, validation_file_id = :validation, updated_at = clock_timestamp()
    WHERE run_id = :run
""")
_NOTE_STATE = text("""
    UPDATE fine_tuning_jobs
    SET job_id = :id, status = :status, fine_tuned_model = :fine_tuned_model, trained_tokens = :trained_tokens,
        error = CASE WHEN CAST(:reason AS text) IS NOT NULL
                     THEN jsonb_build_object('code', CAST(:code AS text), 'message', CAST(:reason AS text)) END,
        updated_at = clock_timestamp()
    WHERE run_id = :run
""")


class JobRecord(BaseModel):
    """What is known of the job of a run; without `job_id` none was seen to be created."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    run_id: UUID
    base_model: str
    training_sha256: str
    training_file_id: str | None
    validation_file_id: str | None
    job_id: str | None
    status: str | None


async def read_job(ledger: Ledger, run_id: UUID) -> JobRecord:
    """The job of the run.

    Raises:
        NotFound: the run has none.
    """
    with database_errors():
        async with ledger.engine.connect() as connection:
            row = (await connection.execute(_READ, {"run": run_id})).first()
    if row is None:
        raise NotFound(f"run {run_id} has no fine-tuning job", run_id=str(run_id))
    return JobRecord.model_validate(row)


async def begin_job(run: Run, base_model: str, sha256: str) -> tuple[JobRecord, bool]:
    """The run's job is on record; and whether it was before."""
    begun = await _write(run, _BEGIN, base_model=base_model, sha256=sha256)
    return await read_job(run.ledger, run.id), not begun


async def note_files(run: Run, training: str, validation: str | None) -> None:
    """The ids of the files at the provider are on record.

    Raises:
        LeaseLost: another attempt has taken the run over.
    """
    await _write(run, _NOTE_FILES, training=training, validation=validation)


async def note_state(run: Run, state: JobState) -> None:
    """What the provider says of the job is on record, its id first of all; errors as in `note_files`."""
    await _write(run, _NOTE_STATE, **state.model_dump(exclude={"cost_usd"}))


async def _write(run: Run, statement: Any, **values: Any) -> int:
    with database_errors():
        async with run.ledger.engine.begin() as connection:
            await hold_run(connection, run.attempt)
            return (await connection.execute(statement, {"run": run.id, **values})).rowcount
