"""Words of chunks as BM25 needs them: postings in segments, and which of their documents are gone.

What is indexed in one go is a segment. Its postings say, for each term, in which chunks it occurs, how often, and how
long those are, packed so that a query reads a few values and not a row for each occurrence. A chunk that is indexed
again gets a new number; the old one, like that of a chunk that was deleted, is listed as deleted until segments are
merged. So an index is only ever added to, and what a transaction changes shows exactly when it commits.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from schemas.tables.base import Base, CreatedAt


class TermSegment(Base):
    """What was indexed in one go."""

    __tablename__ = "term_segments"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    chunker: Mapped[str] = mapped_column(index=True)
    analyzer: Mapped[str]
    """How text was made into terms: `words-1`."""
    documents: Mapped[int] = mapped_column(BigInteger)
    """How many chunks are in it, deleted ones included; `length` is the terms of all of them."""
    length: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]


class TermPostings(Base):
    """Where a term occurs in a segment; the packing is that of `tasks/retrieval/bm25.py`."""

    __tablename__ = "term_postings"

    term: Mapped[str] = mapped_column(primary_key=True)
    segment_id: Mapped[int] = mapped_column(
        ForeignKey("term_segments.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    postings: Mapped[bytes] = mapped_column(LargeBinary)


class TermDocument(Base):
    """The number that postings know a chunk by; a trigger lists it in `term_deletions` when it is deleted."""

    __tablename__ = "term_documents"
    __table_args__ = (Index("ix_term_documents_material_id_chunker", "material_id", "chunker", "number"),)

    number: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    chunk_id: Mapped[UUID] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), unique=True)
    material_id: Mapped[str]
    """That of the chunk, kept here so that a filter reads the index alone."""
    chunker: Mapped[str]
    length: Mapped[int] = mapped_column(Integer)


class TermDeletion(Base):
    """A number that postings still have and no chunk has any more."""

    __tablename__ = "term_deletions"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    chunker: Mapped[str] = mapped_column(index=True)
    length: Mapped[int] = mapped_column(Integer)
