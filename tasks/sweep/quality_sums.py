"""Sums of scores by experiment, day, model and metric: what trends are read from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, text

_SUMS = text("""
    INSERT INTO quality_analytics (id, experiment_id, analysis_version, day, model, metric, responses, mean, deviation,
                                   lowest, highest, cost_usd, latency_ms)
    SELECT gen_random_uuid(), experiment_id, analysis_version, (responses.created_at AT TIME ZONE 'UTC')::date,
           coalesce(responses.model, experiments.model), metric, count(*), avg(score), stddev_samp(score), min(score),
           max(score), sum(cost_usd), avg(latency_ms)
    FROM responses JOIN experiments ON experiments.id = experiment_id
    JOIN quality_metrics ON response_id = responses.id
    WHERE experiment_id = ANY(:experiments) AND responses.status = 'succeeded'
    GROUP BY experiment_id, analysis_version, (responses.created_at AT TIME ZONE 'UTC')::date,
             coalesce(responses.model, experiments.model), metric
""")
_LOCK = text("SELECT id FROM experiments WHERE id = ANY(:experiments) ORDER BY id FOR NO KEY UPDATE")
_CLEAR = text("DELETE FROM quality_analytics WHERE experiment_id = ANY(:experiments)")
_WITHIN = text("""
    SELECT DISTINCT experiment_id FROM responses
    WHERE (CAST(:since AS date) IS NULL OR created_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC')
      AND (CAST(:until AS date) IS NULL OR created_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC')
""")


def sum_experiments(connection: Connection, experiments: Sequence[str]) -> None:
    """`quality_analytics` has the sums of these experiments as their scores are now."""
    chosen = {"experiments": sorted(experiments)}
    connection.execute(_LOCK, chosen)
    connection.execute(_CLEAR, chosen)
    connection.execute(_SUMS, chosen)


def experiments_within(connection: Connection, since: date | None, until: date | None) -> list[str]:
    """Experiments with responses on these days, both included; None: without end."""
    return list(connection.execute(_WITHIN, {"since": since, "until": until}).scalars())
