"""The ranking of a search: words and vectors scored, fused, and each hit's reasons. What benchmarks measure as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.search import EVERYTHING, Fusion, SearchFilter, SearchMode, Standing, TermShare, Why
from tasks.retrieval.bm25 import TEXTBOOK, Bm25Parameters, TermScore, WordScores
from tasks.retrieval.fusion import RANK_CONSTANT, WORDS_SHARE, fuse_ranks, fuse_scores
from tasks.retrieval.repeats import TextKey, first_of_each, read_texts, without_repeats
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
        best: those that words found, best first.
        vectors: cosine similarities by number, the nearest first; those of the best by words are among them.
        near: those that vectors found, the nearest first.
        texts: which of them all are the same passage of the same material.
    """

    words: WordScores | None
    best: Sequence[int] = ()
    vectors: Mapping[int, float] = field(default_factory=dict)
    near: Sequence[int] = ()
    texts: Mapping[int, TextKey] = field(default_factory=dict)


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
    """What words and vectors say of `query`; `vector` is its embedding, None where only words are asked.

    Neither has two passages of a material that are the same.
    """
    depth, enough = max(CANDIDATES, limit), max(CANDIDATES // 2, limit)
    terms = query_terms(query) if mode != "vectors" else {}
    words, index = None, None
    if terms or chosen.limits:
        index = await read_words(connection, generation.chunker, terms, chosen)
    if terms and index is not None:
        words = index.score(terms, parameters=options.bm25, depth=depth)
    wanted = index.wanted if index is not None else None
    cosines: dict[int, float] = {}

    async def by_vectors(most: int) -> list[int]:
        if vector is None or mode == "words":
            return []
        near = await nearest(connection, generation, vector, limit=most, wanted=wanted, chosen=chosen)
        cosines.update(near)
        return list(near)

    async def by_words(most: int) -> list[int]:
        return words.highest(most) if words is not None else []

    near, best = await by_vectors(depth), words.best if words is not None else []
    texts = await read_texts(connection, dict.fromkeys([*near, *best]))
    near = await without_repeats(connection, near, depth, by_vectors, texts, enough=enough)
    best = await without_repeats(connection, best, depth, by_words, texts, enough=enough)
    vectors = {number: cosines[number] for number in near}
    if vector is not None and mode != "words":
        others = np.array([number for number in best if number not in vectors], dtype=np.int32)
        vectors |= await similarities(connection, generation, vector, others)
    return Found(words, best, vectors, near, texts)


def rank(found: Found, mode: SearchMode = "hybrid", options: RankingOptions = USUAL) -> list[Ranked]:
    """The chunks that were found, best first; equal ones in the order they were indexed.

    Of a passage that a material has more than once, the one with the best score.
    """
    match mode:
        case "words":
            scores = _word_scores(found, found.best)
        case "vectors":
            scores = dict(found.vectors)
        case _ if options.fusion == "ranks":
            scores = _rank_scores(found, options.rank_constant)
        case _:
            words = _word_scores(found, {*found.best, *found.vectors})
            scores = fuse_scores(words, found.vectors, words_share=options.words_share)
    ordered = sorted(scores, key=lambda one: (-scores[one], one))
    return [Ranked(number, scores[number]) for number in first_of_each(ordered, found.texts)]


def reasons(found: Found, ranked: Sequence[Ranked], mode: SearchMode) -> dict[int, tuple[float, Why]]:
    """Relevance, from 0 to 1, and reasons of these chunks, by number."""
    shares = found.words.explain([one.number for one in ranked]) if found.words is not None else {}
    by_words = {number: place for place, number in enumerate(found.best, start=1)}
    by_vectors = {number: place for place, number in enumerate(found.near, start=1)}
    return {one.number: _reason(one, found, shares.get(one.number, []), by_words, by_vectors, mode) for one in ranked}


def _word_scores(found: Found, numbers: Iterable[int]) -> dict[int, float]:
    """The scores of those of `numbers` that have any."""
    if found.words is None:
        return {}
    scores = {number: found.words.score(number) for number in numbers}
    return {number: score for number, score in scores.items() if score > 0}


def _rank_scores(found: Found, k: float) -> dict[int, float]:
    """Ranks made one, text by text: words and vectors may know the same one by different numbers."""
    keys = {number: found.texts.get(number, number) for number in [*found.best, *found.near]}
    fused = fuse_ranks([[keys[number] for number in ranking] for ranking in (found.best, found.near)], k=k)
    return {number: fused[key] for number, key in keys.items()}


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
