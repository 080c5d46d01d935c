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
class WordScores:
    """Every document that has a term of the query and is wanted.

    Attributes:
        numbers: the documents, best first; equal ones by number.
        scores: the BM25 score of each.
        coverage: of each, which share of the query's weight (the inverse document frequencies of its terms, those that
            no document has included) the terms that it has make up; from 0 to 1.
        terms: score of each term by document, for those who want to know why.
    """

    numbers: Numbers
    scores: Scores
    coverage: Scores
    terms: Mapping[str, tuple[float, Mapping[int, float]]]

    def of(self, number: int) -> list[TermScore]:
        """What each term gave a document, the most first; terms that it does not have are left out."""
        found = [TermScore(term, idf, given[number]) for term, (idf, given) in self.terms.items() if number in given]
        return sorted(found, key=lambda one: -one.score)


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
    explained: int = 0,
) -> WordScores:
    """The documents that have a term of `query`, with their BM25 scores.

    Args:
        postings: packed, by term; terms that no document has may be left out.
        query: the weight of each term.
        wanted: only these documents are returned; the statistics stay those of all.
        explained: of so many of the best, `terms` says what each term gave.
    """
    found = {term: _living(unpack(postings.get(term, b"")), statistics.deleted) for term in query}
    numbers = [rows["number"] for rows in found.values() if rows.size]
    if not numbers:
        return _nothing()
    first = min(int(some.min()) for some in numbers)
    scores = np.zeros(max(int(some.max()) for some in numbers) - first + 1)
    coverage = np.zeros_like(scores)
    worth = {term: inverse_document_frequency(rows.size, statistics.documents) for term, rows in found.items()}
    whole = sum(query[term] * idf for term, idf in worth.items())
    average = max(statistics.length / max(statistics.documents, 1), 1.0)
    given = {}
    for term, rows in found.items():
        places = rows["number"] - first
        given[term] = query[term] * worth[term] * saturation(rows, average, parameters)
        scores[places] += given[term]
        coverage[places] += query[term] * worth[term] / whole
    order = _best(scores if wanted is None else _only(scores, wanted - first))
    best = {int(number) for number in order[:explained] + first}
    return WordScores(
        numbers=(order + first).astype(np.int32),
        scores=scores[order],
        coverage=coverage[order],
        terms={term: (worth[term], _explain(rows, given[term], best)) for term, rows in found.items()} if best else {},
    )


def saturation(rows: NDArray[np.void], average: float, parameters: Bm25Parameters) -> Scores:
    """The part of the formula that depends on the document, from 0 to k1 + 1."""
    frequency = rows["frequency"].astype(np.float64)
    k1, b = parameters.k1, parameters.b
    share: Scores = frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * rows["length"] / average))
    return share


def _living(rows: NDArray[np.void], deleted: Numbers) -> NDArray[np.void]:
    return rows[~np.isin(rows["number"], deleted)] if deleted.size and rows.size else rows


def _only(scores: Scores, wanted: Sequence[int] | NDArray[np.int32]) -> Scores:
    """`scores`, with those that are not wanted at zero."""
    places = np.asarray(wanted)
    places = places[(places >= 0) & (places < scores.size)]
    kept = np.zeros_like(scores)
    kept[places] = scores[places]
    return kept


def _best(scores: Scores) -> NDArray[np.int64]:
    """Places of the scores above zero, highest first; equal ones in their order."""
    places = np.flatnonzero(scores > 0)
    return places[np.argsort(-scores[places], kind="stable")]


def _explain(rows: NDArray[np.void], given: Scores, best: set[int]) -> dict[int, float]:
    numbers = rows["number"]
    kept = np.isin(numbers, list(best))
    return {int(number): float(score) for number, score in zip(numbers[kept], given[kept], strict=True)}


def _nothing() -> WordScores:
    return WordScores(np.zeros(0, np.int32), np.zeros(0), np.zeros(0), {})
