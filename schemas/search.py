"""What a search of course materials asks and finds."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

SearchMode = Literal["hybrid", "words", "vectors", "legacy"]
Fusion = Literal["scores", "ranks"]


def says_something(text: str) -> bool:
    """True where `text` has a letter or a digit of any script; to a search, all that has none says the same."""
    return any(character.isalnum() for character in text)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SearchFilter(_Frozen):
    """Which materials are looked at; what is empty limits nothing."""

    courses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    weeks: tuple[int, ...] = ()

    @property
    def limits(self) -> bool:
        """True where not all materials are looked at."""
        return bool(self.courses or self.types or self.weeks)


EVERYTHING = SearchFilter()


class Standing(_Frozen):
    """Where a ranking has a hit; `rank` counts from 1 and is None where the hit is not among its candidates."""

    rank: int | None
    score: float


class TermShare(_Frozen):
    """What a term of the query gave a hit's BM25 score; `idf` is what it says in these materials."""

    term: str
    idf: float
    score: float


class Why(_Frozen):
    """How a hit came to its place.

    Attributes:
        words: BM25 score and rank; None where words were not asked, or none of them is in the hit.
        terms: what each word of the query gave, the most first; as search knows it: stemmed, without case and accents.
        vectors: cosine similarity and rank; None where vectors were not asked.
        fused: what both came to, before MMR and reranking; None in a mode that asks one of them.
        marginal_relevance: with MMR, relevance less likeness to the hits before.
        rerank: relevance and rank by the model that reranks.
        keywords: with `legacy`, the keywords of the question that count.
    """

    words: Standing | None = None
    terms: tuple[TermShare, ...] = ()
    vectors: Standing | None = None
    fused: float | None = None
    marginal_relevance: float | None = None
    rerank: Standing | None = None
    keywords: tuple[str, ...] = ()


class SearchHit(_Frozen):
    """A passage that was found: `content` is `material.content[start_char:end_char]`.

    Attributes:
        chunk_id: None with `legacy`, which finds whole materials.
        score: what it is ordered by; comparable within one search.
        relevance: from 0 to 1, comparable between searches: cosine similarity, or the share of the question's words
            that it has, weighed by how rare they are; with `hybrid` the larger of the two; with `legacy` the old
            percentage.
    """

    chunk_id: UUID | None
    material_id: str
    course_id: str
    type: str
    week: int | None
    title: str
    heading_path: tuple[str, ...] = ()
    content: str
    start_char: int
    end_char: int
    score: float
    relevance: float = Field(ge=0, le=1)
    why: Why = Why()


class SearchOutcome(_Frozen):
    """What a search found, best first.

    Attributes:
        generation: the generation of embeddings that was searched; None with `legacy`.
        candidates: passages that were compared, before `limit` and `min_relevance`.
        cost_usd: of embedding the query and reranking; None where it is not known.
        requests: the calls that were made or replayed for it.
    """

    query: str
    mode: SearchMode
    hits: tuple[SearchHit, ...]
    generation: int | None = None
    candidates: int = 0
    cost_usd: Decimal | None = Decimal(0)
    requests: tuple[UUID, ...] = ()


class CourseProposal(_Frozen):
    """A course that a question may be about.

    Attributes:
        score: the higher the surer; comparable within one question.
        because: what spoke for it, in a few words.
        named: the question has its code, or a name of several words; one word may mean something else.
    """

    course_id: str
    code: str | None
    name: str
    score: float
    because: tuple[str, ...] = ()
    named: bool = False


class CourseChoice(_Frozen):
    """Where to look for what a question asks, by the courses that are proposed for it.

    Attributes:
        proposed: the surest first.
        chosen: ids of those to look in; none where it is in doubt, and all are looked in.
    """

    proposed: tuple[CourseProposal, ...] = ()
    chosen: tuple[str, ...] = ()
