"""The index of words kept right: what is written with chunks, in the transaction that writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Row, text

from tasks.retrieval.bm25 import pack, unpack
from tasks.retrieval.tokenizing import ANALYZER, chunk_terms

SEGMENT_CHUNKS = 10_000
"""Chunks of one segment, at most, while it is written: so many are held in memory."""
ENOUGH_SEGMENTS = 32
"""More of them are merged: each is a value to read for every term of a query."""
MERGED_TERMS = 20_000
_MERGE_LOCK = 0x7465726D

_CHUNKS = text("""
    SELECT chunks.id, chunks.chunker, chunks.material_id, chunks.heading_path, chunks.content, course_materials.title
    FROM chunks JOIN course_materials ON course_materials.id = chunks.material_id
    WHERE chunks.id = ANY(:ids) ORDER BY chunks.id FOR NO KEY UPDATE OF chunks
""")
_FORGET = text("DELETE FROM term_documents WHERE chunk_id = ANY(:ids)")
_NUMBER = text("""
    INSERT INTO term_documents (chunk_id, material_id, chunker, length)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:materials AS text[]), CAST(:chunkers AS text[]),
                         CAST(:lengths AS integer[]))
    RETURNING chunk_id, number
""")
_SEGMENT = text("""
    INSERT INTO term_segments (chunker, analyzer, documents, length)
    VALUES (:chunker, :analyzer, :documents, :length) RETURNING id
""")
_POSTINGS = text("""
    INSERT INTO term_postings (segment_id, term, postings)
    SELECT CAST(:segment AS bigint), * FROM unnest(CAST(:terms AS text[]), CAST(:postings AS bytea[]))
""")
_OUTDATED = text("DELETE FROM term_segments WHERE chunker = :chunker AND analyzer <> :analyzer")
_FORGET_ALL = text("DELETE FROM term_documents WHERE chunker = :chunker")
_FORGET_DELETIONS = text("DELETE FROM term_deletions WHERE chunker = :chunker")
_MISSING = text("""
    SELECT chunks.id FROM chunks LEFT JOIN term_documents ON term_documents.chunk_id = chunks.id
    WHERE chunks.chunker = :chunker AND term_documents.chunk_id IS NULL ORDER BY chunks.id
""")
_LOCK = text("SELECT pg_advisory_xact_lock(:lock, hashtext(:chunker))")
_DELETIONS = text("SELECT number, length FROM term_deletions WHERE chunker = :chunker")
_SEGMENTS = text("SELECT id, documents, length FROM term_segments WHERE chunker = :chunker AND analyzer = :analyzer")
_TERMS = text("SELECT DISTINCT term FROM term_postings WHERE segment_id = ANY(:segments)")
_OF_TERMS = text("""
    SELECT term, string_agg(postings, ''::bytea ORDER BY segment_id) AS postings FROM term_postings
    WHERE segment_id = ANY(:segments) AND term = ANY(:terms) GROUP BY term
""")
_DROP_SEGMENTS = text("DELETE FROM term_segments WHERE id = ANY(:segments)")
_DROP_DELETIONS = text("DELETE FROM term_deletions WHERE number = ANY(:numbers)")


def index_terms(connection: Connection, chunk_ids: Sequence[UUID]) -> int:
    """Word search knows these chunks as they are now, once the transaction of `connection` commits.

    Also for chunks, titles or headings that have changed. A chunk that is deleted, by a cascade too, needs no call.

    Returns:
        How many of the chunks exist.
    """
    indexed = 0
    for start in range(0, len(chunk_ids), SEGMENT_CHUNKS):
        ids = list(chunk_ids[start : start + SEGMENT_CHUNKS])
        chunks = connection.execute(_CHUNKS, {"ids": ids}).all()
        connection.execute(_FORGET, {"ids": ids})
        by_chunker: dict[str, list[Row[Any]]] = {}
        for chunk in chunks:
            by_chunker.setdefault(chunk.chunker, []).append(chunk)
        for chunker, some in by_chunker.items():
            _write_segment(connection, chunker, some)
        indexed += len(chunks)
    return indexed


def index_missing_terms(connection: Connection, chunker: str) -> int:
    """Word search knows every chunk of `chunker`; returns how many it did not know.

    What another version of the analyzer has indexed is indexed anew.
    """
    outdated = connection.execute(_OUTDATED, {"chunker": chunker, "analyzer": ANALYZER})
    if outdated.rowcount:
        connection.execute(_FORGET_ALL, {"chunker": chunker})
        connection.execute(_FORGET_DELETIONS, {"chunker": chunker})
        connection.execute(text("DELETE FROM term_segments WHERE chunker = :chunker"), {"chunker": chunker})
    missing = connection.execute(_MISSING, {"chunker": chunker}).scalars().all()
    return index_terms(connection, missing)


def merge_segments(connection: Connection, chunker: str, *, enough: int = ENOUGH_SEGMENTS) -> bool:
    """The segments of `chunker` are one, without what was deleted, where that pays; returns whether it did.

    It pays with more than `enough` segments, or when a quarter of what they hold is deleted. Others may search, index
    and delete meanwhile: what they add is in other segments, and what they delete is listed until the next time.
    """
    connection.execute(_LOCK, {"lock": _MERGE_LOCK, "chunker": chunker})
    # First what is deleted: what is listed so far was in a segment that the second look sees.
    deletions = connection.execute(_DELETIONS, {"chunker": chunker}).all()
    segments = connection.execute(_SEGMENTS, {"chunker": chunker, "analyzer": ANALYZER}).all()
    documents = sum(segment.documents for segment in segments)
    if len(segments) <= enough and len(deletions) * 4 <= documents:
        return False
    old = [segment.id for segment in segments]
    gone = [deletion.number for deletion in deletions]
    length = sum(segment.length for segment in segments) - sum(deletion.length for deletion in deletions)
    merged = _new_segment(connection, chunker, documents - len(gone), length)
    terms = connection.execute(_TERMS, {"segments": old}).scalars().all()
    for start in range(0, len(terms), MERGED_TERMS):
        some = {"segments": old, "terms": list(terms[start : start + MERGED_TERMS])}
        found = connection.execute(_OF_TERMS, some).all()
        postings = _without({row.term: row.postings for row in found}, gone)
        _write_postings(connection, merged, postings)
    connection.execute(_DROP_SEGMENTS, {"segments": old})
    connection.execute(_DROP_DELETIONS, {"numbers": gone})
    return True


def _write_segment(connection: Connection, chunker: str, chunks: Sequence[Row[Any]]) -> None:
    terms = _analyze(chunks)
    lengths = [found.total() for found in terms]
    columns = {
        "ids": [chunk.id for chunk in chunks],
        "materials": [chunk.material_id for chunk in chunks],
        "chunkers": [chunker] * len(chunks),
        "lengths": lengths,
    }
    numbers = {row.chunk_id: row.number for row in connection.execute(_NUMBER, columns)}
    documents = [
        (numbers[chunk.id], length, found) for chunk, length, found in zip(chunks, lengths, terms, strict=True)
    ]
    segment = _new_segment(connection, chunker, len(chunks), sum(lengths))
    _write_postings(connection, segment, pack(documents))


def _analyze(chunks: Sequence[Row[Any]]) -> list[Counter[str]]:
    return [chunk_terms(chunk.title, chunk.heading_path, chunk.content) for chunk in chunks]


def _new_segment(connection: Connection, chunker: str, documents: int, length: int) -> int:
    values = {"chunker": chunker, "analyzer": ANALYZER, "documents": documents, "length": length}
    return int(connection.execute(_SEGMENT, values).scalar_one())


def _write_postings(connection: Connection, segment: int, postings: dict[str, bytes]) -> None:
    terms = sorted(postings)
    values = {"segment": segment, "terms": terms, "postings": [postings[term] for term in terms]}
    connection.execute(_POSTINGS, values)


def _without(postings: dict[str, bytes], gone: Sequence[int]) -> dict[str, bytes]:
    """The postings of the living; a term that has none is left out."""
    kept = {}
    for term, packed in postings.items():
        rows = unpack(packed)
        living = rows[~np.isin(rows["number"], gone)]
        if living.size:
            kept[term] = living.tobytes()
    return kept
