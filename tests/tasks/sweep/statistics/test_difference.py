"""Differences of means, checked against ones worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from tasks.sweep.statistics.difference import Sample, paired_difference, separate_difference


def test_equal_differences_have_no_width() -> None:
    found = paired_difference(np.full(4, 0.1), np.arange(4), np.zeros(4, dtype=np.intp), 0)
    assert (found.unit, found.units, found.p_value) == ("combinations", 4, 0.0)
    assert found.interval is not None
    assert [found.difference, found.interval.low, found.interval.high] == pytest.approx([0.1, 0.1, 0.1])


def test_pairs_have_the_p_of_students_test_and_an_interval_about_as_wide_as_t() -> None:
    random = np.random.default_rng(3)
    first, second = random.normal(0.5, 0.1, 30), random.normal(0.6, 0.1, 30)
    found = paired_difference(second - first, np.arange(30), np.zeros(30, dtype=np.intp), 0)
    truth = ttest_rel(second, first)
    ends = truth.confidence_interval()
    assert found.p_value == pytest.approx(truth.pvalue)
    assert found.interval is not None
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(ends.high - ends.low, rel=0.15)
    assert found.interval.low < found.difference < found.interval.high


def test_repeats_of_a_cell_and_prompts_of_a_combination_are_no_new_evidence() -> None:
    differences = np.repeat([0.0, 0.1, 0.2, 0.3], 3)
    found = paired_difference(differences, np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4), 0)
    assert (found.unit, found.units) == ("combinations", 4)
    # Mean .15, standard error sqrt(.05 / 3) / 2 = .06455: t = 2.3238 with 3 degrees of freedom.
    assert found.p_value == pytest.approx(0.10278, abs=1e-4)


def sample(scores: list[float], cells: list[int], combinations: list[int]) -> Sample:
    return Sample(np.array(scores), np.array(cells, dtype=np.intp), np.array(combinations, dtype=np.intp))


def test_samples_without_pairs_are_compared_by_welch() -> None:
    random = np.random.default_rng(5)
    one, other = random.normal(0.4, 0.05, 12), random.normal(0.5, 0.15, 7)
    found = separate_difference(
        sample(list(one), list(range(12)), list(range(12))), sample(list(other), list(range(7)), list(range(7))), 0
    )
    truth = ttest_ind(other, one, equal_var=False)
    assert (found.unit, found.units) == ("combinations", 7)
    assert found.difference == pytest.approx(other.mean() - one.mean())
    assert found.p_value == pytest.approx(truth.pvalue)
    assert found.interval is not None
    assert found.interval.low < found.difference < found.interval.high


@pytest.mark.parametrize(
    ("cells", "combinations", "unit"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], "combinations"),
        ([0, 1, 2, 3], [0, 0, 1, 1], "cells"),
        ([0] * 4, [0] * 4, "responses"),
    ],
)
def test_the_coarsest_means_that_are_enough_are_the_units(cells: list[int], combinations: list[int], unit: str) -> None:
    side = sample([0.1, 0.2, 0.3, 0.4], cells, combinations)
    assert separate_difference(side, side, 0).unit == unit


def test_of_one_answer_a_side_nothing_is_known_but_the_difference() -> None:
    found = separate_difference(sample([0.25], [0], [0]), sample([0.5], [0], [0]), 0)
    assert (found.difference, found.interval, found.p_value, found.units) == (0.25, None, None, 1)


def test_samples_that_do_not_vary() -> None:
    flat, other = sample([0.5, 0.5], [0, 1], [0, 1]), sample([0.7, 0.7], [0, 1], [0, 1])
    assert separate_difference(flat, flat, 0).p_value == 1.0
    assert separate_difference(flat, other, 0).p_value == 0.0


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(8)
    held = 0
    for _ in range(200):
        differences = random.normal(0.1, 0.1, 10)
        interval = paired_difference(differences, np.arange(10), np.zeros(10, dtype=np.intp), 0).interval
        assert interval is not None
        held += interval.low <= 0.1 <= interval.high
    assert held >= 180
