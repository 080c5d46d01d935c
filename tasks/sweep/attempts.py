"""What became of the single attempts at a sweep's calls: retried, replayed, failed once or for good.

Each attempt is a row of `llm_requests`, whose `context` names the response that it was made for.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from schemas.sweep_results import FailedAttempts, FailedResponses
from tasks.sweep.cells import PURPOSE

_REQUESTS = text("""
    SELECT count(*) FILTER (WHERE attempt > 1 AND responses.status = 'succeeded') AS retried,
           sum(saved_usd) FILTER (WHERE replayed) AS saved_usd
    FROM responses JOIN llm_requests ON llm_requests.id = request_id WHERE experiment_id = :experiment
""")
_FAILED_RESPONSES = text("""
    SELECT model, error_class AS reason, min(error_message) AS message, count(*) AS responses
    FROM responses WHERE experiment_id = :experiment AND status = 'failed'
    GROUP BY model, error_class ORDER BY count(*) DESC, model, error_class
""")
# What a process that died had on its way is unknown: it may have been answered, and paid for.
_FAILED_ATTEMPTS = text("""
    SELECT failed.model, failed.error_class AS reason, min(failed.error_message) AS message, count(*) AS attempts,
           count(DISTINCT context ->> 'response_id') AS responses,
           count(DISTINCT responses.id) FILTER (WHERE responses.status = 'succeeded') AS answered
    FROM llm_requests AS failed
    LEFT JOIN responses ON responses.id = context ->> 'response_id' AND experiment_id = :experiment
    WHERE failed.run_id = :run AND failed.purpose = :purpose AND failed.status IN ('failed', 'unknown')
    GROUP BY failed.model, failed.error_class ORDER BY count(*) DESC, failed.model, failed.error_class
""")


class Attempts(BaseModel):
    """As in `SweepStatus`."""

    model_config = ConfigDict(frozen=True)

    saved_usd: Decimal | None
    retried: int
    failed_responses: tuple[FailedResponses, ...]
    failed_attempts: tuple[FailedAttempts, ...]


def read_attempts(connection: Connection, experiment_id: str, run_id: UUID | None) -> Attempts:
    """What became of the attempts at the calls of an experiment.

    Args:
        run_id: None of an experiment of the older laboratory, of whose attempts nothing is known.
    """
    values = {"experiment": experiment_id, "run": run_id, "purpose": PURPOSE}
    requests = connection.execute(_REQUESTS, values).one()
    failed = connection.execute(_FAILED_RESPONSES, values)
    attempts = connection.execute(_FAILED_ATTEMPTS, values)
    return Attempts(
        saved_usd=requests.saved_usd,
        retried=requests.retried,
        failed_responses=tuple(FailedResponses.model_validate(dict(row._mapping)) for row in failed),
        failed_attempts=tuple(FailedAttempts.model_validate(dict(row._mapping)) for row in attempts),
    )
