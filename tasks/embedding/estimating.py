"""What a refresh would embed, told before anything is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from blocks.database import create_database, database_errors
from schemas.calls import ModelInfo
from schemas.embedding import EmbeddingEstimate
from tasks.embedding.generations import find_generation, identity_of
from tasks.embedding.materials import PAGE, ChunkSet, cut_materials, find_changed
from tasks.embedding.pieces import Chunker
from tasks.embedding.templates import TEMPLATES
from tasks.embedding.work import RefreshRequest, price_of, require_courses
from tasks.ledger.session import Ledger, open_ledger


async def estimate_refresh(request: RefreshRequest, chunker: Chunker) -> EmbeddingEstimate:
    """What a refresh would embed, and for how much; nobody is asked and nothing is stored.

    Raises:
        NotFound: there is no such course.
        ConfigurationError: there is no such model.
    """
    async with open_ledger() as ledger:
        wanted = request.completed(ledger.settings)
        model = await ledger.providers.describe(wanted.model)
        engine = create_database(ledger.engine.url)
        try:
            return await asyncio.to_thread(_estimate, ledger, engine, wanted, model, chunker)
        finally:
            await asyncio.to_thread(engine.dispose)


def _estimate(
    ledger: Ledger, engine: Engine, request: RefreshRequest, model: ModelInfo, chunker: Chunker
) -> EmbeddingEstimate:
    chunks = ChunkSet(chunker, TEMPLATES[ledger.settings.embedding_template])
    identity = identity_of(model.litellm_model, model.identity, request.dimensions)
    with database_errors(), engine.connect() as connection:
        require_courses(connection, request.courses)
        changed = find_changed(connection, chunks, request.courses).changed
        generation = find_generation(connection, identity, chunks.name)
        wanted = _tokens_of_changed(connection, chunks, changed, generation)
        wanted |= _tokens_of_stored(connection, chunks, request.courses, changed, generation)
        connection.rollback()
    tokens = sum(wanted.values())
    return EmbeddingEstimate(
        model=request.model,
        chunker=chunks.name,
        materials=len(changed),
        chunks=len(wanted),
        tokens=tokens,
        cost_usd=price_of(model, tokens),
    )


def _tokens_of_changed(
    connection: Connection, chunks: ChunkSet, changed: Sequence[str], generation: int | None
) -> dict[str, int]:
    """By hash, the tokens of texts of changed materials that the generation has no vector of."""
    found: dict[str, int] = {}
    for start in range(0, len(changed), PAGE):
        cuts = cut_materials(connection, chunks, changed[start : start + PAGE])
        text_hash = chunks.template.hash
        page = {
            text_hash(cut.title, piece.heading_path, piece.content): piece.tokens
            for cut in cuts
            for piece in cut.pieces
        }
        there = connection.execute(
            text(
                "SELECT content_hash FROM material_embeddings WHERE generation_id = :generation "
                "AND content_hash = ANY(CAST(:hashes AS text[]))"
            ),
            {"generation": generation, "hashes": list(page)},
        ).scalars()
        for each in there:
            page.pop(each, None)
        found |= page
    return found


def _tokens_of_stored(
    connection: Connection, chunks: ChunkSet, courses: Sequence[str], changed: Sequence[str], generation: int | None
) -> dict[str, int]:
    """The same of materials that did not change."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT c.content_hash, c.tokens FROM chunks AS c JOIN course_materials AS m "
            "ON m.id = c.material_id WHERE c.chunker = :chunker AND NOT m.id = ANY(CAST(:changed AS text[])) "
            "AND (:everywhere OR m.course_id = ANY(CAST(:courses AS text[]))) "
            "AND NOT EXISTS (SELECT FROM material_embeddings AS v WHERE v.generation_id = :generation "
            "AND v.content_hash = c.content_hash) "
            "AND NOT EXISTS (SELECT FROM embedding_failures AS f WHERE f.generation_id = :generation "
            "AND f.content_hash = c.content_hash)"
        ),
        {
            "chunker": chunks.name,
            "changed": list(changed),
            "everywhere": not courses,
            "courses": list(courses),
            "generation": generation,
        },
    )
    return {row.content_hash: row.tokens for row in rows}
