"""The prompt laboratory: experiments over ranges of sampling parameters, what models answered, how good that was."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base
from schemas.tables.ledger import one_of
from schemas.tables.migration import Migrated

DOUBLE = Float(53)


class _Kept(Migrated):
    """A row with what has no column of its own."""

    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class Experiment(_Kept, Base):
    """A prompt and the ranges of parameters to try it with; of a sweep of ours, `spec` says all of it."""

    __tablename__ = "experiments"
    __table_args__ = (
        one_of("status", "pending", "running", "completed", "failed", "cancelled"),
        Index("ix_experiments_created_at", "created_at"),
        Index("ix_experiments_tags", "tags", postgresql_using="gin"),
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
    run_id: Mapped[UUID | None] = mapped_column(index=True)
    """The run that asks; no key, as runs may be deleted. These are NULL on experiments of the older laboratory:"""
    project: Mapped[str | None]
    spec: Mapped[dict[str, Any] | None]
    """A `SweepSpec`, with the models that were configured where it names none."""
    total_combinations: Mapped[int | None] = mapped_column(Integer)
    total_calls: Mapped[int | None] = mapped_column(Integer)
    """Of the whole grid; an adaptive strategy asks fewer."""
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    is_favourite: Mapped[bool] = mapped_column(server_default=text("false"))
    archived_at: Mapped[datetime | None]


class Response(_Kept, Base):
    """What a model answered with one combination of parameters, or why it did not."""

    __tablename__ = "responses"
    __table_args__ = (
        one_of("status", "succeeded", "failed"),
        CheckConstraint("content IS NOT NULL OR error_class IS NOT NULL", name="content"),
        Index(
            "uq_responses_cell",
            "experiment_id",
            "combination_key",
            "repetition",
            unique=True,
            postgresql_where="combination_key IS NOT NULL",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), index=True)
    prompt: Mapped[str | None]
    content: Mapped[str | None]
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
    status: Mapped[str] = mapped_column(server_default="succeeded")
    system_prompt: Mapped[str | None]
    combination_key: Mapped[str | None]
    """SHA-256 of the prompts, the model and the parameters; NULL on responses of the older laboratory."""
    repetition: Mapped[int | None] = mapped_column(Integer)
    request_id: Mapped[UUID | None] = mapped_column(index=True)
    """Row of `llm_requests`; its `attempt` tells how often the provider was asked."""
    cost_usd: Mapped[Decimal | None]
    replayed: Mapped[bool | None]
    """The ledger had the answer; nothing was paid for it this time."""
    finish_reason: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None]


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
