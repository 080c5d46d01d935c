"""Vector search: the nearest of a generation's vectors, by its index where there is one, else by looking at each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.embedding import ASKED
from schemas.search import EVERYTHING, SearchFilter
from tasks.retrieval.bm25 import Numbers
from tasks.retrieval.word_search import WANTED_MATERIALS, filter_values

MOST_VECTOR_DIMENSIONS = 2000
"""pgvector indexes `vector` up to so many dimensions, `halfvec` above."""
EXACT_BELOW = 2_000
"""Chunks that a filter lets through: of so few each is looked at, which is as quick as the index and misses nothing."""
EF_SEARCH = 100
"""Candidates that the index keeps while it looks; more find more and take longer."""


@dataclass(frozen=True)
class Generation:
    """The generation of embeddings that is searched."""

    id: int
    model: str
    model_identity: str
    dimensions: int
    chunker: str
    index_built: bool

    @property
    def indexed(self) -> str:
        """The expression of its HNSW index, which a query must spell as the index does."""
        return f"embedding::{self.type}"

    @property
    def asked_dimensions(self) -> int | None:
        """What its model is asked for, also with queries; None where it gives its own number unasked."""
        return self.dimensions if self.model_identity.endswith(ASKED.format(self.dimensions)) else None

    @property
    def type(self) -> str:
        """The type that its vectors are indexed as."""
        name = "vector" if self.dimensions <= MOST_VECTOR_DIMENSIONS else "halfvec"
        return f"{name}({self.dimensions})"


# Sorting and hashing would read every vector, so that the index is walked until enough have passed the filter.
_SETTINGS = text(f"""
    SELECT set_config('hnsw.ef_search', '{EF_SEARCH}', true), set_config('hnsw.iterative_scan', 'strict_order', true),
           set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)
""")
_ACTIVE = text("""
    SELECT id, model, model_identity, dimensions, chunker, index_built FROM embedding_generations
    WHERE status = 'active'
""")
_NUMBERED = """
    SELECT term_documents.number, found.distance FROM found
    JOIN chunks ON chunks.chunker = :chunker AND chunks.content_hash = found.content_hash
    JOIN term_documents ON term_documents.chunk_id = chunks.id
"""


async def active_generation(connection: AsyncConnection) -> Generation | None:
    """The generation that is searched now; None while there is none."""
    row = (await connection.execute(_ACTIVE)).first()
    return None if row is None else Generation(**row._mapping)


async def nearest(
    connection: AsyncConnection,
    generation: Generation,
    query: Sequence[float],
    *,
    limit: int,
    wanted: Numbers | None = None,
    chosen: SearchFilter = EVERYTHING,
) -> dict[int, float]:
    """Cosine similarity of the chunks nearest to `query`, by number, the nearest first.

    Args:
        wanted: numbers of the chunks that `chosen` lets through; None for all.
    """
    if generation.index_built and (wanted is None or wanted.size > EXACT_BELOW):
        await connection.execute(_SETTINGS)
        # The generation and the type are written out: only then is the partial index the query's own.
        among = EVERYTHING if wanted is None else chosen
        by_index = f"{generation.indexed} <=> CAST(:query AS {generation.type})"
        found = await _in_order(connection, generation, query, limit, among, by_index)
        if len(found) >= limit:
            passing = found if wanted is None else set(wanted.tolist())  # an equal text may be in another course too
            return {number: similarity for number, similarity in found.items() if number in passing}
    # There is no index, or its graph leads no further, as out of many vectors that are all but equal.
    if wanted is None:
        return await _in_order(connection, generation, query, limit, EVERYTHING, _EXACT)
    return await similarities(connection, generation, query, wanted, limit=limit)


_EXACT = "embedding <=> CAST(:query AS vector)"
"""Distance, spelled so that no index is walked."""


async def _in_order(
    connection: AsyncConnection,
    generation: Generation,
    query: Sequence[float],
    limit: int,
    chosen: SearchFilter,
    distance: str,
) -> dict[int, float]:
    """Similarity of the chunks of the first `limit` texts in the order of `distance`, of those that `chosen` has."""
    among = ""
    if chosen.limits:
        among = f"""
            AND EXISTS (SELECT FROM chunks JOIN course_materials ON course_materials.id = chunks.material_id
                        WHERE chunks.chunker = :chunker AND chunks.content_hash = material_embeddings.content_hash
                        AND {WANTED_MATERIALS})"""
    near = f"""
        WITH found AS MATERIALIZED (
            SELECT content_hash, {distance} AS distance
            FROM material_embeddings WHERE generation_id = {generation.id}{among}
            ORDER BY {distance} LIMIT :limit
        ){_NUMBERED}"""
    values = {"query": literal(query), "limit": limit, "chunker": generation.chunker}
    values |= filter_values(chosen) if chosen.limits else {}
    rows = (await connection.execute(text(near), values)).all()
    return _nearest_first([(row.number, row.distance) for row in rows])


async def similarities(
    connection: AsyncConnection,
    generation: Generation,
    query: Sequence[float],
    numbers: Numbers,
    *,
    limit: int | None = None,
) -> dict[int, float]:
    """Exact cosine similarity of these chunks, by number, the nearest first; those without a vector are left out."""
    if not numbers.size:
        return {}
    # Not the index's expression, so that it is not walked; the subquery is computed as it stands.
    exact = f"""
        WITH wanted AS MATERIALIZED (
            SELECT term_documents.number, chunks.content_hash
            FROM unnest(CAST(:numbers AS integer[])) AS given (number)
            JOIN term_documents USING (number) JOIN chunks ON chunks.id = term_documents.chunk_id
        )
        SELECT wanted.number, material_embeddings.embedding <=> CAST(:query AS vector) AS distance
        FROM wanted JOIN material_embeddings ON material_embeddings.content_hash = wanted.content_hash
            AND material_embeddings.generation_id = {generation.id}"""
    rows = (await connection.execute(text(exact), {"numbers": numbers.tolist(), "query": literal(query)})).all()
    ordered = _nearest_first([(row.number, row.distance) for row in rows])
    return dict(list(ordered.items())[:limit])


async def read_vectors(
    connection: AsyncConnection, generation: Generation, numbers: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """The vectors of these chunks, by number."""
    query = f"""
        SELECT term_documents.number, CAST(material_embeddings.embedding AS real[]) AS vector
        FROM unnest(CAST(:numbers AS integer[])) AS given (number)
        JOIN term_documents USING (number) JOIN chunks ON chunks.id = term_documents.chunk_id
        JOIN material_embeddings ON material_embeddings.content_hash = chunks.content_hash
            AND material_embeddings.generation_id = {generation.id}"""
    rows = (await connection.execute(text(query), {"numbers": list(numbers)})).all()
    return {row.number: np.array(row.vector, dtype=np.float32) for row in rows}


def literal(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


def _nearest_first(rows: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Similarity by number; vectors without a length have no distance and are left out."""
    near = sorted((distance, number) for number, distance in rows if distance == distance)
    return {number: 1 - distance for distance, number in near}
