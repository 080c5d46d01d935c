"""How far sweeps are, as on record: at most as old as the answer that came last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from schemas.sweep import PARAMETERS
from schemas.sweep_results import SweepStatus
from tasks.sweep.attempts import read_attempts
from tasks.sweep.experiments import STATUS_NOW, WHO_ASKS
from tasks.sweep.finding import find_experiment
from tasks.sweep.passes.reading import read_passes
from tasks.sweep.progress import RECENT
from tasks.sweep.quality.scoring import OVERALL, VERSION

_EXPERIMENT = text(f"""
    SELECT experiments.*, {STATUS_NOW} AS status_now,
           experiments.status = 'running' AND workers.lease_until < clock_timestamp() AS crashed
    FROM experiments {WHO_ASKS} WHERE experiments.id = :id
""")
_COUNTS = text("""
    SELECT count(*) AS responses, count(*) FILTER (WHERE responses.status = 'failed') AS failed,
           count(*) FILTER (WHERE replayed) AS replayed, max(score) AS best, avg(score) AS mean,
           count(DISTINCT combination_key) AS combinations,
           CASE WHEN bool_or(responses.status = 'succeeded' AND cost_usd IS NULL) THEN NULL
                ELSE coalesce(sum(cost_usd), 0) END AS cost_usd
    FROM responses LEFT JOIN quality_metrics
        ON response_id = responses.id AND metric = :overall AND analysis_version = :version
    WHERE experiment_id = :id
""")
_LATEST = text("SELECT * FROM responses WHERE experiment_id = :id ORDER BY created_at DESC LIMIT :recent")


def read_status(connection: Connection, said: str) -> SweepStatus:
    """How far the experiment with this id or name is.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    values = {"id": find_experiment(connection, said), "overall": OVERALL, "version": VERSION, "recent": RECENT}
    experiment = connection.execute(_EXPERIMENT, values).one()
    counts = connection.execute(_COUNTS, values).one()
    latest = connection.execute(_LATEST, values).all()
    total = experiment.total_calls or counts.responses
    running = experiment.status_now == "running"
    done = 100.0 if experiment.status_now == "completed" else 100.0 * counts.responses / total if total else 0.0
    return SweepStatus(
        experiment_id=experiment.id,
        name=experiment.name,
        status=experiment.status_now,
        progress=round(min(100.0, done), 1),
        total_combinations=experiment.total_combinations or counts.combinations,
        completed_combinations=_completed(experiment, counts),
        total_calls=total,
        completed_calls=counts.responses,
        failed_calls=counts.failed,
        replayed=counts.replayed,
        current_parameters=_parameters(latest[0]) if latest else {},
        estimated_completion=_estimate(latest, total - counts.responses)
        if running and total > counts.responses
        else None,
        best_score=counts.best,
        mean_score=counts.mean,
        cost_usd=counts.cost_usd,
        error_message=_trouble(experiment),
        **read_attempts(connection, experiment.id, experiment.run_id).model_dump(),
        **read_passes(connection, experiment.id, experiment.run_id, experiment.spec),
    )


def _completed(experiment: Row[Any], counts: Row[Any]) -> int:
    """Combinations that have all their repetitions, as the old API counted them."""
    return int(counts.responses // max(1, experiment.response_count or 1))


def _trouble(experiment: Row[Any]) -> str | None:
    if experiment.crashed:
        return f"the process that asked is gone: `headrace resume {experiment.run_id}` goes on"
    said: str | None = experiment.error_message
    return said


def _parameters(response: Row[Any]) -> dict[str, Any]:
    """What the response was asked with."""
    set_ones: dict[str, Any] = {
        name: getattr(response, name) for name in PARAMETERS if getattr(response, name) is not None
    }
    return {"model": response.model, **set_ones, "repetition": response.repetition}


def _estimate(latest: Sequence[Row[Any]], left: int) -> datetime | None:
    """By the pace of the latest answers; None where that leads to no day of any calendar."""
    if len(latest) < 2:
        return None
    span = (latest[0].created_at - latest[-1].created_at) / (len(latest) - 1)
    try:
        return datetime.now(UTC) + span * left if span > timedelta(0) else None
    except OverflowError:
        return None
