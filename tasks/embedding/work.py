"""What the steps of a refresh share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection, Engine, text

from blocks.database import database_errors
from blocks.providers.prices import worst_case_of
from schemas.calls import ModelInfo
from schemas.errors import NotFound
from schemas.settings import Settings
from tasks.embedding.materials import ChunkSet
from tasks.embedding.progress import Progress
from tasks.ledger.runs import Run, hold_run_here

T = TypeVar("T")
REFRESH = "refresh-embeddings"
"""The flow's name, as runs have it."""


class RefreshRequest(BaseModel):
    """What is asked of a refresh, as kept on its run.

    Attributes:
        model: the configured one when empty.
        dimensions: what the model is asked for; None for what is configured.
        courses: only their materials; all when empty.
        retry_failed: texts that were set aside before are tried again.
    """

    model: str = ""
    dimensions: int | None = None
    courses: tuple[str, ...] = ()
    retry_failed: bool = False

    def completed(self, settings: Settings) -> RefreshRequest:
        """With what is configured where nothing was said."""
        said = {
            "model": self.model or settings.model_for("embedding"),
            "dimensions": self.dimensions or settings.embedding_dimensions,
        }
        return self.model_copy(update=said)


@dataclass
class Work:
    """One attempt at a run that refreshes.

    Attributes:
        request: with what is configured where nothing was said.
        engine: connections for threads.
    """

    run: Run
    engine: Engine
    request: RefreshRequest
    chunks: ChunkSet
    model: ModelInfo
    progress: Progress = field(default_factory=Progress)

    @property
    def settings(self) -> Settings:
        """Of the ledger."""
        return self.run.ledger.settings

    async def in_thread(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, in a transaction that counts only while the run is this attempt's."""

        def connected() -> T:
            with database_errors(), self.engine.begin() as connection:
                hold_run_here(connection, self.run.attempt)
                return work(connection)

        working = asyncio.ensure_future(asyncio.to_thread(connected))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])  # it holds a connection, and ends by itself
            working.exception()
            raise


def price_of(model: ModelInfo, tokens: int) -> Decimal | None:
    """What so many tokens of input cost at most; None where no price is known."""
    return Decimal(0) if model.local else worst_case_of(model, tokens, 0)


def require_courses(connection: Connection, courses: Sequence[str]) -> None:
    """All of `courses` exist.

    Raises:
        NotFound: one does not.
    """
    if not courses:
        return
    there = set(
        connection.execute(
            text("SELECT id FROM courses WHERE id = ANY(CAST(:ids AS text[]))"), {"ids": list(courses)}
        ).scalars()
    )
    if missing := [each for each in courses if each not in there]:
        raise NotFound(f"there is no course {', '.join(missing)}")
