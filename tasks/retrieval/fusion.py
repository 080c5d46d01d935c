"""One ranking of several, and a ranking without repetition: pure, without I/O."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

RANK_CONSTANT = 60
"""k of reciprocal rank fusion, as in its paper."""
WORDS_SHARE = 0.5
"""Part of the words in fused scores: as much as the vectors'."""

Item = TypeVar("Item", bound=Hashable)


def fuse_ranks(rankings: Sequence[Sequence[Item]], *, k: float = RANK_CONSTANT) -> dict[Item, float]:
    """Reciprocal rank fusion: each item gets 1 / (k + rank) from every ranking that has it.

    Cormack, Clarke and Büttcher: Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods
    (SIGIR 2009). Ranks count from 1.
    """
    fused: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            fused[item] = fused.get(item, 0.0) + 1 / (k + rank)
    return fused


def fuse_scores(
    words: Mapping[Item, float], vectors: Mapping[Item, float], *, words_share: float = WORDS_SHARE
) -> dict[Item, float]:
    """A convex combination of both scores, each brought to the range from 0 to 1.

    Bruch, Gai and Ingber: An Analysis of Fusion Functions for Hybrid Retrieval (ACM TOIS 42, 2023). The least that BM25
    can be is 0, so that its scores are divided by the highest; cosines, whose least says nothing, are stretched between
    the lowest and the highest among the items. An item without one of the scores has 0 there.
    """
    most = max(words.values(), default=0.0) or 1.0
    low, high = min(vectors.values(), default=0.0), max(vectors.values(), default=0.0)
    reach = (high - low) or 1.0
    fused = {item: words_share * score / most for item, score in words.items()}
    for item, cosine in vectors.items():
        fused[item] = fused.get(item, 0.0) + (1 - words_share) * (cosine - low) / reach
    return fused


def diversify(
    relevance: Sequence[float], vectors: NDArray[np.float32], *, limit: int, weight: float
) -> list[tuple[int, float]]:
    """Places of the items to show, by maximal marginal relevance, each with its marginal relevance.

    Carbonell and Goldstein: The Use of MMR, Diversity-Based Reranking (SIGIR 1998): next is always the item with the
    highest weight · relevance - (1 - weight) · (highest cosine to an item already shown).

    Args:
        relevance: of each item, brought to the range from 0 to 1 by whoever calls.
        vectors: one row for each item, of any length but zero.
        limit: how many to show.
        weight: 1 orders by relevance alone, 0 by novelty alone.
    """
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if len(relevance) else vectors
    alike = np.zeros(len(relevance))
    gain = weight * np.asarray(relevance, dtype=np.float64)
    left = np.ones(len(relevance), dtype=bool)
    shown: list[tuple[int, float]] = []
    while left.any() and len(shown) < limit:
        marginal = np.where(left, gain - (1 - weight) * alike, -np.inf)
        place = int(marginal.argmax())
        shown.append((place, float(marginal[place])))
        left[place] = False
        near = units @ units[place]
        alike = near if len(shown) == 1 else np.maximum(alike, near)
    return shown
