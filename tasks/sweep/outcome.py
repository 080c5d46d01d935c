"""What came of a sweep, as on record."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from schemas.sweep import PARAMETERS
from schemas.sweep_results import Best, SweepReport
from tasks.sweep.attempts import read_attempts
from tasks.sweep.grid import Grid
from tasks.sweep.passes.reading import read_passes
from tasks.sweep.quality.scoring import OVERALL, VERSION

MOST_BEST = 10

_SCORED = f"""
    FROM responses JOIN quality_metrics
        ON response_id = responses.id AND metric = '{OVERALL}' AND analysis_version = '{VERSION}'
    WHERE experiment_id = :id
"""
_BEST = text(f"""
    SELECT responses.model, responses.system_prompt, {", ".join(f"responses.{name}" for name in PARAMETERS)},
           avg(score) AS score, count(*) AS responses
    {_SCORED}
    GROUP BY responses.model, responses.system_prompt, {", ".join(f"responses.{name}" for name in PARAMETERS)}
    ORDER BY score DESC, responses.model, responses.system_prompt,
             {", ".join(f"responses.{name}" for name in PARAMETERS)}
    LIMIT :most
""")
_MEAN = text(f"SELECT avg(score) {_SCORED}")
_COUNTS = text("""
    SELECT count(*) AS stored, count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE replayed) AS replayed, count(DISTINCT combination_key) AS combinations,
           CASE WHEN bool_or(status = 'succeeded' AND cost_usd IS NULL) THEN NULL
                ELSE coalesce(sum(cost_usd), 0) END AS cost_usd
    FROM responses WHERE experiment_id = :id
""")
_FAILURES = text("""
    SELECT error_class, count(*) AS count FROM responses WHERE experiment_id = :id AND status = 'failed'
    GROUP BY error_class ORDER BY count DESC, error_class
""")


def read_report(connection: Connection, run_id: UUID, grid: Grid, *, asked: int, seconds: float) -> SweepReport:
    """The report of the experiment of `run_id`; `asked` is how many cells the strategy wanted."""
    values: dict[str, Any] = {"id": str(run_id), "most": MOST_BEST}
    counts = connection.execute(_COUNTS, values).one()
    attempts = read_attempts(connection, str(run_id), run_id)
    return SweepReport(
        run_id=run_id,
        experiment_id=str(run_id),
        name=grid.spec.name,
        strategy=grid.spec.strategy.name,
        combinations=counts.combinations,
        asked=asked,
        saved=grid.calls - asked,
        stored=counts.stored,
        failed=counts.failed,
        replayed=counts.replayed,
        mean_score=connection.execute(_MEAN, values).scalar_one(),
        best=tuple(_best(row) for row in connection.execute(_BEST, values)),
        failures={row.error_class: row.count for row in connection.execute(_FAILURES, values)},
        cost_usd=counts.cost_usd,
        seconds=round(seconds, 3),
        saved_usd=attempts.saved_usd,
        retried=attempts.retried,
        **read_passes(connection, str(run_id), run_id, grid.spec.model_dump(mode="json")),
    )


def _best(row: Row[Any]) -> Best:
    parameters: dict[str, float] = {name: getattr(row, name) for name in PARAMETERS if getattr(row, name) is not None}
    return Best(
        model=row.model,
        system_prompt=row.system_prompt,
        parameters=parameters,
        score=row.score,
        responses=row.responses,
    )
