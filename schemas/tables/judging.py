"""What a model said of two answers of an experiment."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt
from schemas.tables.ledger import one_of

VERDICTS = ("first", "second", "tie")


def _response() -> ForeignKey:
    return ForeignKey("responses.id", ondelete="CASCADE")


class JudgeVerdictRow(Base):
    """Two responses to one prompt, compared in both orders; "first" is the response `first_id` in either."""

    __tablename__ = "judge_verdicts"
    __table_args__ = (
        one_of("forward", *VERDICTS),
        one_of("backward", *VERDICTS),
        Index("ix_judge_verdicts_first_id", "first_id"),
        Index("ix_judge_verdicts_second_id", "second_id"),
    )

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    analysis_version: Mapped[str] = mapped_column(primary_key=True)
    """Of the judge; its scores in `quality_metrics` have the same."""
    first_id: Mapped[str] = mapped_column(_response(), primary_key=True)
    second_id: Mapped[str] = mapped_column(_response(), primary_key=True)
    forward: Mapped[str | None]
    """Where `first_id` was shown first; NULL, as in `backward`, where the judge gave no verdict."""
    backward: Mapped[str | None]
    forward_request_id: Mapped[UUID | None]
    """Row of `llm_requests`; NULL where the answers are equal and nobody was asked."""
    backward_request_id: Mapped[UUID | None]
    created_at: Mapped[CreatedAt]
