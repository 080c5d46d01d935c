"""Word search: BM25 over the postings of a generation's chunks, in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.search import SearchFilter
from tasks.retrieval.bm25 import TEXTBOOK, Bm25Parameters, Numbers, Statistics, WordScores, score_words
from tasks.retrieval.tokenizing import ANALYZER

WANTED_MATERIALS = """
    (CAST(:courses AS text[]) IS NULL OR course_materials.course_id = ANY(CAST(:courses AS text[])))
    AND (CAST(:types AS text[]) IS NULL OR course_materials.type = ANY(CAST(:types AS text[])))
    AND (CAST(:weeks AS integer[]) IS NULL OR course_materials.week = ANY(CAST(:weeks AS integer[])))
"""
"""Of the materials of a filter; None for what does not limit."""

# Numbers travel as their four bytes each, as arrays of many thousands would take longer to read than to find.
_POSTINGS = """
    WITH segments AS MATERIALIZED (
        SELECT id, documents, length FROM term_segments WHERE chunker = :chunker AND analyzer = :analyzer
    ), deletions AS (
        SELECT count(*) AS documents, coalesce(sum(length), 0) AS length,
               string_agg(int4send(number), ''::bytea) AS numbers
        FROM term_deletions WHERE chunker = :chunker
    )
    SELECT NULL AS term, deletions.numbers AS packed,
           (SELECT coalesce(sum(documents), 0) FROM segments) - deletions.documents AS documents,
           (SELECT coalesce(sum(length), 0) FROM segments) - deletions.length AS length
    FROM deletions
    UNION ALL
    SELECT term, string_agg(postings, ''::bytea), NULL, NULL FROM term_postings
    WHERE term = ANY(CAST(:terms AS text[])) AND segment_id IN (SELECT id FROM segments)
    GROUP BY term
"""
_WANTED = f"""
    UNION ALL
    SELECT '', string_agg(int4send(term_documents.number), ''::bytea), NULL, NULL
    FROM course_materials JOIN term_documents ON term_documents.material_id = course_materials.id
    WHERE term_documents.chunker = :chunker AND {WANTED_MATERIALS}
"""
WORDS = text(_POSTINGS)
WORDS_AMONG = text(_POSTINGS + _WANTED)
_STATISTICS: None = None
_WANTED_ROW = ""
"""In place of a term: no term is empty."""


def filter_values(chosen: SearchFilter) -> dict[str, Any]:
    """The parameters of `WANTED_MATERIALS`."""
    return {
        "courses": list(chosen.courses) or None,
        "types": list(chosen.types) or None,
        "weeks": list(chosen.weeks) or None,
    }


class WordIndex:
    """What one statement read of the index.

    Attributes:
        wanted: numbers of the chunks that the filter lets through; None where it lets all through.
    """

    def __init__(self, rows: Mapping[str | None, Any], *, limited: bool) -> None:
        self._postings = {term: bytes(row.packed) for term, row in rows.items() if term}
        known = rows[_STATISTICS]
        self._statistics = Statistics(int(known.documents), int(known.length), _numbers(known.packed))
        self.wanted = _numbers(rows[_WANTED_ROW].packed) if limited else None

    def score(
        self, terms: Mapping[str, float], *, parameters: Bm25Parameters = TEXTBOOK, depth: int = 100
    ) -> WordScores:
        """The chunks with any of `terms`; the best `depth` in order."""
        return score_words(
            self._postings, terms, self._statistics, wanted=self.wanted, parameters=parameters, depth=depth
        )


async def read_words(
    connection: AsyncConnection, chunker: str, terms: Mapping[str, float], chosen: SearchFilter
) -> WordIndex:
    """What is needed to score chunks of `chunker` by `terms`, and which of them `chosen` lets through."""
    values: dict[str, Any] = {"chunker": chunker, "analyzer": ANALYZER, "terms": list(terms)}
    if chosen.limits:
        found = await connection.execute(WORDS_AMONG, {**values, **filter_values(chosen)})
    else:
        found = await connection.execute(WORDS, values)
    return WordIndex({row.term: row for row in found}, limited=chosen.limits)


def _numbers(packed: bytes | None) -> Numbers:
    return np.frombuffer(packed or b"", dtype=">i4").astype(np.int32)
