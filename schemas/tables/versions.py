"""Versions of models for a purpose, tests between them, and the fine-tuning jobs that they come from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Identity, Index, Integer, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey


class FineTuningJob(Base):
    """A provider's job that a run waits for; its id is stored before the job is asked for the first time."""

    __tablename__ = "fine_tuning_jobs"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    base_model: Mapped[str]
    training_sha256: Mapped[str]
    training_file_id: Mapped[str | None]
    validation_file_id: Mapped[str | None]
    job_id: Mapped[str | None]
    status: Mapped[str | None]
    """As the provider said it last."""
    fine_tuned_model: Mapped[str | None]
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ModelVersion(Base):
    """A model that can answer calls of a purpose, and what it was made of."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("purpose", "number"),
        UniqueConstraint("run_id"),
        CheckConstraint("number >= 1", name="number_from_one"),
    )

    id: Mapped[IdKey]
    purpose: Mapped[str]
    number: Mapped[int] = mapped_column(Integer)
    model: Mapped[str]
    """LiteLLM name or named model."""
    base_model: Mapped[str | None]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    """The fine-tuning run that made it."""
    job_id: Mapped[str | None]
    training_path: Mapped[str | None]
    training_sha256: Mapped[str | None]
    training_rows: Mapped[int | None] = mapped_column(Integer)
    export_id: Mapped[str | None]
    """The training export that the rows are of; its manifest names the calls they came from."""
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    cost_usd: Mapped[Decimal | None]
    """What the training cost; NULL where it is not known."""
    notes: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class ModelPromotion(Base):
    """A version that was put in charge of its purpose; the latest that was not rolled back is in charge now."""

    __tablename__ = "model_promotions"
    __table_args__ = (
        Index("ix_model_promotions_standing", "purpose", "id", postgresql_where="rolled_back_at IS NULL"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    purpose: Mapped[str]
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id"))
    promoted_at: Mapped[CreatedAt]
    rolled_back_at: Mapped[datetime | None]


class AbTest(Base):
    """Variants that users are divided among; nothing of it but its end changes, so that who has which stays."""

    __tablename__ = "ab_tests"
    __table_args__ = (
        Index("uq_ab_tests_running", "purpose", unique=True, postgresql_where="stopped_at IS NULL"),
        UniqueConstraint("name"),
        CheckConstraint("minimum_effect > 0 AND minimum_effect < 1", name="effect_of_a_rate"),
        CheckConstraint("error_rate > 0 AND error_rate < 1", name="error_rate_of_a_test"),
    )

    id: Mapped[IdKey]
    name: Mapped[str]
    purpose: Mapped[str | None]
    """Whose calls it gives a model; NULL where the application itself does with a variant what it wants."""
    variants: Mapped[list[Any]]
    minimum_effect: Mapped[float] = mapped_column(Float(53))
    error_rate: Mapped[float] = mapped_column(Float(53))
    notes: Mapped[str | None]
    started_at: Mapped[CreatedAt]
    stopped_at: Mapped[datetime | None]
