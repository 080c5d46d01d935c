"""BM25 by hand: three documents, k1 1.2, b 0.75."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrieval.bm25 import MOST_FREQUENT, Statistics, WordScores, pack, score_words, unpack

NONE = np.zeros(0, dtype=np.int32)
# Numbers 5, 7 and 9, of 4, 2 and 6 terms: 4 on average.
DOCUMENTS = [
    (5, 4, {"heap": 2, "tree": 1, "sort": 1}),
    (7, 2, {"tree": 2}),
    (9, 6, {"tree": 1, "graph": 5}),
]
POSTINGS = pack(DOCUMENTS)
ALL = Statistics(documents=3, length=12, deleted=NONE)
HEAP = math.log(1 + 2.5 / 1.5)  # 1 of 3 has it
TREE = math.log(1 + 0.5 / 3.5)  # all have it


def scores(found: WordScores) -> dict[int, float]:
    return {number: found.score(number) for number in found.best}


def test_postings_are_numbers_frequencies_and_lengths() -> None:
    assert unpack(POSTINGS["tree"]).tolist() == [(5, 1, 4), (7, 2, 2), (9, 1, 6)]
    assert unpack(POSTINGS["graph"]).tolist() == [(9, 5, 6)]
    assert pack([]) == {}


def test_a_frequency_beyond_what_fits_is_the_most_that_does() -> None:
    assert unpack(pack([(1, 2**17, {"a": 2**17})])["a"]).tolist() == [(1, MOST_FREQUENT, 2**17)]


def test_scores_are_those_of_the_formula() -> None:
    found = score_words(POSTINGS, {"heap": 1, "tree": 1}, ALL)
    # Document 5 is as long as the average: f · 2.2 / (f + 1.2). The others: 1.2 · (0.25 + 0.75 · l / 4).
    assert scores(found) == pytest.approx(
        {
            5: HEAP * 2 * 2.2 / 3.2 + TREE * 2.2 / 2.2,
            7: TREE * 2 * 2.2 / (2 + 1.2 * 0.625),
            9: TREE * 2.2 / (1 + 1.2 * 1.375),
        }
    )
    assert found.best == [5, 7, 9]
    assert found.score(4) == found.score(6) == found.score(10) == 0


def test_a_term_asked_for_twice_counts_twice() -> None:
    once, twice = (score_words(POSTINGS, {"heap": weight}, ALL).score(5) for weight in (1, 2))
    assert twice == pytest.approx(2 * once)


def test_what_each_term_gave_adds_up_to_the_score() -> None:
    found = score_words(POSTINGS, {"heap": 1, "tree": 1, "nowhere": 1}, ALL)
    shares = found.explain([5, 9, 4])
    assert {number: [share.term for share in given] for number, given in shares.items()} == {
        5: ["heap", "tree"],
        9: ["tree"],
    }
    assert sum(share.score for share in shares[5]) == pytest.approx(found.score(5))
    assert shares[5][0].idf == pytest.approx(HEAP)
    nowhere = math.log(1 + 3.5 / 0.5)
    assert found.coverage(shares[9]) == pytest.approx(TREE / (HEAP + TREE + nowhere))
    assert found.coverage([]) == 0


def test_deleted_documents_have_no_score_and_count_nowhere() -> None:
    left = Statistics(documents=2, length=8, deleted=np.array([5], dtype=np.int32))
    found = score_words(POSTINGS, {"heap": 1, "tree": 1}, left)
    assert found.best == [7, 9]
    both = math.log(1 + 0.5 / 2.5)
    assert found.score(7) == pytest.approx(both * 2 * 2.2 / (2 + 1.2 * 0.625))


def test_only_wanted_documents_are_found_by_the_statistics_of_all() -> None:
    wanted = np.array([1, 9, 100], dtype=np.int32)
    found = score_words(POSTINGS, {"tree": 1}, ALL, wanted=wanted)
    assert scores(found) == pytest.approx({9: TREE * 2.2 / (1 + 1.2 * 1.375)})


def test_the_best_are_as_many_as_asked_and_equal_ones_by_number() -> None:
    postings = pack([(number, 1, {"a": 1}) for number in (4, 2, 8, 6)])
    found = score_words(postings, {"a": 1}, Statistics(4, 4, NONE), depth=3)
    assert found.best == [2, 4, 6]
    assert found.score(8) > 0


def test_nothing_is_found_for_terms_that_no_document_has() -> None:
    assert score_words(POSTINGS, {"nowhere": 1}, ALL).best == []
    assert score_words({}, {}, Statistics(0, 0, NONE)).best == []


@given(
    st.lists(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9), min_size=1), min_size=1, max_size=20),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3), min_size=1),
    st.integers(1, 10),
)
def test_the_best_are_those_that_sorting_all_gives(
    terms: list[dict[str, int]], query: dict[str, int], depth: int
) -> None:
    documents = [(number, sum(one.values()), one) for number, one in enumerate(terms)]
    statistics = Statistics(len(documents), sum(length for _, length, _ in documents), NONE)
    found = score_words(pack(documents), query, statistics, depth=depth)
    every = {number: found.score(number) for number in range(len(terms)) if found.score(number) > 0}
    assert found.best == sorted(every, key=lambda number: (-every[number], number))[:depth]
    assert set(every) == {number for number, _, one in documents if one.keys() & query.keys()}
