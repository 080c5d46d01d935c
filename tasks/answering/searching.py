"""What answering needs of a search: the hits of a query, best first, and which courses they speak for.

`tasks.retrieval` has both; flows bring them along.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from schemas.search import CourseChoice


class Hit(Protocol):
    """A chunk that was found, or a whole material, which has no `chunk_id` and cannot be cited.

    `relevance` is from 0 to 1 and comparable between searches.
    """

    @property
    def chunk_id(self) -> UUID | None: ...
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
    def relevance(self) -> float: ...


class Outcome(Protocol):
    """What a search found."""

    @property
    def hits(self) -> Sequence[Hit]: ...
    @property
    def cost_usd(self) -> Decimal | None: ...


class Search(Protocol):
    """A search of the materials of `courses`, all of them where none is named."""

    async def __call__(
        self,
        query: str,
        /,
        *,
        courses: Sequence[str] = (),
        limit: int = 10,
        user: str | None = None,
        project: str | None = None,
    ) -> Outcome: ...


class ChooseCourses(Protocol):
    """Which courses, of all or `among`, a question is about, after a search of them found `hits`."""

    async def __call__(self, question: str, hits: Sequence[Hit], /, *, among: Sequence[str] = ()) -> CourseChoice: ...
