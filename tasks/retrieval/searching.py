"""Searching course materials by words, by vectors, by both, or by the forum's old rules.

>>> found = await search("How do I rotate a tree?", courses=["course-cs201"], limit=5)
>>> [(hit.title, hit.heading_path, hit.score) for hit in found.hits]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from schemas.canonical import require_storable
from schemas.errors import BadInput, NotFound
from schemas.search import SearchFilter, SearchHit, SearchMode, SearchOutcome, Standing, Why, says_something
from tasks.ledger.calls import embed
from tasks.ledger.reranking import rerank
from tasks.ledger.session import Ledger, open_ledger
from tasks.retrieval.fusion import diversify
from tasks.retrieval.legacy_search import search_by_old_rules
from tasks.retrieval.ranking import USUAL, Ranked, RankingOptions, look_up, rank, reasons
from tasks.retrieval.vector_search import Generation, active_generation, read_vectors

MOST_HITS = 1000
LONGEST_QUERY = 8_000
POOL = 30
"""Of so many of the best, at least, MMR and a model that reranks choose; of three times what is wanted, if more."""
PURPOSE = "search"
SWITCHES = 3
"""Times that a search begins anew because its generation was dropped under it."""

_HITS = text("""
    SELECT term_documents.number, chunks.id AS chunk_id, chunks.material_id, course_materials.course_id,
           course_materials.type, course_materials.week, course_materials.title, chunks.heading_path, chunks.content,
           chunks.start_char, chunks.end_char
    FROM unnest(CAST(:numbers AS integer[])) AS given (number)
    JOIN term_documents USING (number) JOIN chunks ON chunks.id = term_documents.chunk_id
    JOIN course_materials ON course_materials.id = chunks.material_id
""")
_COURSES = text("""
    SELECT courses.id, given.name AS given_name FROM unnest(CAST(:names AS text[])) AS given (name)
    LEFT JOIN courses ON courses.id = given.name
        OR lower(replace(courses.code, ' ', '')) = lower(replace(given.name, ' ', ''))
""")
_STILL_THERE = text("SELECT id FROM embedding_generations WHERE id = :id AND status IN ('active', 'retired')")


@dataclass(frozen=True)
class Wish:
    """What a search asks, checked.

    Attributes:
        mmr: weight of relevance against novelty; None leaves passages that say the same where they are.
    """

    query: str
    mode: SearchMode
    chosen: SearchFilter
    limit: int
    min_relevance: float
    mmr: float | None
    rerank_model: str | None
    options: RankingOptions

    @property
    def pool(self) -> int:
        """How many hits are fetched: more than are shown where something chooses among them."""
        return max(POOL, 3 * self.limit) if self.mmr is not None or self.rerank_model else self.limit


@dataclass
class _Payer:
    """Who pays, and what was paid."""

    user: str | None
    project: str | None
    cost_usd: Decimal | None = Decimal(0)
    requests: list[UUID] = field(default_factory=list)

    def note(self, call: _Paid) -> None:
        """`call` was made, or replayed."""
        self.requests.append(call.request_id)
        unknown = self.cost_usd is None or call.cost_usd is None
        self.cost_usd = None if unknown else (self.cost_usd or Decimal(0)) + (call.cost_usd or Decimal(0))


class _Paid(Protocol):
    @property
    def request_id(self) -> UUID: ...
    @property
    def cost_usd(self) -> Decimal | None: ...


async def search(
    query: str,
    *,
    courses: Sequence[str] = (),
    types: Sequence[str] = (),
    weeks: Sequence[int] = (),
    limit: int = 10,
    mode: SearchMode = "hybrid",
    min_relevance: float | None = None,
    mmr: float | None = None,
    rerank_model: str | None = None,
    user: str | None = None,
    project: str | None = None,
    options: RankingOptions = USUAL,
) -> SearchOutcome:
    """The passages of course materials that are about `query`, best first, each with the reasons for its place.

    Args:
        courses, types, weeks: only materials of these courses (id or code), types and weeks; all when empty.
        limit: how many hits, 1 to 1000.
        mode: `words` (BM25), `vectors` (cosine), both as `hybrid`, or `legacy`: whole materials by the old rules.
        min_relevance: hits below it are left out, 0 to 1; by default none, with `legacy` 0.3 as before.
        mmr: from 0 to 1, chooses hits that differ: 1 by relevance alone, 0.7 as the forum once did.
        rerank_model: puts the best into its own order; a paid call.
        user: whose search it is; its calls count for this user, and are replayed for this user only.

    Raises:
        BadInput: there is no query, it has neither a letter nor a digit, or an argument is out of its range.
        NotFound: nothing is embedded yet, or there is no such course; the message says what to do.
        BudgetExceeded, ConfigurationError, RetriesExhausted: as `embed` and `rerank`.
    """
    wish = _checked(
        query, mode, SearchFilter(courses=tuple(courses), types=tuple(types), weeks=tuple(weeks)), limit,
        min_relevance, mmr, rerank_model, options,
    )  # fmt: skip
    payer = _Payer(user, project)
    async with open_ledger() as ledger:
        async with reading(ledger) as connection:
            wish = replace(wish, chosen=await known_courses(connection, wish.chosen))
            if mode == "legacy":
                return await search_by_old_rules(connection, wish.query, wish.chosen, wish.limit, wish.min_relevance)
        return await _search(ledger, wish, payer)


async def known_courses(connection: AsyncConnection, chosen: SearchFilter) -> SearchFilter:
    """The filter with the ids of its courses, which may be named by code, in place of what was given.

    Raises:
        NotFound: there is no such course.
    """
    if not chosen.courses:
        return chosen
    rows = (await connection.execute(_COURSES, {"names": list(chosen.courses)})).all()
    if unknown := [row.given_name for row in rows if row.id is None]:
        raise NotFound(f"there is no course {unknown[0]}: --course takes the id or the code of one", course=unknown[0])
    return chosen.model_copy(update={"courses": tuple(row.id for row in rows)})


def require_query(query: str) -> str:
    """`query` without the blanks around it.

    Raises:
        BadInput: there is nothing in it to search for, or it is too long.
    """
    require_storable(query, "query")
    if not query.strip():
        raise BadInput("there is no query to search for")
    if not says_something(query):
        raise BadInput("there is nothing to search for: the query has neither a letter nor a digit")
    if len(query) > LONGEST_QUERY:
        raise BadInput(f"a query has at most {LONGEST_QUERY:,} characters, this one has {len(query):,}")
    return query.strip()


def _checked(
    query: str,
    mode: SearchMode,
    chosen: SearchFilter,
    limit: int,
    min_relevance: float | None,
    mmr: float | None,
    rerank_model: str | None,
    options: RankingOptions,
) -> Wish:
    query = require_query(query)
    if not 1 <= limit <= MOST_HITS:
        raise BadInput(f"limit is from 1 to {MOST_HITS}, not {limit}")
    for name, value in (("min_relevance", min_relevance), ("mmr", mmr)):
        if value is not None and not 0 <= value <= 1:
            raise BadInput(f"{name} is from 0 to 1, not {value:g}")
    if mode == "legacy" and (mmr is not None or rerank_model):
        raise BadInput("the old rules rank by themselves: legacy goes with neither MMR nor a model that reranks")
    least = min_relevance if min_relevance is not None else 0.3 if mode == "legacy" else 0.0
    return Wish(query, mode, chosen, limit, least, mmr, rerank_model, options)


async def _search(ledger: Ledger, wish: Wish, payer: _Payer) -> SearchOutcome:
    for _ in range(SWITCHES):
        async with reading(ledger) as connection:
            generation = await active_generation(connection)
        if generation is None:
            raise NotFound("nothing is embedded yet: run `headrace embed`, then search")
        # The query is embedded while no connection is held: it may wait for its turn.
        vector = None if wish.mode == "words" else await _embedded(wish.query, generation, payer)
        async with reading(ledger) as connection:
            if (await connection.execute(_STILL_THERE, {"id": generation.id})).first() is None:
                continue
            found = await search_generation(connection, generation, wish, vector)
        hits = await _reranked(found.hits, wish, payer) if wish.rerank_model else found.hits
        kept = [hit for hit in hits if hit.relevance >= wish.min_relevance]
        return found.model_copy(
            update={
                "hits": tuple(kept[: wish.limit]),
                "cost_usd": payer.cost_usd,
                "requests": tuple(payer.requests),
            }
        )
    raise NotFound("the embeddings are being replaced again and again; search once `headrace embed` is done")


async def search_generation(
    connection: AsyncConnection, generation: Generation, wish: Wish, vector: Sequence[float] | None
) -> SearchOutcome:
    """What `wish` finds in a generation, before the least relevance and reranking by a model."""
    found = await look_up(
        connection, generation, wish.query, vector,
        mode=wish.mode, chosen=wish.chosen, limit=wish.pool, options=wish.options,
    )  # fmt: skip
    ranked = rank(found, wish.mode, wish.options)
    pool = ranked[: wish.pool]
    why = reasons(found, pool, wish.mode)
    if wish.mmr is not None:
        vectors = await read_vectors(connection, generation, [one.number for one in pool])
        pool, gains = _diverse(pool, vectors, wish.mmr)
        why = {number: _with_gain(reason, gains.get(number)) for number, reason in why.items()}
    rows = (await connection.execute(_HITS, {"numbers": [one.number for one in pool]})).all()
    return SearchOutcome(
        query=wish.query,
        mode=wish.mode,
        hits=tuple(_hits(pool, why, {row.number: row for row in rows})),
        generation=generation.id,
        candidates=len(ranked),
    )


def _hits(
    ranked: Sequence[Ranked], why: Mapping[int, tuple[float, Why]], rows: Mapping[int, Row[Any]]
) -> Iterator[SearchHit]:
    for one in ranked:
        if (row := rows.get(one.number)) is not None:
            columns = {name: value for name, value in row._mapping.items() if name != "number"}
            relevance, reason = why[one.number]
            yield SearchHit(**columns, score=one.score, relevance=relevance, why=reason)


def _diverse(
    pool: Sequence[Ranked], vectors: Mapping[int, NDArray[np.float32]], weight: float
) -> tuple[list[Ranked], dict[int, float]]:
    """The passages in the order of their marginal relevance, which is their score then; those without a vector last."""
    known = [one for one in pool if one.number in vectors]
    if not known:
        return list(pool), {}
    best = max(one.score for one in known) or 1.0
    relevance = [one.score / best for one in known]
    order = diversify(relevance, np.stack([vectors[one.number] for one in known]), limit=len(known), weight=weight)
    gains = {known[place].number: gain for place, gain in order}
    chosen = [Ranked(number, gain) for number, gain in gains.items()]
    return chosen + [one for one in pool if one.number not in vectors], gains


def _with_gain(reason: tuple[float, Why], gain: float | None) -> tuple[float, Why]:
    relevance, why = reason
    return relevance, why.model_copy(update={"marginal_relevance": gain})


@asynccontextmanager
async def reading(ledger: Ledger) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one state of everything, whatever is committed meanwhile."""
    with database_errors():
        async with ledger.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection


async def _embedded(query: str, generation: Generation, payer: _Payer) -> Sequence[float]:
    """The vector of `query` by the model and in the dimensions of the generation."""
    asked = await embed(
        [query], model=generation.model, dimensions=generation.asked_dimensions,
        project=payer.project, user=payer.user, purpose=PURPOSE,
    )  # fmt: skip
    payer.note(asked)
    return asked.vectors[0]


async def _reranked(hits: Sequence[SearchHit], wish: Wish, payer: _Payer) -> list[SearchHit]:
    """The hits in the order of the model that reranks, which reads titles and headings too."""
    if not hits:
        return []
    documents = ["\n".join([hit.title, *hit.heading_path, hit.content]) for hit in hits]
    ranking = await rerank(
        wish.query, documents, model=wish.rerank_model, project=payer.project, user=payer.user, purpose=PURPOSE
    )
    payer.note(ranking)
    return [
        hits[row.index].model_copy(
            update={
                "score": row.relevance_score,
                "why": hits[row.index].why.model_copy(
                    update={"rerank": Standing(rank=place, score=row.relevance_score)}
                ),
            }
        )
        for place, row in enumerate(ranking.results, start=1)
    ]
