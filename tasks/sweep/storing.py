"""Responses of a sweep are stored as they arrive: those that come close together share a transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from blocks.scripts import Script
from schemas.canonical import postgres_text
from schemas.errors import HeadraceError, LeaseLost
from schemas.sweep import PARAMETERS
from tasks.ledger.gateway import CallOutcome
from tasks.ledger.rows import add_rows
from tasks.ledger.runs import HOLD_RUN, Run
from tasks.sweep.cells import Cell
from tasks.sweep.quality.scoring import Scores

MOST_IN_A_BATCH = 500
GATHERING_SECONDS = 0.05
"""What a response waits for others, to share a transaction with them; its call is in the ledger already, and the next
ones do not wait for it."""

# A response that failed is put in the place of none but one that failed: what is answered stays.
_UNLESS_ANSWERED = """
    ON CONFLICT (id) DO UPDATE SET
        content = excluded.content, status = excluded.status, input_tokens = excluded.input_tokens,
        output_tokens = excluded.output_tokens, total_tokens = excluded.total_tokens,
        latency_ms = excluded.latency_ms, created_at = excluded.created_at, request_id = excluded.request_id,
        cost_usd = excluded.cost_usd, replayed = excluded.replayed, finish_reason = excluded.finish_reason,
        error_class = excluded.error_class, error_message = excluded.error_message
    WHERE responses.status = 'failed'
"""


@dataclass(frozen=True)
class Answered:
    """A cell with its answer and scores, or why it has none."""

    cell: Cell
    outcome: CallOutcome | None
    scores: Scores | None
    error: HeadraceError | None = None


class ResponseStore:
    """Writes responses of one experiment.

    Args:
        run: it must still be this attempt's when a response is written.
    """

    def __init__(self, run: Run, experiment_id: str) -> None:
        self._run = run
        self._experiment_id = experiment_id
        self._waiting: deque[tuple[Answered, asyncio.Future[None]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.transactions = 0

    async def store(self, answered: Answered) -> None:
        """The response and its scores are durable.

        Raises:
            LeaseLost: another attempt has taken the run over.
            DatabaseUnavailable: Postgres is away; the ledger has the answer.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((answered, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="sweep-responses")
        await asyncio.shield(future)

    async def close(self) -> None:
        """What was handed in is written, or its callers were told."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHERING_SECONDS)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_BATCH))]
            try:
                await self._write([answered for answered, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # whoever waited may have been cancelled
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)

    async def _write(self, batch: Sequence[Answered]) -> None:
        self.transactions += 1
        with database_errors():
            async with self._run.ledger.engine.connect() as connection:
                own = await connection.execution_options(isolation_level="AUTOCOMMIT")
                await self._commit(own, batch)

    async def _commit(self, connection: AsyncConnection, batch: Sequence[Answered]) -> None:
        """Two round trips; nothing is written where the run is another attempt's by now."""
        rows = [response_row(self._experiment_id, answered) for answered in batch]
        scores = [row for answered in batch for row in score_rows(self._experiment_id, answered)]

        def commit(sync: Any) -> bool:
            script = Script(sync)
            held = script.add(HOLD_RUN, {"run": self._run.id, "attempt": self._run.attempt.id})
            if not held.rows:
                script.rollback()
                return False
            add_rows(script, "responses", rows, suffix=_UNLESS_ANSWERED)
            add_rows(script, "quality_metrics", scores, suffix="ON CONFLICT (id) DO NOTHING")
            script.commit()
            return True

        if not await connection.run_sync(commit):
            raise LeaseLost("another attempt has taken this run over; its responses are the ones that count")


def response_row(experiment_id: str, answered: Answered) -> Mapping[str, Any]:
    """The row in `responses`."""
    combination, outcome, error = answered.cell.combination, answered.outcome, answered.error
    parameters = dict(combination.parameters)
    usage = outcome.reply.usage if outcome else None
    return {
        "id": answered.cell.response_id(experiment_id),
        "experiment_id": experiment_id,
        "prompt": postgres_text(combination.prompt),
        "system_prompt": combination.system_prompt and postgres_text(combination.system_prompt),
        "content": postgres_text(outcome.reply.text) if outcome else None,
        "model": combination.model,
        **{name: None if name not in parameters else float(parameters[name]) for name in PARAMETERS},
        "max_tokens": int(parameters["max_tokens"]) if "max_tokens" in parameters else None,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "total_tokens": usage and usage.input_tokens + usage.output_tokens,
        "latency_ms": outcome and outcome.latency_ms,
        "created_at": datetime.now(UTC).isoformat(),
        "status": "succeeded" if outcome else "failed",
        "combination_key": answered.cell.combination_key,
        "repetition": answered.cell.repetition,
        "request_id": outcome and str(outcome.request_id),
        "cost_usd": outcome and outcome.cost_usd,
        "replayed": outcome and outcome.replayed,
        "finish_reason": outcome and outcome.reply.finish_reason and postgres_text(outcome.reply.finish_reason),
        "error_class": error and error.code,
        "error_message": error and postgres_text(str(error)),
    }


def score_rows(experiment_id: str, answered: Answered) -> list[Mapping[str, Any]]:
    """The rows in `quality_metrics`."""
    return metric_rows(answered.cell.response_id(experiment_id), answered.scores) if answered.scores else []


def metric_rows(response_id: str, scores: Scores) -> list[Mapping[str, Any]]:
    """The rows in `quality_metrics` of one response; the same scores have the same ids."""
    return [
        {
            "id": f"{response_id}/{scores.version}/{metric}",
            "response_id": response_id,
            "metric": metric,
            "score": score,
            "analysis_version": scores.version,
        }
        for metric, score in scores.values.items()
    ]
