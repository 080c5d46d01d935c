"""The ledger: what ran, what it asked of models, what that cost.

`workers` are processes, each with one lease that covers all it holds: the attempts it makes at runs
and the claims it has on answers. `llm_requests` is range-partitioned on its time-ordered id.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey
from schemas.tables.migration import Migrated


def one_of(column: str, *values: str) -> CheckConstraint:
    """A check that `column` holds one of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


class Worker(Base):
    """A process that works; alive while its lease lasts."""

    __tablename__ = "workers"

    id: Mapped[IdKey]
    host: Mapped[str]
    """Machine, boot and process namespace, so that a process id means one process."""
    pid: Mapped[int] = mapped_column(Integer)
    process_started: Mapped[float] = mapped_column(Float(53))
    lease_until: Mapped[datetime]
    started_at: Mapped[CreatedAt]


class Run(Migrated, Base):
    """One subject worked on by one flow; `attempt_id` names the only attempt whose writes count."""

    __tablename__ = "runs"
    __table_args__ = (
        one_of("status", "running", "completed", "failed", "cancelled", "crashed"),
        Index("ix_runs_project_started_at", "project", "started_at"),
        Index("ix_runs_flow_subject", "flow", "subject"),
        Index("ix_runs_started_at", "started_at"),
    )

    id: Mapped[IdKey]
    flow: Mapped[str]
    project: Mapped[str]
    subject: Mapped[str]
    variant: Mapped[str] = mapped_column(server_default="")
    status: Mapped[str] = mapped_column(server_default="running")
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    nonce: Mapped[str | None]
    """Part of every call key of a run started with `--fresh`; kept, so that its resume still replays."""
    progress: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    cost_usd: Mapped[Decimal | None]
    attempt_id: Mapped[UUID | None]
    started_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    attributes: Mapped[dict[str, Any] | None]
    """Of a row that was migrated: what has no column of its own."""


class RunAttempt(Base):
    """One execution of a run, by one worker."""

    __tablename__ = "run_attempts"

    id: Mapped[IdKey]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"), index=True)
    prefect_flow_run_id: Mapped[UUID | None] = mapped_column(index=True)
    started_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class Step(Migrated, Base):
    """One step of a run, addressed by the content it depends on."""

    __tablename__ = "steps"
    __table_args__ = (UniqueConstraint("run_id", "key"), one_of("status", "running", "completed", "failed"))

    id: Mapped[IdKey]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    name: Mapped[str]
    version: Mapped[str]
    ordinal: Mapped[int] = mapped_column(Integer)
    """Order of first start within the run; for display only."""
    key: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="running")
    attempts: Mapped[int] = mapped_column(Integer, server_default="1")
    model: Mapped[str | None]
    prompt_hash: Mapped[str | None]
    output: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    started_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    attributes: Mapped[dict[str, Any] | None]
    """Of a row that was migrated: what has no column of its own."""


class Answer(Base):
    """The single flight of a call key: who is answering it, or which request answered it."""

    __tablename__ = "answers"
    __table_args__ = (
        one_of("status", "claimed", "answered"),
        Index("ix_answers_claimed_by", "worker_id", postgresql_where="status = 'claimed'"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    request_id: Mapped[UUID]
    """The request that answered; while claimed, the attempt in flight."""
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"))
    claimed_at: Mapped[CreatedAt]
    answered_at: Mapped[datetime | None]


class LlmRequest(Migrated, Base):
    """One attempt at a provider call, written before it is made; or, with a `source`, one that an application made."""

    __tablename__ = "llm_requests"
    __table_args__ = (
        one_of("kind", "chat", "embedding", "image", "search", "rerank"),
        one_of("status", "reserved", "succeeded", "failed", "unknown", "replayed"),
        one_of("cost_source", "provider", "price_table", "local", "unpriced"),
        Index("ix_llm_requests_run_id", "run_id"),
        Index("ix_llm_requests_answer_key", "answer_key"),
        Index("ix_llm_requests_project_created_at", "project", "created_at"),
        Index("ix_llm_requests_user_id_id", "user_id", "id"),
        Index("ix_llm_requests_open", "worker_id", postgresql_where="status = 'reserved'"),
        Index("ix_llm_requests_of_conversations", "created_at", postgresql_where="context ? 'conversation_id'"),
        Index("ix_llm_requests_of_ab_tests", "created_at", postgresql_where="context ? 'ab_tests'"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[IdKey]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    step_id: Mapped[UUID | None] = mapped_column(ForeignKey("steps.id", ondelete="SET NULL"))
    worker_id: Mapped[UUID]
    answer_key: Mapped[str]
    attempt: Mapped[int] = mapped_column(SmallInteger)
    project: Mapped[str]
    user_id: Mapped[str | None]
    kind: Mapped[str]
    purpose: Mapped[str | None]
    """What the call is for (`generate`, `review`); the old `cost_tracking.step`."""
    provider: Mapped[str]
    model: Mapped[str]
    """The model asked."""
    answered_model: Mapped[str | None]
    request: Mapped[dict[str, Any] | None]
    response: Mapped[dict[str, Any] | None]
    status: Mapped[str]
    replayed_from: Mapped[UUID | None]
    input_tokens: Mapped[int | None] = mapped_column(Integer)
    output_tokens: Mapped[int | None] = mapped_column(Integer)
    cached_input_tokens: Mapped[int | None] = mapped_column(Integer)
    reasoning_tokens: Mapped[int | None] = mapped_column(Integer)
    reserved_usd: Mapped[Decimal | None]
    cost_usd: Mapped[Decimal | None]
    """NULL where it is not known; 0 only where the call was free."""
    saved_usd: Mapped[Decimal | None]
    """Of a replay: what the answer had cost; NULL where that is not known."""
    cost_source: Mapped[str]
    budget_scopes: Mapped[list[Any]] = mapped_column(server_default="[]")
    """The `budget_usage` rows that hold the reservation; settlement goes to the same rows."""
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    finish_reason: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None]
    provider_request_id: Mapped[str | None]
    context: Mapped[dict[str, Any] | None]
    insight_type: Mapped[str | None]
    model_version: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    attributes: Mapped[dict[str, Any] | None]
    """Of a row that was migrated: what has no column of its own."""


class LlmBody(Base):
    """The exact bytes sent and received, deflated (RFC 1950); without credentials, which are headers.

    `reply` is the answer as it was understood, whatever the provider's format: what a replay returns.
    """

    __tablename__ = "llm_bodies"

    request_id: Mapped[UUID] = mapped_column(ForeignKey("llm_requests.id", ondelete="CASCADE"), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary)
    response: Mapped[bytes | None] = mapped_column(LargeBinary)
    reply: Mapped[bytes | None] = mapped_column(LargeBinary)


class Budget(Base):
    """Limits on what a project, user or run may spend in a period; no row means no limit is set."""

    __tablename__ = "budgets"
    __table_args__ = (
        one_of("scope_kind", "project", "user", "run"),
        one_of("period", "day", "month", "total"),
        CheckConstraint("limit_usd >= 0", name="limit_not_negative"),
        CheckConstraint("warn_usd >= 0", name="warn_not_negative"),
    )

    scope_kind: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    limit_usd: Mapped[Decimal | None]
    """Hard: what does not fit is refused; NULL where nothing is."""
    warn_usd: Mapped[Decimal | None]
    """Soft: once so much is spent, that is said, once a period."""
    updated_at: Mapped[CreatedAt]


class BudgetUsage(Base):
    """What is reserved and spent in one period; `spent + reserved` never passes the limit."""

    __tablename__ = "budget_usage"

    scope_kind: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    reserved_usd: Mapped[Decimal] = mapped_column(server_default="0")
    spent_usd: Mapped[Decimal] = mapped_column(server_default="0")


class RateWindow(Base):
    """When a user's latest requests were admitted; those of the last minute count against their limit."""

    __tablename__ = "rate_windows"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    admitted: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)), server_default="{}")


class BudgetAlert(Base):
    """A soft limit that was reached, once a period and amount; kept, so that any channel can tell of it later."""

    __tablename__ = "budget_alerts"

    scope_kind: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[str] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    warn_usd: Mapped[Decimal] = mapped_column(primary_key=True)
    spent_usd: Mapped[Decimal]
    """What was spent when it was reached."""
    alerted_at: Mapped[CreatedAt]
