"""Search in what is stored: the sections of every bill but the one under analysis."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Protocol

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors
from schemas.bills import BillKey

PASSAGE_CHARACTERS = 900


class SearchHit(BaseModel):
    """A passage that answers a query, with where it is from; higher scores are better."""

    model_config = ConfigDict(frozen=True)

    title: str
    source: str
    text: str
    score: float


class SearchProvider(Protocol):
    """Where research looks things up."""

    name: str

    async def search(self, query: str, *, count: int) -> list[SearchHit]:
        """At most `count` hits, best first; an empty list when nothing was found."""
        ...


# Words joined by OR and `ts_rank` divided by 1 + log(length): of Postgres' own rankings the one that finds most.
# A hit must share at least half of the query's words, so that a query about something else finds nothing.
_SEARCH = text("""
    WITH query AS (
        SELECT CAST(replace(CAST(plainto_tsquery('english', :query) AS text), '&', '|') AS tsquery) AS any_word,
               tsvector_to_array(to_tsvector('english', :query)) AS words
    )
    SELECT bills.jurisdiction, bills.bill_id, bills.session, bill_sections.label, bill_sections.heading,
           bill_sections.text, ts_rank(bill_sections.words, query.any_word, 1) AS score
    FROM query
    JOIN bill_sections ON bill_sections.words @@ query.any_word
    JOIN bills ON bills.id = bill_sections.bill_id
    WHERE (bills.jurisdiction, bills.bill_id, bills.session) <> (:jurisdiction, :bill_id, :session)
      AND cardinality(query.words) <= 2 * (
          SELECT count(*) FROM unnest(query.words) AS word
          WHERE word = ANY(tsvector_to_array(bill_sections.words)))
    ORDER BY score DESC, bills.id DESC, bill_sections.ordinal
    LIMIT :count
""")


class StoredCorpus:
    """The stored bills, without the one that is being analysed, by word search in Postgres."""

    name = "stored corpus"

    def __init__(self, engine: AsyncEngine, exclude: BillKey) -> None:
        self._engine = engine
        self._exclude = exclude

    async def search(self, query: str, *, count: int) -> list[SearchHit]:
        """Sections of other bills that share at least half of the query's words."""
        values = {"query": query, "count": count, **self._exclude.model_dump()}
        with database_errors():
            async with self._engine.connect() as connection:
                rows = (await connection.execute(_SEARCH, values)).all()
        return [
            SearchHit(
                title=" ".join(part for part in (row.label, row.heading) if part) or "Opening",
                source=f"{row.jurisdiction}/{row.bill_id}/{row.session}",
                text=best_passage(row.text, query),
                score=float(row.score),
            )
            for row in rows
        ]


def best_passage(body: str, query: str, characters: int = PASSAGE_CHARACTERS) -> str:
    """The stretch of `body`, at most `characters` long and cut at spaces, with most of the query's words.

    The text is as it stands in `body`, so that a quote from the passage is a quote from its source.
    """
    if len(body) <= characters:
        return body.strip()
    words = {word.lower() for word in re.findall(r"\w{4,}", query)}
    places = [match.start() for match in re.finditer(r"\w{4,}", body) if match[0].lower() in words] or [0]
    best = max(range(len(places)), key=lambda first: bisect_left(places, places[first] + characters) - first)
    start = body.rfind(" ", 0, places[best]) + 1
    end = start + characters
    if end < len(body):
        end = max(body.rfind(" ", start, end), start + 1)
    return body[start:end].strip()
