"""What a migration remembers: what it refused, what it changed, how far it got; and where a row came from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt


class Migrated:
    """Where a row came from; all NULL on rows that an application wrote itself."""

    source: Mapped[str | None]
    """Name of the source; rows of one source are never changed by a migration of another."""
    content_hash: Mapped[int | None] = mapped_column(BigInteger)
    """Of the columns as they were loaded; another value computed now means that the row was changed by hand."""
    migration_run_id: Mapped[UUID | None]
    """The run that inserted the row or changed it last; no key, as runs may be deleted."""


class SourceRecord(Migrated, Base):
    """A record of a source whose table has no counterpart here, kept as it came."""

    __tablename__ = "source_records"
    __table_args__ = (CheckConstraint("source IS NOT NULL", name="source"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """SOURCE/TABLE/natural id."""
    source_table: Mapped[str]
    source_id: Mapped[str]
    record: Mapped[dict[str, Any]]


class MigrationReject(Base):
    """A record that was not loaded: where it stood, what it was, and which rule it broke."""

    __tablename__ = "migration_rejects"
    __table_args__ = (Index("ix_migration_rejects_run_id_source_table", "run_id", "source_table"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    source_table: Mapped[str]
    place: Mapped[str]
    """In the source, as a person finds it: `threads[12]`."""
    source_id: Mapped[str | None]
    record: Mapped[dict[str, Any] | None]
    """As read, without passwords and keys; after staging, as staged."""
    rule: Mapped[str]
    reason: Mapped[str]


class MigrationRow(Base):
    """A row as it was before a run changed or deleted it: what a rollback puts back."""

    __tablename__ = "migration_rows"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[str] = mapped_column(primary_key=True)
    before: Mapped[dict[str, Any]]
    pruned: Mapped[bool | None]
    """Deleted, not changed; NULL of runs before this was noted."""


class MigrationChunk(Base):
    """A chunk of a table that is loaded, committed together with its rows."""

    __tablename__ = "migration_chunks"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    chunk: Mapped[int] = mapped_column(Integer, primary_key=True)
    inserted: Mapped[int] = mapped_column(Integer)
    updated: Mapped[int] = mapped_column(Integer)
    unchanged: Mapped[int] = mapped_column(Integer)
    loaded_at: Mapped[CreatedAt]
