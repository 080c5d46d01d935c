"""BM25 over packed postings: pure, without I/O.

The formula is that of Robertson and Zaragoza (The Probabilistic Relevance Framework: BM25 and Beyond, 2009, 3.4) with
the always positive inverse document frequency of Lucene: for a term t in n of N documents that occurs f times in a
document of length l, where documents are long a on average,

    ln(1 + (N - n + 0.5) / (n + 0.5)) · f · (k1 + 1) / (f + k1 · (1 - b + b · l / a))

summed over the terms of the query, each times its weight there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POSTING = np.dtype([("number", "<i4"), ("frequency", "<u2"), ("length", "<u4")])
"""A term in a document, as stored: the number of the document, how often it has the term, how long it is."""
MOST_FREQUENT = 2**16 - 1

Numbers = NDArray[np.int32]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Bm25Parameters:
    """How soon repetition stops to count (`k1`), and how much length is held against a document (`b`, 0 to 1)."""

    k1: float = 1.2
    b: float = 0.75


TEXTBOOK = Bm25Parameters()


@dataclass(frozen=True)
class Statistics:
    """What is known of all documents that are searched.

    Attributes:
        documents: how many there are now.
        length: their lengths together, in terms.
        deleted: numbers that postings may still have.
    """

    documents: int
    length: int
    deleted: Numbers


@dataclass(frozen=True)
class TermScore:
    """What one term of the query is worth, and what it gave a document."""

    term: str
    idf: float
    score: float


@dataclass(frozen=True)
class _Given:
    """What a term gave: `scores` to the documents at `places`."""

    term: str
    idf: float
    weight: float
    places: NDArray[np.int64]
    scores: Scores


class WordScores:
    """The documents that have a term of the query and are wanted, with their BM25 scores.

    Attributes:
        best: the numbers of the best, best first; equal ones by number.
    """

    def __init__(self, given: Sequence[_Given], first: int, size: int, wanted: Numbers | None, depth: int) -> None:
        self._given = given
        self._first = first
        self._scores = np.zeros(size)
        for one in given:
            self._scores[one.places] += one.scores
        if wanted is not None:
            kept = np.zeros(size, dtype=bool)
            places = wanted - first
            kept[places[(places >= 0) & (places < size)]] = True
            self._scores[~kept] = 0.0
        self.best = self.highest(depth)

    def highest(self, depth: int) -> list[int]:
        """As `best`, so many of them."""
        found: list[int] = (_highest(self._scores, depth) + self._first).tolist()
        return found

    def score(self, number: int) -> float:
        """The score of a document; 0 where it has no term of the query, or is not wanted."""
        place = number - self._first
        return float(self._scores[place]) if 0 <= place < self._scores.size else 0.0

    def explain(self, numbers: Sequence[int]) -> dict[int, list[TermScore]]:
        """What each term gave these documents, the most first; terms that one does not have are left out."""
        asked = np.zeros(self._scores.size, dtype=bool)
        inside = [number - self._first for number in numbers if self.score(number) > 0]
        asked[inside] = True
        shares: dict[int, list[TermScore]] = {place + self._first: [] for place in inside}
        for one in self._given:
            here = asked[one.places]
            for place, score in zip(one.places[here].tolist(), one.scores[here].tolist(), strict=True):
                shares[place + self._first].append(TermScore(one.term, one.idf, score))
        return {number: sorted(found, key=lambda share: -share.score) for number, found in shares.items()}

    def coverage(self, shares: Sequence[TermScore]) -> float:
        """Which share of the query's weight these terms of it are, from 0 to 1.

        The weight of a term is its inverse document frequency, also of those that no document has.
        """
        worth = {one.term: one.weight * one.idf for one in self._given}
        return sum(worth[share.term] for share in shares) / (sum(worth.values()) or 1.0)


def pack(documents: Iterable[tuple[int, int, Mapping[str, int]]]) -> dict[str, bytes]:
    """The postings of each term, of documents given as number, length and the terms with their frequencies."""
    places: dict[str, int] = {}
    of_terms: list[int] = []
    frequencies: list[int] = []
    known: list[tuple[int, int, int]] = []
    for number, length, terms in documents:
        of_terms += [places.setdefault(term, len(places)) for term in terms]
        frequencies += terms.values()
        known.append((number, length, len(terms)))
    if not of_terms:
        return {}
    numbers, lengths, counts = np.array(known, dtype=np.int64).T
    rows = np.empty(len(of_terms), dtype=POSTING)
    rows["number"], rows["length"] = np.repeat(numbers, counts), np.repeat(lengths, counts)
    rows["frequency"] = np.minimum(frequencies, MOST_FREQUENT)
    by_term = np.array(of_terms)
    rows = rows[np.argsort(by_term, kind="stable")]
    ends = np.cumsum(np.bincount(by_term)).tolist()
    return {term: rows[start:end].tobytes() for term, start, end in zip(places, [0, *ends], ends, strict=False)}


def unpack(postings: bytes) -> NDArray[np.void]:
    """The rows of `POSTING` that these bytes are."""
    return np.frombuffer(postings, dtype=POSTING)


def inverse_document_frequency(having: int, documents: int) -> float:
    """How much it says that a document has a term which `having` of `documents` have."""
    return math.log(1 + (documents - having + 0.5) / (having + 0.5))


def score_words(
    postings: Mapping[str, bytes],
    query: Mapping[str, float],
    statistics: Statistics,
    *,
    wanted: Numbers | None = None,
    parameters: Bm25Parameters = TEXTBOOK,
    depth: int = 100,
) -> WordScores:
    """The documents that have a term of `query`, with their BM25 scores.

    Args:
        postings: packed, by term; terms that no document has may be left out.
        query: the weight of each term.
        wanted: only these documents have a score; the statistics stay those of all.
        depth: how many of the best are put in order.
    """
    found = {term: _living(unpack(postings.get(term, b"")), statistics.deleted) for term in query}
    ranges = [(int(rows["number"].min()), int(rows["number"].max())) for rows in found.values() if rows.size]
    first = min((low for low, _ in ranges), default=0)
    size = max((high for _, high in ranges), default=first - 1) - first + 1
    average = max(statistics.length / max(statistics.documents, 1), 1.0)
    given = []
    for term, rows in found.items():
        idf = inverse_document_frequency(rows.size, statistics.documents)
        scores = query[term] * idf * saturation(rows, average, parameters)
        given.append(_Given(term, idf, query[term], rows["number"].astype(np.int64) - first, scores))
    return WordScores(given, first, size, wanted, depth)


def saturation(rows: NDArray[np.void], average: float, parameters: Bm25Parameters) -> Scores:
    """The part of the formula that depends on the document, from 0 to k1 + 1."""
    frequency = rows["frequency"].astype(np.float64)
    k1, b = parameters.k1, parameters.b
    share: Scores = frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * rows["length"] / average))
    return share


def _living(rows: NDArray[np.void], deleted: Numbers) -> NDArray[np.void]:
    return rows[~np.isin(rows["number"], deleted)] if deleted.size and rows.size else rows


def _highest(scores: Scores, depth: int) -> NDArray[np.int64]:
    """Places of the highest scores above zero, highest first; equal ones in their order."""
    places = np.flatnonzero(scores > 0)
    if places.size > depth:
        least = np.partition(scores[places], places.size - depth)[places.size - depth]
        places = places[scores[places] >= least]
    return places[np.argsort(-scores[places], kind="stable")][:depth]
