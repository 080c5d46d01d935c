"""The ranking of a search: words and vectors scored, fused, and each hit's reasons. What benchmarks measure as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.search import EVERYTHING, Fusion, SearchFilter, SearchMode, Standing, TermShare, Why
from tasks.retrieval.bm25 import TEXTBOOK, Bm25Parameters, WordScores
from tasks.retrieval.fusion import RANK_CONSTANT, WORDS_SHARE, fuse_ranks, fuse_scores
from tasks.retrieval.tokenizing import query_terms
from tasks.retrieval.vector_search import Generation, nearest, similarities
from tasks.retrieval.word_search import read_words

CANDIDATES = 100
"""Taken of words and of vectors each; more where more hits are wanted."""


@dataclass(frozen=True)
class RankingOptions:
    """How words and vectors are ranked and made one; the defaults are those of `headrace search`."""

    fusion: Fusion = "scores"
    words_share: float = WORDS_SHARE
    rank_constant: float = RANK_CONSTANT
    bm25: Bm25Parameters = TEXTBOOK


USUAL = RankingOptions()


@dataclass(frozen=True)
class Found:
    """What words and vectors say of one query.

    Attributes:
        words: None where words were not asked.
        vectors: cosine similarities by number, the nearest first; those of the best by words are among them.
        near: how many of `vectors`, the first by rank, were found by vectors.
    """

    words: WordScores | None
    vectors: Mapping[int, float]
    near: frozenset[int]
    depth: int


@dataclass(frozen=True)
class Ranked:
    """One chunk of a ranking, by its number."""

    number: int
    score: float
    relevance: float
    why: Why


async def look_up(
    connection: AsyncConnection,
    generation: Generation,
    query: str,
    vector: Sequence[float] | None,
    *,
    mode: SearchMode = "hybrid",
    chosen: SearchFilter = EVERYTHING,
    limit: int = 10,
    options: RankingOptions = USUAL,
) -> Found:
    """What words and vectors say of `query`; `vector` is its embedding, None where only words are asked."""
    depth = max(CANDIDATES, limit)
    terms = query_terms(query) if mode != "vectors" else {}
    words = None
    wanted = None
    if terms or chosen.limits:
        index = await read_words(connection, generation.chunker, terms, chosen)
        wanted = index.wanted
        words = index.score(terms, parameters=options.bm25, explained=depth)
    if vector is None or mode == "words":
        return Found(words, {}, frozenset(), depth)
    near = await nearest(connection, generation, vector, limit=depth, wanted=wanted, chosen=chosen)
    near = dict(list(near.items())[:depth])
    vectors = dict(near)
    if words is not None and mode == "hybrid":
        others = np.setdiff1d(words.numbers[:depth], np.fromiter(near, dtype=np.int32))
        vectors |= await similarities(connection, generation, vector, others)
    return Found(words, vectors, frozenset(near), depth)


def rank(found: Found, mode: SearchMode = "hybrid", options: RankingOptions = USUAL) -> list[Ranked]:
    """The chunks that were found, best first; equal ones in the order they were indexed."""
    words = _word_standings(found, mode)
    vectors = _vector_standings(found)
    match mode:
        case "words":
            scores = {number: standing.score for number, (standing, _) in words.items()}
        case "vectors":
            scores = dict(found.vectors)
        case _:
            scores = _fused(found, words, options)
    ordered = sorted(scores, key=lambda number: (-scores[number], number))
    return [_ranked(number, scores[number], found, words, vectors, fused=mode == "hybrid") for number in ordered]


def _word_standings(found: Found, mode: SearchMode) -> dict[int, tuple[Standing, float]]:
    """Rank and score by words, and coverage, of the best by words and of what vectors found."""
    if found.words is None or mode == "vectors":
        return {}
    standings = {}
    triples = zip(found.words.numbers.tolist(), found.words.scores.tolist(), found.words.coverage.tolist(), strict=True)
    for place, (number, score, coverage) in enumerate(triples, start=1):
        if place <= found.depth or number in found.vectors:
            standings[number] = (Standing(rank=place, score=score), coverage)
    return standings


def _vector_standings(found: Found) -> dict[int, Standing]:
    near = [number for number in found.vectors if number in found.near]
    ranks = {number: place for place, number in enumerate(near, start=1)}
    return {number: Standing(rank=ranks.get(number), score=cosine) for number, cosine in found.vectors.items()}


def _fused(found: Found, words: Mapping[int, tuple[Standing, float]], options: RankingOptions) -> dict[int, float]:
    scores = {number: standing.score for number, (standing, _) in words.items()}
    if options.fusion == "scores":
        return fuse_scores(scores, found.vectors, words_share=options.words_share)
    best = found.words.numbers[: found.depth].tolist() if found.words is not None else []
    near = [number for number in found.vectors if number in found.near]
    return fuse_ranks([best, near], k=options.rank_constant)


def _ranked(
    number: int,
    score: float,
    found: Found,
    words: Mapping[int, tuple[Standing, float]],
    vectors: Mapping[int, Standing],
    *,
    fused: bool,
) -> Ranked:
    standing, coverage = words.get(number, (None, 0.0))
    near = vectors.get(number)
    terms = found.words.of(number) if found.words is not None and standing is not None else []
    why = Why(
        words=standing,
        terms=tuple(TermShare(term=term.term, idf=term.idf, score=term.score) for term in terms),
        vectors=near,
        fused=score if fused else None,
    )
    relevance = max(coverage, near.score if near is not None else 0.0)
    return Ranked(number, score, min(max(relevance, 0.0), 1.0), why)
