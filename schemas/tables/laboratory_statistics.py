"""What is concluded from the laboratory's experiments; all of it can be computed anew from responses and scores."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Integer, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey

DOUBLE = Float(53)


def _experiment() -> ForeignKey:
    """Of the experiment, with which all of it goes."""
    return ForeignKey("experiments.id", ondelete="CASCADE")


class SweepAnalysisRow(Base):
    """All that was concluded from an experiment by the scores of one version: a `SweepAnalysis`."""

    __tablename__ = "sweep_analyses"

    experiment_id: Mapped[str] = mapped_column(_experiment(), primary_key=True)
    analysis_version: Mapped[str] = mapped_column(primary_key=True)
    analysis: Mapped[dict[str, Any]]
    created_at: Mapped[CreatedAt]


class ParameterInsightRow(Base):
    """What a parameter does to a metric, as `ParameterInsight` says it; numbers of scores are 0 to 1."""

    __tablename__ = "parameter_insights"
    __table_args__ = (
        UniqueConstraint(
            "experiment_id", "analysis_version", "parameter", "metric", name="uq_parameter_insights_insight"
        ),
    )

    id: Mapped[IdKey]
    experiment_id: Mapped[str] = mapped_column(_experiment())
    analysis_version: Mapped[str]
    parameter: Mapped[str]
    metric: Mapped[str]
    sample_size: Mapped[int] = mapped_column(Integer)
    """Means that were compared; `unit` says of what."""
    unit: Mapped[str]
    responses: Mapped[int] = mapped_column(Integer)
    p_value: Mapped[float | None] = mapped_column(DOUBLE)
    p_adjusted: Mapped[float | None] = mapped_column(DOUBLE)
    significant: Mapped[bool]
    pearson: Mapped[float | None] = mapped_column(DOUBLE)
    pearson_low: Mapped[float | None] = mapped_column(DOUBLE)
    pearson_high: Mapped[float | None] = mapped_column(DOUBLE)
    pearson_p_adjusted: Mapped[float | None] = mapped_column(DOUBLE)
    spearman: Mapped[float | None] = mapped_column(DOUBLE)
    spearman_p_adjusted: Mapped[float | None] = mapped_column(DOUBLE)
    strength: Mapped[str | None]
    best_value: Mapped[str | None]
    best_mean: Mapped[float | None] = mapped_column(DOUBLE)
    best_low: Mapped[float | None] = mapped_column(DOUBLE)
    best_high: Mapped[float | None] = mapped_column(DOUBLE)
    best_probability: Mapped[float | None] = mapped_column(DOUBLE)
    recommended: Mapped[list[str]] = mapped_column(ARRAY(Text))
    difference: Mapped[float] = mapped_column(DOUBLE)
    more_responses: Mapped[int | None] = mapped_column(Integer)
    sentence: Mapped[str]
    created_at: Mapped[CreatedAt]


class QualityAnalytics(Base):
    """Scores of a metric that answers of one model got in an experiment on a day, in UTC."""

    __tablename__ = "quality_analytics"
    __table_args__ = (
        UniqueConstraint(
            "experiment_id",
            "analysis_version",
            "day",
            "model",
            "metric",
            name="uq_quality_analytics_sums",
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_quality_analytics_day", "day"),
    )

    id: Mapped[IdKey]
    experiment_id: Mapped[str] = mapped_column(_experiment())
    analysis_version: Mapped[str]
    day: Mapped[date]
    model: Mapped[str | None]
    metric: Mapped[str]
    responses: Mapped[int] = mapped_column(Integer)
    mean: Mapped[float] = mapped_column(DOUBLE)
    deviation: Mapped[float | None] = mapped_column(DOUBLE)
    """Standard deviation of single responses; NULL of one."""
    lowest: Mapped[float] = mapped_column(DOUBLE)
    highest: Mapped[float] = mapped_column(DOUBLE)
    cost_usd: Mapped[Decimal | None]
    latency_ms: Mapped[float | None] = mapped_column(DOUBLE)
    created_at: Mapped[CreatedAt]
