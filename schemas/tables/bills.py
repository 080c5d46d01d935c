"""Bills as read, their sections, and what analyses found in them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey


class Bill(Base):
    """One text of one bill; a changed text under the same name is a row of its own."""

    __tablename__ = "bills"
    __table_args__ = (UniqueConstraint("jurisdiction", "bill_id", "session", "text_sha256"),)

    id: Mapped[IdKey]
    jurisdiction: Mapped[str]
    bill_id: Mapped[str]
    session: Mapped[str]
    title: Mapped[str | None]
    source: Mapped[str]
    media_type: Mapped[str]
    text: Mapped[str]
    text_sha256: Mapped[str]
    created_at: Mapped[CreatedAt]


class BillSection(Base):
    """A section of a bill with its place in the text; the stored corpus searches these."""

    __tablename__ = "bill_sections"
    __table_args__ = (Index("ix_bill_sections_words", "words", postgresql_using="gin"),)

    bill_id: Mapped[UUID] = mapped_column(ForeignKey("bills.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    label: Mapped[str | None]
    heading: Mapped[str | None]
    start: Mapped[int] = mapped_column(Integer)
    end: Mapped[int] = mapped_column(Integer)
    text: Mapped[str]
    words: Mapped[Any] = mapped_column(
        TSVECTOR, Computed("to_tsvector('english'::regconfig, left(text, 200000))", persisted=True)
    )


class BillAnalysis(Base):
    """The outcome of one run over one bill: every round, the one that stands, and its evidence."""

    __tablename__ = "bill_analyses"
    __table_args__ = (CheckConstraint("quality_score >= 0 AND quality_score <= 1", name="quality_score_range"),)

    id: Mapped[IdKey]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), unique=True)
    bill_id: Mapped[UUID] = mapped_column(ForeignKey("bills.id"), index=True)
    models: Mapped[dict[str, Any]]
    research: Mapped[dict[str, Any]]
    analysis: Mapped[dict[str, Any]]
    review: Mapped[dict[str, Any]]
    rounds: Mapped[list[Any]]
    coverage: Mapped[dict[str, Any]]
    """Which spans of the text which calls read."""
    passed: Mapped[bool] = mapped_column(Boolean)
    quality_score: Mapped[Decimal] = mapped_column(Numeric(5, 4))
    report: Mapped[str]
    created_at: Mapped[CreatedAt]
