"""Reading runs: the latest ones, one of them, and what it did."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, text

from blocks.database import database_errors
from schemas.errors import NotFound
from schemas.tables import Run as RunRow
from tasks.ledger.budgets import COUNTED_USD
from tasks.ledger.session import open_ledger


class RunRecord(BaseModel):
    """A run as on record."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    flow: str
    project: str
    subject: str
    variant: str
    status: str
    parameters: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    cost_usd: Decimal | None
    started_at: datetime
    completed_at: datetime | None


_RUN_COLUMNS = [RunRow.__table__.c[name] for name in RunRecord.model_fields]


async def read_run(run_id: UUID) -> RunRecord:
    """The run with this id.

    Raises:
        NotFound: there is none.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                row = (await connection.execute(select(*_RUN_COLUMNS).where(RunRow.id == run_id))).first()
    if row is None:
        raise NotFound(f"there is no run {run_id}", run_id=str(run_id))
    return RunRecord.model_validate(row)


async def list_runs(*, limit: int = 20) -> list[RunRecord]:
    """The latest runs, newest first."""
    query = select(*_RUN_COLUMNS).order_by(RunRow.started_at.desc(), RunRow.id.desc()).limit(limit)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(query)).all()
    return [RunRecord.model_validate(row) for row in rows]


class StepRecord(BaseModel):
    """A step of a run with what its calls came to."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    status: str
    attempts: int
    model: str | None
    seconds: float | None
    calls: int
    replays: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    error: str | None


class RunDetail(BaseModel):
    """A run with its steps in the order they first began, and how often it was begun."""

    model_config = ConfigDict(frozen=True)

    run: RunRecord
    attempts: int
    steps: list[StepRecord]


_STEP_DETAIL = text(f"""
    SELECT steps.name, steps.version, steps.status, steps.attempts, steps.model,
           extract(epoch FROM steps.completed_at - steps.started_at)::float8 AS seconds,
           count(calls.id) FILTER (WHERE calls.status <> 'replayed') AS calls,
           count(calls.id) FILTER (WHERE calls.status = 'replayed') AS replays,
           coalesce(sum(calls.input_tokens) FILTER (WHERE calls.status <> 'replayed'), 0) AS input_tokens,
           coalesce(sum(calls.output_tokens) FILTER (WHERE calls.status <> 'replayed'), 0) AS output_tokens,
           CASE WHEN bool_or(calls.id IS NOT NULL AND {COUNTED_USD} IS NULL) THEN NULL
                ELSE coalesce(sum({COUNTED_USD}), 0) END AS cost_usd,
           steps.error ->> 'message' AS error
    FROM steps LEFT JOIN llm_requests AS calls ON calls.run_id = steps.run_id AND calls.step_id = steps.id
    WHERE steps.run_id = :run
    GROUP BY steps.id ORDER BY steps.ordinal, steps.started_at
""")
_ATTEMPTS = text("SELECT count(*) FROM run_attempts WHERE run_id = :run")


async def read_run_detail(run_id: UUID) -> RunDetail:
    """The run with its steps and what their calls cost.

    Raises:
        NotFound: there is no such run.
    """
    async with open_ledger() as ledger:
        run = await read_run(run_id)
        with database_errors():
            async with ledger.engine.connect() as connection:
                steps = (await connection.execute(_STEP_DETAIL, {"run": run_id})).mappings().all()
                attempts = (await connection.execute(_ATTEMPTS, {"run": run_id})).scalar_one()
    return RunDetail(run=run, attempts=attempts, steps=[StepRecord(**step) for step in steps])
