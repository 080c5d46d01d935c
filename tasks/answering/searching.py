"""What answering needs of a search: the hits of a query, best first. `tasks.retrieval` is one; flows bring it along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID


class Hit(Protocol):
    """A chunk that was found; the higher its score, the better."""

    @property
    def chunk_id(self) -> UUID: ...
    @property
    def material_id(self) -> str: ...
    @property
    def course_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def week(self) -> int | None: ...
    @property
    def title(self) -> str: ...
    @property
    def heading_path(self) -> Sequence[str]: ...
    @property
    def content(self) -> str: ...
    @property
    def start_char(self) -> int: ...
    @property
    def score(self) -> float: ...


class Outcome(Protocol):
    """What a search found."""

    @property
    def hits(self) -> Sequence[Hit]: ...


class Search(Protocol):
    """A search of the materials of `courses`, all of them where none is named."""

    async def __call__(
        self, query: str, /, *, courses: Sequence[str] = (), limit: int = 10, user: str | None = None
    ) -> Outcome: ...
