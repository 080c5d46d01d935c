"""The cache of web searches, under the name and columns that older applications query."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt
from schemas.tables.migration import Migrated


class WebSearchCache(Migrated, Base):
    """What one search found; it is replayed until `expires_at`, for every project.

    The first five columns are the old ones. `request_id` is the request that was paid for, in whose
    record the results are as well.
    """

    __tablename__ = "web_search_cache"

    cache_key: Mapped[str] = mapped_column(primary_key=True)
    """The call's content key, as in `answers`."""
    query: Mapped[str]
    results: Mapped[list[Any]]
    cached_at: Mapped[CreatedAt]
    hit_count: Mapped[int] = mapped_column(Integer, server_default="0")
    """How often these results were replayed since `cached_at`."""
    provider: Mapped[str]
    count: Mapped[int] = mapped_column(Integer)
    """How many results were asked for."""
    domains: Mapped[list[Any]]
    recency: Mapped[str | None]
    request_id: Mapped[UUID | None] = mapped_column(ForeignKey("llm_requests.id", ondelete="CASCADE"), index=True)
    """NULL on a row that was migrated, of which no request is known; such a row is never replayed."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
    id: Mapped[str | None] = mapped_column(unique=True)
    """Of a row that was migrated: its key."""
    attributes: Mapped[dict[str, Any] | None]
    """Of a row that was migrated: what has no column of its own."""
