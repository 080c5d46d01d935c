"""What was exported to train models with."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt, IdKey
from schemas.tables.ledger import one_of


class TrainingExport(Base):
    """One export of calls and feedback to files; `completed` once the files are in their place."""

    __tablename__ = "training_exports"
    __table_args__ = (one_of("status", "running", "completed"),)

    id: Mapped[IdKey]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    format: Mapped[str]
    path: Mapped[str]
    """The folder that has the files, as an absolute path on the machine that wrote them."""
    options: Mapped[dict[str, Any]]
    until: Mapped[datetime]
    """Calls settled and feedback given later are no part of it, also where it is gone on with later."""
    snapshot: Mapped[str | None]
    """`pg_current_snapshot()` of then: what was committed later, such as older calls that were migrated, is no part
    either; NULL of exports begun before this was noted."""
    status: Mapped[str] = mapped_column(server_default="running")
    manifest: Mapped[dict[str, Any] | None]
    manifest_sha256: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
