"""How scores went from day to day over experiments, by model and metric."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.sweep_statistics import QualityTrend, QualityTrends, TrendPoint
from tasks.ledger.session import open_ledger
from tasks.sweep.quality_sums import experiments_within, sum_experiments
from tasks.sweep.statistics.multiplicity import adjust_benjamini_hochberg
from tasks.sweep.statistics.sentences import between, name_of, p_text, points
from tasks.sweep.statistics.trend import FEWEST_DAYS, Slope, best_period, fit_trend

_DAYS = text("""
    SELECT analysis_version, model, metric, day, sum(responses)::int AS responses,
           sum(mean * responses) / sum(responses) AS mean, min(lowest) AS lowest, max(highest) AS highest
    FROM quality_analytics
    WHERE experiment_id = ANY(:experiments)
      AND (CAST(:since AS date) IS NULL OR day >= :since) AND (CAST(:until AS date) IS NULL OR day <= :until)
      AND (cardinality(CAST(:models AS text[])) = 0 OR model = ANY(:models))
      AND (cardinality(CAST(:metrics AS text[])) = 0 OR metric = ANY(:metrics))
      AND (:version = '' OR analysis_version = :version)
    GROUP BY analysis_version, model, metric, day
    ORDER BY analysis_version DESC, (metric = 'overall') DESC, metric, model NULLS FIRST, day
""")


@dataclass(frozen=True)
class TrendQuestion:
    """What trends are asked for; empty: all.

    Attributes:
        since, until: first and last day, in UTC.
        analysis_version: of the scores; those of different versions have trends of their own.
    """

    since: date | None = None
    until: date | None = None
    models: Sequence[str] = field(default=())
    metrics: Sequence[str] = field(default=())
    analysis_version: str = ""


async def measure_trends(question: TrendQuestion) -> QualityTrends:
    """The trends of scores as they are now; the sums that these are read from are brought up to date.

    Raises:
        BadInput: the days are in the wrong order.
    """
    if question.since and question.until and question.since > question.until:
        raise BadInput(f"--since {question.since} is after --until {question.until}")
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                experiments = await connection.run_sync(_bring_up_to_date, question)
                rows = await connection.run_sync(_read_days, question, experiments)
    trends = await asyncio.to_thread(find_trends, rows)
    of_one = {(trend.model, trend.analysis_version): trend for trend in reversed(trends)}.values()
    return QualityTrends(
        since=question.since,
        until=question.until,
        experiments=len(experiments),
        responses=sum(point.responses for trend in of_one for point in trend.points),
        trends=tuple(trends),
        made_at=datetime.now(UTC),
    )


def _bring_up_to_date(connection: Connection, question: TrendQuestion) -> list[str]:
    experiments = experiments_within(connection, question.since, question.until)
    sum_experiments(connection, experiments)
    return experiments


def _read_days(connection: Connection, question: TrendQuestion, experiments: list[str]) -> list[Any]:
    values = {
        "experiments": experiments,
        "since": question.since,
        "until": question.until,
        "models": list(question.models),
        "metrics": list(question.metrics),
        "version": question.analysis_version,
    }
    return list(connection.execute(_DAYS, values).all())


def find_trends(rows: Iterable[Any]) -> list[QualityTrend]:
    """A trend for each run of rows of one version, metric and model, in their order; days ascend in each."""
    series = [
        (key, tuple(_point(row) for row in group))
        for key, group in groupby(rows, key=lambda row: (row.analysis_version, row.metric, row.model))
    ]
    slopes = [fit_trend([p.day for p in days], [p.mean for p in days]) for _, days in series]
    p_values = np.array([np.nan if slope is None else slope.p_value for slope in slopes])
    p_adjusted = adjust_benjamini_hochberg(p_values)
    return [
        _trend(key, days, slope, None if np.isnan(p) else round(float(p), 12))
        for (key, days), slope, p in zip(series, slopes, p_adjusted, strict=True)
    ]


def _point(row: Any) -> TrendPoint:
    return TrendPoint(
        day=row.day, responses=row.responses, mean=round(row.mean, 12), lowest=row.lowest, highest=row.highest
    )


def _trend(
    key: tuple[str, str, str | None], days: tuple[TrendPoint, ...], slope: Slope | None, p_adjusted: float | None
) -> QualityTrend:
    version, metric, model = key
    made = QualityTrend(
        model=model,
        metric=metric,
        analysis_version=version,
        points=days,
        slope_per_day=round(slope.per_day, 12) if slope else None,
        interval=slope.interval if slope else None,
        p_value=slope.p_value if slope else None,
        p_adjusted=p_adjusted,
        direction=slope.direction if slope else "none shown",
        best_day=max(days, key=lambda point: (point.mean, -point.day.toordinal())).day,
        best_period=best_period(days),
        sentence="",
    )
    return made.model_copy(update={"sentence": tell(made)})


def tell(trend: QualityTrend) -> str:
    """The trend as a sentence."""
    of = f"{name_of(trend.metric)} of {trend.model or 'the unnamed model'}"
    best = trend.best_period
    when = f"on {best.since}" if best.since == best.until else f"from {best.since} to {best.until}"
    best_was = f"it was best {when} ({points(best.mean)}, {best.responses} responses)"
    if trend.slope_per_day is None or trend.interval is None or trend.p_adjusted is None:
        days = f"{len(trend.points)} day{'s' if len(trend.points) > 1 else ''}"
        return f"{of}: {days} with responses say nothing of a trend, {FEWEST_DAYS} could; {best_was}."
    if trend.direction == "none shown":
        return (
            f"{of}: no trend can be shown ({between(trend.interval, 2)} a day, {p_text(trend.p_adjusted)}); {best_was}."
        )
    return (
        f"{of} is {trend.direction} by {points(abs(trend.slope_per_day), 2)} a day "
        f"({between(trend.interval, 2)}, {p_text(trend.p_adjusted)}); {best_was}."
    )
