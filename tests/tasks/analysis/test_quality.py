"""One number for the quality of an analysis, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.analysis import Rubric
from tasks.analysis.quality import quality_score, section_coverage
from tests.tasks.analysis.small_bills import analysis_with


def rubric(*scores: int) -> Rubric:
    return Rubric(**dict(zip(("accuracy", "completeness", "evidence", "clarity"), scores, strict=True)))


BEST, WORST = rubric(5, 5, 5, 5), rubric(1, 1, 1, 1)


def test_all_located_in_every_section_and_praised_is_one() -> None:
    assert quality_score(analysis_with([True], [True]), BEST, [100, 100]) == 1.0


def test_nothing_said_and_the_worst_scores_is_zero() -> None:
    assert quality_score(analysis_with(), WORST, [100]) == 0.0


def test_the_parts_are_weighed() -> None:
    # 3 of 4 pieces located: 0.5 · 0.75; 2 of 4 sections worth citing cited: 0.2 · 0.5; mean score 3: 0.3 · 0.5
    analysis = analysis_with([True, False], [True, True])
    assert quality_score(analysis, rubric(2, 3, 3, 4), [40, 50, 60, 70, 39]) == pytest.approx(0.375 + 0.1 + 0.15)


def test_unsupported_impacts_cover_no_section() -> None:
    assert section_coverage(analysis_with([False]), [100, 100]) == 0.0
    assert section_coverage(analysis_with([False], [True]), [100, 100]) == 0.5


def test_no_more_than_ten_sections_are_expected() -> None:
    ten = analysis_with(*[[True]] * 10)
    assert section_coverage(ten, [100] * 300) == 1.0
    assert section_coverage(analysis_with(*[[True]] * 5), [100] * 300) == 0.5


def test_a_bill_of_short_sections_counts_as_one() -> None:
    assert section_coverage(analysis_with([True]), [5, 6, 7]) == 1.0
    assert section_coverage(analysis_with([True]), []) == 1.0


SCORES = st.integers(1, 5)


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=6),
    st.tuples(SCORES, SCORES, SCORES, SCORES),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_quality_lies_between_zero_and_one(
    located: list[list[bool]], scores: tuple[int, int, int, int], words: list[int]
) -> None:
    assert 0.0 <= quality_score(analysis_with(*located), rubric(*scores), words) <= 1.0
