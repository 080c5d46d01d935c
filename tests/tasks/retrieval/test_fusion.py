"""Fusion and diversity, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.retrieval.fusion import diversify, fuse_ranks, fuse_scores


def test_reciprocal_ranks_are_added_up() -> None:
    fused = fuse_ranks([["a", "b"], ["b", "c"]], k=60)
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})


def test_the_constant_says_how_much_the_first_ranks_count() -> None:
    assert fuse_ranks([["a", "b"]], k=0) == {"a": 1.0, "b": 0.5}


def test_scores_are_brought_to_one_range_and_weighed_alike() -> None:
    fused = fuse_scores({"a": 8.0, "b": 2.0}, {"b": 0.9, "c": 0.5, "d": 0.7})
    assert fused == pytest.approx({"a": 0.5, "b": 0.5 * 0.25 + 0.5, "c": 0.0, "d": 0.25})


def test_the_share_of_the_words_can_be_another() -> None:
    assert fuse_scores({"a": 1.0}, {"a": 0.5, "b": 0.0}, words_share=0.2) == pytest.approx({"a": 1.0, "b": 0.0})


def test_scores_of_one_kind_alone_are_fused_as_well() -> None:
    assert fuse_scores({"a": 4.0, "b": 1.0}, {}) == pytest.approx({"a": 0.5, "b": 0.125})
    assert fuse_scores({}, {"a": 0.3}) == {"a": 0.0}


VECTORS = np.array([[2, 0], [1, 0], [0, 1]], dtype=np.float32)


def test_what_says_the_same_is_shown_after_what_is_new() -> None:
    # After the first, the second is as like to it as can be: 0.7 · 0.9 - 0.3 · 1; the third is not: 0.7 · 0.5.
    shown = diversify([1.0, 0.9, 0.5], VECTORS, limit=3, weight=0.7)
    assert [place for place, _ in shown] == [0, 2, 1]
    assert [gain for _, gain in shown] == pytest.approx([0.7, 0.35, 0.33])


def test_with_all_weight_on_relevance_the_order_stays() -> None:
    assert [place for place, _ in diversify([0.2, 0.9, 0.5], VECTORS, limit=2, weight=1.0)] == [1, 2]


def test_nothing_is_made_of_nothing() -> None:
    assert diversify([], np.zeros((0, 2), dtype=np.float32), limit=3, weight=0.5) == []
