"""The pass that measures what stored answers mean, chunk by chunk; what is measured is not measured again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from tasks.ledger.rows import insert_rows
from tasks.ledger.runs import Run, hold_run_here
from tasks.ledger.steps import step
from tasks.sweep.progress import Progress
from tasks.sweep.quality.meaning import MEANING_METRICS, meaning_version, score_meaning
from tasks.sweep.storing import metric_rows

CHUNK = 200
"""Answers of a step: a vector for each of their sentences is held."""

_UNMEASURED = """
    experiment_id = :experiment AND responses.status = 'succeeded'
    AND (SELECT count(*) FROM quality_metrics
         WHERE response_id = responses.id AND analysis_version = :version) < :metrics
"""
_COUNT = text(f"SELECT count(*) FROM responses WHERE {_UNMEASURED}")
# In the order of cells, which is the same in every sweep that asks the same: its requests are then the same too.
_FOLLOWING = text(f"""
    SELECT responses.id, combination_key, repetition, coalesce(responses.prompt, experiments.prompt) AS prompt, content
    FROM responses JOIN experiments ON experiments.id = experiment_id
    WHERE {_UNMEASURED} AND (combination_key, repetition) > (:key, :repetition)
    ORDER BY combination_key, repetition LIMIT :chunk
""")


class Measured(BaseModel):
    """What a chunk came to."""

    answers: int


async def measure_meaning(run: Run, experiment_id: str, model: str, progress: Progress) -> None:
    """Every answer of the experiment has the metrics by `model`'s embeddings.

    Raises:
        BudgetExceeded, ConfigurationError, RetriesExhausted: see `score_meaning`; what is measured is stored.
        LeaseLost: another attempt has taken the run over.
    """
    values: dict[str, Any] = {
        "experiment": experiment_id,
        "version": meaning_version(model),
        "metrics": len(MEANING_METRICS),
        "chunk": CHUNK,
        "key": "",
        "repetition": 0,
    }
    with database_errors():
        async with run.ledger.engine.connect() as connection:
            total: int = (await connection.execute(_COUNT, values)).scalar_one()
    progress.begin_pass("measuring what they mean", total, "answers")
    while answers := await _following(run, values):
        values |= {"key": answers[-1].combination_key, "repetition": answers[-1].repetition}
        await _measure_chunk(run, model, answers)
        progress.count_pass(len(answers))


async def _following(run: Run, values: dict[str, Any]) -> Sequence[Row[Any]]:
    with database_errors():
        async with run.ledger.engine.connect() as connection:
            return (await connection.execute(_FOLLOWING, values)).all()


async def _measure_chunk(run: Run, model: str, answers: Sequence[Row[Any]]) -> None:
    """The chunk is a step, of this attempt: one that is resumed looks at the table anew."""

    async def measure(attempt: UUID, first: str) -> Measured:
        scores = await score_meaning([(answer.prompt, answer.content) for answer in answers], model=model)
        rows = [row for answer, found in zip(answers, scores, strict=True) for row in metric_rows(answer.id, found)]

        def store(connection: Connection) -> None:
            hold_run_here(connection, run.attempt)
            insert_rows(connection, "quality_metrics", rows, suffix="ON CONFLICT (id) DO NOTHING")

        with database_errors():
            async with run.ledger.engine.begin() as connection:
                await connection.run_sync(store)
        return Measured(answers=len(answers))

    await step("measure meaning", version="1")(measure)(run.attempt.id, answers[0].id)
