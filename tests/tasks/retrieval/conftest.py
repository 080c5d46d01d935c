"""What tests of search share: materials whose chunks are indexed, with vectors that are easy to reckon with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from schemas.identifiers import new_id
from tasks.retrieval.term_index import index_terms

CHUNKER = "test-1"
MODEL = "text-embedding-3-small"


class Text(NamedTuple):
    """A chunk that is a whole material."""

    material: str
    content: str
    vector: Sequence[float]
    title: str = "Notes"
    course: str = "course-cs101"
    type: str = "lecture"
    week: int | None = 1


class Shelf:
    """Materials in the database, searched by the generation that is active."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def generation(self, dimensions: int, *, status: str = "active", chunker: str = CHUNKER) -> int:
        """A generation without vectors."""
        with self.engine.begin() as connection:
            return int(
                connection.execute(
                    text(
                        "INSERT INTO embedding_generations (model, model_identity, dimensions, chunker, template, "
                        "status) VALUES (:model, :model, :dimensions, :chunker, 'heading-1', :status) RETURNING id"
                    ),
                    {"model": MODEL, "dimensions": dimensions, "chunker": chunker, "status": status},
                ).scalar_one()
            )

    def add(self, generation: int, *texts: Text, indexed: bool = True, chunker: str = CHUNKER) -> list[UUID]:
        """The texts as chunks with their vectors; their ids."""
        ids = [new_id() for _ in texts]
        with self.engine.begin() as connection:
            for place, (chunk, one) in enumerate(zip(ids, texts, strict=True)):
                digest = hashlib.sha256(f"{one.title}\n{one.content}".encode()).hexdigest()
                values = one._asdict() | {"chunk": chunk, "digest": digest, "generation": generation, "place": place}
                values |= {"chunker": chunker, "vector": str(list(one.vector)), "end": len(one.content)}
                for statement in (
                    "INSERT INTO courses (id, code, name) VALUES (:course, upper(:course), :course) "
                    "ON CONFLICT DO NOTHING",
                    "INSERT INTO course_materials (id, course_id, type, title, content, week) "
                    "VALUES (:material, :course, :type, :title, :content, :week) ON CONFLICT DO NOTHING",
                    "INSERT INTO chunks (id, material_id, chunker, ordinal, content, start_char, end_char, tokens, "
                    "content_hash) VALUES (:chunk, :material, :chunker, :place, :content, 0, :end, 0, :digest)",
                    "INSERT INTO material_embeddings (generation_id, content_hash, embedding) "
                    "VALUES (:generation, :digest, CAST(:vector AS vector)) ON CONFLICT DO NOTHING",
                ):
                    connection.execute(text(statement), values)
            if indexed:
                index_terms(connection, ids)
        return ids

    def build_index(self, generation: int, dimensions: int) -> None:
        """The generation has its HNSW index."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    f"CREATE INDEX headrace_hnsw_{generation} ON material_embeddings USING hnsw "
                    f"((embedding::vector({dimensions})) vector_cosine_ops) WHERE generation_id = {generation}"
                )
            )
            connection.execute(text("UPDATE embedding_generations SET index_built = true"))

    def run(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """The rows that SQL gives, or none; committed."""
        with self.engine.begin() as connection:
            found = connection.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []


@pytest.fixture
def shelf(database: Engine) -> Shelf:
    """An empty shelf."""
    return Shelf(database)
