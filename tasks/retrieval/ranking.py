"""The ranking of a search: words and vectors scored, fused, and each hit's reasons. What benchmarks measure as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.search import EVERYTHING, Fusion, SearchFilter, SearchMode, Standing, TermShare, Why
from tasks.retrieval.bm25 import TEXTBOOK, Bm25Parameters, TermScore, WordScores
from tasks.retrieval.fusion import RANK_CONSTANT, WORDS_SHARE, fuse_ranks, fuse_scores
from tasks.retrieval.tokenizing import query_terms
from tasks.retrieval.vector_search import Generation, nearest, similarities
from tasks.retrieval.word_search import read_words

CANDIDATES = 50
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
        near: those that vectors found, the nearest first.
    """

    words: WordScores | None
    vectors: Mapping[int, float]
    near: Sequence[int]


@dataclass(frozen=True)
class Ranked:
    """One chunk of a ranking, by its number."""

    number: int
    score: float


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
    words, index = None, None
    if terms or chosen.limits:
        index = await read_words(connection, generation.chunker, terms, chosen)
    if terms and index is not None:
        words = index.score(terms, parameters=options.bm25, depth=depth)
    if vector is None or mode == "words":
        return Found(words, {}, ())
    wanted = index.wanted if index is not None else None
    near = await nearest(connection, generation, vector, limit=depth, wanted=wanted, chosen=chosen)
    if words is None:
        return Found(None, near, tuple(near))
    others = [number for number in words.best if number not in near]
    also = await similarities(connection, generation, vector, np.array(others, dtype=np.int32))
    return Found(words, near | also, tuple(near))


def rank(found: Found, mode: SearchMode = "hybrid", options: RankingOptions = USUAL) -> list[Ranked]:
    """The chunks that were found, best first; equal ones in the order they were indexed."""
    best = found.words.best if found.words is not None else []
    match mode:
        case "words":
            scores = _word_scores(found, best)
        case "vectors":
            scores = dict(found.vectors)
        case _ if options.fusion == "ranks":
            scores = fuse_ranks([best, found.near], k=options.rank_constant)
        case _:
            words = _word_scores(found, {*best, *found.vectors})
            scores = fuse_scores(words, found.vectors, words_share=options.words_share)
    return [Ranked(number, scores[number]) for number in sorted(scores, key=lambda one: (-scores[one], one))]


def reasons(found: Found, ranked: Sequence[Ranked], mode: SearchMode) -> dict[int, tuple[float, Why]]:
    """Relevance, from 0 to 1, and reasons of these chunks, by number."""
    shares = found.words.explain([one.number for one in ranked]) if found.words is not None else {}
    by_words = {number: place for place, number in enumerate(found.words.best if found.words else [], start=1)}
    by_vectors = {number: place for place, number in enumerate(found.near, start=1)}
    return {one.number: _reason(one, found, shares.get(one.number, []), by_words, by_vectors, mode) for one in ranked}


def _word_scores(found: Found, numbers: Iterable[int]) -> dict[int, float]:
    """The scores of those of `numbers` that have any."""
    if found.words is None:
        return {}
    scores = {number: found.words.score(number) for number in numbers}
    return {number: score for number, score in scores.items() if score > 0}


def _reason(
    one: Ranked,
    found: Found,
    shares: Sequence[TermScore],
    by_words: Mapping[int, int],
    by_vectors: Mapping[int, int],
    mode: SearchMode,
) -> tuple[float, Why]:
    number, cosine = one.number, found.vectors.get(one.number)
    words = None
    if found.words is not None and shares:
        words = Standing(rank=by_words.get(number), score=found.words.score(number))
    why = Why(
        words=words,
        terms=tuple(TermShare(term=share.term, idf=share.idf, score=share.score) for share in shares),
        vectors=None if cosine is None else Standing(rank=by_vectors.get(number), score=cosine),
        fused=one.score if mode == "hybrid" else None,
    )
    coverage = found.words.coverage(shares) if found.words is not None else 0.0
    return min(max(coverage, cosine or 0.0, 0.0), 1.0), why
