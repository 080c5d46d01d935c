"""An index of course materials made outright, as `headrace embed` leaves it, for the benchmarks of search."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from schemas.identifiers import new_id
from tasks.retrieval.term_index import index_missing_terms, merge_segments
from tasks.retrieval.vector_search import MOST_VECTOR_DIMENSIONS

if TYPE_CHECKING:
    from uuid import UUID

Vectors = NDArray[np.float32]

CHUNKER = "benchmark-1"
LOADED_AT_ONCE = 5_000
_COPY = (
    "COPY {} ({}) FROM STDIN WITH (FORMAT binary)"  # the protocol's own form: vectors as text take ten times as long
)


class Passage(BaseModel):
    """A chunk and the material it is of; consecutive ones may share a material."""

    model_config = ConfigDict(frozen=True)

    course: str
    material: str
    type: str = "lecture"
    week: int | None = None
    title: str
    content: str


def load_passages(connection: Connection, passages: Sequence[Passage], vectors: Vectors, model: str) -> int:
    """Passages, their words and vectors are in the tables, without an HNSW index; returns the active generation."""
    generation = connection.execute(
        text(
            "INSERT INTO embedding_generations (model, model_identity, dimensions, chunker, template, status) "
            "VALUES (:model, :model, :dimensions, :chunker, 'heading-1', 'active') RETURNING id"
        ),
        {"model": model, "dimensions": vectors.shape[1], "chunker": CHUNKER},
    ).scalar_one()
    courses = [{"id": course} for course in dict.fromkeys(passage.course for passage in passages)]
    connection.execute(text("INSERT INTO courses (id, code, name, status) VALUES (:id, :id, :id, 'active')"), courses)
    for start in range(0, len(passages), LOADED_AT_ONCE):
        some = slice(start, start + LOADED_AT_ONCE)
        _load(connection, generation, passages[some], vectors[some], start)
    index_missing_terms(connection, CHUNKER)
    merge_segments(connection, CHUNKER, enough=1)
    return int(generation)


def build_hnsw(connection: Connection, generation: int, dimensions: int) -> None:
    """The generation has its HNSW index, built in memory by two more processes."""
    kind = "vector" if dimensions <= MOST_VECTOR_DIMENSIONS else "halfvec"
    connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
    connection.execute(text("SET LOCAL max_parallel_maintenance_workers = 2"))
    connection.execute(
        text(
            f"CREATE INDEX headrace_hnsw_{generation} ON material_embeddings USING hnsw "
            f"((embedding::{kind}({dimensions})) {kind}_cosine_ops) WHERE generation_id = {generation}"
        )
    )
    connection.execute(text("UPDATE embedding_generations SET index_built = true WHERE id = :id"), {"id": generation})


def _load(connection: Connection, generation: int, passages: Sequence[Passage], vectors: Vectors, start: int) -> None:
    materials = {passage.material: passage for passage in passages}
    connection.execute(
        text(
            "INSERT INTO course_materials (id, course_id, type, title, content, week) "
            "VALUES (:id, :course, :type, :title, '', :week) ON CONFLICT DO NOTHING"
        ),
        [passage.model_dump() | {"id": key} for key, passage in materials.items()],
    )
    hashes = [hashlib.sha256(f"{start + place}".encode()).hexdigest() for place in range(len(passages))]
    chunks = (
        (new_id(), passage.material, CHUNKER, start + place, passage.content, 0, len(passage.content), 0, key)
        for place, (passage, key) in enumerate(zip(passages, hashes, strict=True))
    )
    columns = "id, material_id, chunker, ordinal, content, start_char, end_char, tokens, content_hash"
    _copy(connection, "chunks", columns, chunks)
    rows = ((generation, key, vector) for key, vector in zip(hashes, vectors, strict=True))
    _copy(connection, "material_embeddings", "generation_id, content_hash, embedding", rows)


def _copy(connection: Connection, table: str, columns: str, rows: Iterator[Sequence[Any]]) -> None:
    cursor = connection.connection.cursor()
    with cursor.copy(_COPY.format(table, columns)) as copy:  # type: ignore[attr-defined]
        copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
        for row in rows:
            copy.write(struct.pack(">h", len(row)) + b"".join(map(_field, row)))
        copy.write(struct.pack(">h", -1))


def _field(value: str | int | UUID | Vectors) -> bytes:
    """One value in Postgres' binary form, its length before it."""
    match value:
        case str():
            data = value.encode()
        case int():
            data = struct.pack(">i", value)
        case np.ndarray():
            data = struct.pack(">hh", value.size, 0) + value.astype(">f4").tobytes()
        case _:
            data = value.bytes
    return struct.pack(">i", len(data)) + data
