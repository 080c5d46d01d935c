"""What people think of answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey
from schemas.tables.ledger import one_of
from schemas.tables.migration import Migrated


class Feedback(Migrated, Base):
    """One person's rating of one response; nobody's, where `user_id` is NULL, is one as well."""

    __tablename__ = "feedback"
    __table_args__ = (
        one_of("rating", "positive", "negative", "neutral"),
        UniqueConstraint("response_id", "user_id", postgresql_nulls_not_distinct=True),
        Index("ix_feedback_user_id_updated_at", "user_id", "updated_at"),
    )

    id: Mapped[IdKey] = mapped_column(server_default=func.gen_random_uuid())
    response_id: Mapped[UUID] = mapped_column(ForeignKey("llm_requests.id", ondelete="CASCADE"))
    """The request that answered, never a replay of it."""
    user_id: Mapped[str | None]
    rating: Mapped[str]
    notes: Mapped[str | None]
    categories: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    correction: Mapped[str | None]
    """What the response should have been, in full; JSON where it was to be JSON."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    attributes: Mapped[dict[str, Any] | None]
    """Of a row that was migrated: what has no column of its own."""
