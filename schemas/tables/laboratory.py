"""The prompt laboratory: experiments over ranges of sampling parameters, what models answered, how good that was."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base
from schemas.tables.ledger import one_of
from schemas.tables.migration import Migrated

DOUBLE = Float(53)


class _Kept(Migrated):
    """A row with what has no column of its own."""

    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class Experiment(_Kept, Base):
    """A prompt and the ranges of parameters to try it with."""

    __tablename__ = "experiments"
    __table_args__ = (
        one_of("status", "pending", "running", "completed", "failed", "cancelled"),
        Index("ix_experiments_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    prompt: Mapped[str]
    status: Mapped[str]
    model: Mapped[str | None]
    temperature_min: Mapped[float | None] = mapped_column(DOUBLE)
    temperature_max: Mapped[float | None] = mapped_column(DOUBLE)
    temperature_step: Mapped[float | None] = mapped_column(DOUBLE)
    top_p_min: Mapped[float | None] = mapped_column(DOUBLE)
    top_p_max: Mapped[float | None] = mapped_column(DOUBLE)
    top_p_step: Mapped[float | None] = mapped_column(DOUBLE)
    frequency_penalty_min: Mapped[float | None] = mapped_column(DOUBLE)
    frequency_penalty_max: Mapped[float | None] = mapped_column(DOUBLE)
    presence_penalty_min: Mapped[float | None] = mapped_column(DOUBLE)
    presence_penalty_max: Mapped[float | None] = mapped_column(DOUBLE)
    max_tokens: Mapped[int | None] = mapped_column(Integer)
    response_count: Mapped[int | None] = mapped_column(Integer)
    """How often each combination is asked."""
    error_message: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class Response(_Kept, Base):
    """What a model answered with one combination of parameters."""

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), index=True)
    prompt: Mapped[str | None]
    content: Mapped[str]
    model: Mapped[str | None]
    temperature: Mapped[float | None] = mapped_column(DOUBLE)
    top_p: Mapped[float | None] = mapped_column(DOUBLE)
    frequency_penalty: Mapped[float | None] = mapped_column(DOUBLE)
    presence_penalty: Mapped[float | None] = mapped_column(DOUBLE)
    max_tokens: Mapped[int | None] = mapped_column(Integer)
    input_tokens: Mapped[int | None] = mapped_column(Integer)
    output_tokens: Mapped[int | None] = mapped_column(Integer)
    total_tokens: Mapped[int | None] = mapped_column(Integer)
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime]


class QualityMetric(_Kept, Base):
    """One score of one response; scores of different `analysis_version` are not to be compared."""

    __tablename__ = "quality_metrics"
    __table_args__ = (
        CheckConstraint("score BETWEEN 0 AND 1", name="score_range"),
        Index("ix_quality_metrics_metric_analysis_version", "metric", "analysis_version"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    response_id: Mapped[str] = mapped_column(ForeignKey("responses.id"), index=True)
    metric: Mapped[str]
    score: Mapped[float] = mapped_column(DOUBLE)
    analysis_version: Mapped[str]
    created_at: Mapped[datetime | None]
