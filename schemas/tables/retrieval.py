"""What search reads: chunks of course materials, their vectors in generations, and what is known to be embedded.

A generation is one way of embedding everything: a model, its dimensions, a chunker and a template. Vectors belong to a
generation and to a text, not to a chunk, so that equal texts are embedded once. The HNSW index of a generation is made
when it was loaded (`headrace_hnsw_<id>`), partial on its id and over the expression `embedding::vector(D)`, or
`halfvec(D)` above 2,000 dimensions; queries spell both as the index does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, REAL, ForeignKey, Identity, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from schemas.tables.base import Base, CreatedAt, IdKey
from schemas.tables.ledger import one_of


class Vector(UserDefinedType[str]):
    """pgvector's `vector`, of any number of dimensions; its values go in and out as text such as `[0.5,1]`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type in DDL."""
        return "vector"


ischema_names["vector"] = Vector  # known when tables are read back


class EmbeddingGeneration(Base):
    """One way of embedding everything; search reads the one that is active."""

    __tablename__ = "embedding_generations"
    __table_args__ = (
        one_of("status", "building", "ready", "active", "retired"),
        Index("uq_embedding_generations_active", "status", unique=True, postgresql_where=text("status = 'active'")),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    model: Mapped[str]
    """As configured."""
    model_identity: Mapped[str]
    """What the keys of calls use for the model behind the name."""
    dimensions: Mapped[int] = mapped_column(Integer)
    chunker: Mapped[str]
    """Name and version, its numbers and the template: `structure-1/256/32/heading-1`; that of its chunks."""
    template: Mapped[str]
    """How a chunk becomes the text that is embedded, named and versioned: `heading-1`."""
    status: Mapped[str] = mapped_column(server_default="building")
    created_at: Mapped[CreatedAt]
    completed_at: Mapped[datetime | None]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    recall: Mapped[float | None] = mapped_column(REAL)
    """Share of the exact nearest that its index found on a sample, before it was switched on."""
    index_built: Mapped[bool] = mapped_column(server_default="false")


class Chunk(Base):
    """A piece of a material: `content` is `material.content[start_char:end_char]`."""

    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("material_id", "chunker", "ordinal"),
        Index("ix_chunks_chunker_content_hash", "chunker", "content_hash"),
    )

    id: Mapped[IdKey]
    material_id: Mapped[str] = mapped_column(ForeignKey("course_materials.id", ondelete="CASCADE"))
    chunker: Mapped[str]
    ordinal: Mapped[int] = mapped_column(Integer)
    heading_path: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    content: Mapped[str]
    start_char: Mapped[int] = mapped_column(Integer)
    end_char: Mapped[int] = mapped_column(Integer)
    tokens: Mapped[int] = mapped_column(Integer)
    content_hash: Mapped[str]
    """SHA-256, in hexadecimal, of the text as embedded: the template applied."""


class MaterialEmbedding(Base):
    """The vector of a text in a generation, whatever number of chunks has the text."""

    __tablename__ = "material_embeddings"

    generation_id: Mapped[int] = mapped_column(
        ForeignKey("embedding_generations.id", ondelete="CASCADE"), primary_key=True
    )
    content_hash: Mapped[str] = mapped_column(primary_key=True)
    embedding: Mapped[str] = mapped_column(Vector)
    request_id: Mapped[UUID | None]
    """The call that paid for it; no key, as calls leave with their partition."""
    created_at: Mapped[CreatedAt]


class EmbeddingFailure(Base):
    """A text that a generation lacks, and why."""

    __tablename__ = "embedding_failures"

    generation_id: Mapped[int] = mapped_column(
        ForeignKey("embedding_generations.id", ondelete="CASCADE"), primary_key=True
    )
    content_hash: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    error_class: Mapped[str]
    request_id: Mapped[UUID | None]
    at: Mapped[CreatedAt]


class EmbeddedMaterial(Base):
    """A material that was chunked, as it was then; it outlives the material, so that a refresh tells what left."""

    __tablename__ = "embedded_materials"

    chunker: Mapped[str] = mapped_column(primary_key=True)
    material_id: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """SHA-256, in hexadecimal, of what its chunks are made from."""
    chunks: Mapped[int] = mapped_column(Integer)
    at: Mapped[CreatedAt]
