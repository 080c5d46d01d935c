"""Small cases whose results were derived by hand."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sweep_statistics import TrendPoint
from tasks.sweep.statistics.bootstrap import expanded_tail
from tasks.sweep.statistics.comparison import compare_pairs
from tasks.sweep.statistics.correlation import correlate, strength_of
from tasks.sweep.statistics.design import fit_levels
from tasks.sweep.statistics.effect import p_of_f
from tasks.sweep.statistics.levels import run_around_best
from tasks.sweep.statistics.multiplicity import adjust_benjamini_hochberg, adjust_by_family, adjust_holm
from tasks.sweep.statistics.observations import as_factor, coarsened
from tasks.sweep.statistics.pareto import pareto_front
from tasks.sweep.statistics.power import judge_power
from tasks.sweep.statistics.trend import best_period, fit_trend
from tests.tasks.sweep.statistics.planted import grid, observe

NAN = float("nan")
FIRST = date(2026, 3, 1)


def test_the_effects_of_values_are_their_means_about_the_mean_of_all() -> None:
    # Cells 1 2 / 3 6 (temperature down, top_p across), mean 3. Temperature: 1.5 and 4.5. Residuals ±0.5: 4 · 0.25 = 1.
    factors = grid({"temperature": (0.1, 0.2), "top_p": (0.8, 0.9)})
    fit = fit_levels(observe(factors, np.array([1.0, 2.0, 3.0, 6.0])).combinations, "temperature")
    assert fit.effects[:, 0] == pytest.approx([-1.5, 1.5])
    assert (fit.explained[0], fit.unexplained[0]) == pytest.approx((9.0, 1.0))
    assert (fit.df_factor, fit.df_error) == (1, 1)
    # F = 9 / 1 with 1 and 1 degrees of freedom is t = 3 with 1: p = 1 - 2 arctan(3) / pi.
    assert p_of_f(fit) == pytest.approx([1 - 2 * np.arctan(3) / np.pi])


def test_a_correlation_is_of_what_the_other_factors_leave() -> None:
    # One parameter, scores 1 2 4 at 1 2 3: r = 3 / sqrt(2 · 14/3); with a prompt of its own 10 higher, the same.
    factors = grid({"temperature": (1.0, 2.0, 3.0)}, prompts=2)
    scores = np.array([1.0, 11.0, 2.0, 12.0, 4.0, 14.0])
    pearson, spearman = correlate(observe(factors, scores).cells, "temperature")
    assert pearson.coefficient[0] == pytest.approx(3 / np.sqrt(28 / 3))
    assert spearman.coefficient[0] == pytest.approx(1.0)
    assert (pearson.n, pearson.df) == (6, 3)
    interval = pearson.interval(0)
    assert interval is not None
    middle = np.arctanh(3 / np.sqrt(28 / 3))
    assert np.arctanh([interval.low, interval.high]) == pytest.approx(
        [middle - 1.959964 / np.sqrt(2), middle + 1.959964 / np.sqrt(2)], abs=1e-5
    )


def test_correlations_are_called_as_the_older_laboratory_did() -> None:
    assert [strength_of(r) for r in (0.19, -0.2, 0.39, 0.4, -0.69, 0.7, -1.0)] == [
        "negligible", "weak", "weak", "moderate", "moderate", "strong", "strong",
    ]  # fmt: skip


def test_benjamini_and_hochbergs_values_step_up() -> None:
    # Sorted 0.01 0.02 0.03 0.5, times 4/1 4/2 4/3 4/4: 0.04 0.04 0.04 0.5.
    adjusted = adjust_benjamini_hochberg(np.array([0.5, 0.02, NAN, 0.01, 0.03]))
    assert adjusted == pytest.approx([0.5, 0.04, NAN, 0.04, 0.04], nan_ok=True)


def test_holms_values_step_down() -> None:
    # Sorted 0.01 0.02 0.03 0.5, times 4 3 2 1: 0.04 0.06 0.06 0.5.
    assert adjust_holm(np.array([0.5, 0.02, NAN, 0.01, 0.03])) == pytest.approx(
        [0.5, 0.06, NAN, 0.04, 0.06], nan_ok=True
    )


def test_a_family_that_shows_nothing_makes_the_others_stricter() -> None:
    # Simes: 0.002 and 0.6 (0.6 · 2/2), one of two families shows something: within-family values times 2.
    adjusted = adjust_by_family(np.array([[0.001, 0.04], [0.6, 0.5]]))
    assert adjusted == pytest.approx(np.array([[0.004, 0.08], [1.0, 1.0]]))
    assert adjust_by_family(np.array([[NAN, NAN], [0.01, 0.02]]))[1] == pytest.approx([0.02, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_values_are_no_smaller_and_in_the_same_order(values: list[float]) -> None:
    p_values = np.array(values)
    for adjusted in (adjust_benjamini_hochberg(p_values), adjust_holm(p_values)):
        assert (adjusted >= p_values - 1e-12).all()
        assert (adjusted <= 1).all()
        assert (np.diff(adjusted[np.argsort(p_values)]) >= -1e-12).all()


def test_power_follows_the_formula_for_two_means() -> None:
    # Two values, s = 1, 10 units each, difference 0.5: n = 2 (1.96 + 0.84)² / 0.25 = 62.8 each, 2 responses a unit.
    power = judge_power(values=2, units=20, responses=40, variance=1.0, difference=0.5)
    assert power.detectable == pytest.approx(2.8016 * np.sqrt(2 / 10), abs=1e-3)
    assert power.more_responses == 252 - 40  # 4 · 62.79 = 251.2
    assert judge_power(values=2, units=20, responses=40, variance=1.0, difference=1e-9).more_responses is None
    assert judge_power(values=2, units=20, responses=40, variance=1.0, difference=9.0).more_responses == 4


def test_the_front_is_what_nothing_beats() -> None:
    score = np.array([0.9, 0.8, 0.8, 0.7, 0.95, 0.9])
    cost = np.array([3.0, 1.0, 2.0, 1.0, NAN, 3.0])
    assert pareto_front(score, cost).tolist() == [0, 5, 1]
    latency = np.array([9.0, 9.0, 1.0, 5.0, 1.0, 9.0])
    assert pareto_front(score, cost, latency).tolist() == [0, 5, 1, 2, 3]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=40))
def test_the_front_is_the_one_that_comparing_all_gives(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, dtype=float)

    def beaten(one: np.ndarray) -> bool:
        good = np.column_stack([table[:, 0] >= one[0], table[:, 1:] <= one[1:]]).all(axis=1)
        return bool((good & (table != one).any(axis=1)).any())

    expected = {place for place, row in enumerate(table) if not beaten(row)}
    assert set(pareto_front(table[:, 0], table[:, 1], table[:, 2]).tolist()) == expected


def test_the_recommended_run_ends_before_the_first_value_that_is_worse() -> None:
    effects = np.array([0.0, 0.9, 0.2, 0.8, 1.0, 0.9])
    reach = np.full(6, 0.3)
    assert run_around_best(effects, reach, ordered=True).tolist() == [False, False, False, True, True, True]
    assert run_around_best(effects, reach, ordered=False).tolist() == [False, True, False, True, True, True]


def test_few_clusters_take_percentiles_further_out() -> None:
    assert expanded_tail(1) == 0.0
    assert expanded_tail(10**6) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(10) < 0.01


def test_the_slope_is_the_median_of_all_pairs() -> None:
    # 1 2 3 and a wild 13 on days 0 to 3: slopes 1 1 4 1 5.5 10, median 2.5.
    days = [FIRST + timedelta(days=number) for number in range(4)]
    slope = fit_trend(days, [1.0, 2.0, 3.0, 13.0])
    assert slope is not None
    assert (slope.per_day, slope.p_value) == pytest.approx((2.5, 1 / 12))  # of 24 orders 2 are as extreme
    assert fit_trend(days[:3], [1.0, 2.0, 3.0]) is None
    assert fit_trend(days, [1.0] * 4) is not None
    falling = fit_trend([FIRST + timedelta(days=n) for n in range(12)], [0.9 - 0.01 * n for n in range(12)])
    assert falling is not None
    assert falling.direction == "falling"


def test_the_best_period_has_enough_responses() -> None:
    made = [(0, 10, 0.5), (3, 10, 0.7), (20, 1, 0.99), (30, 20, 0.65), (31, 20, 0.61)]
    points = [
        TrendPoint(day=FIRST + timedelta(days=day), responses=n, mean=mean, lowest=0, highest=1)
        for day, n, mean in made
    ]
    best = best_period(points)  # 20 at 0.6; 10 at 0.7 and 1 at 0.99 are too few; 40 at 0.63
    assert (best.since, best.until, best.responses) == (FIRST + timedelta(days=30), FIRST + timedelta(days=31), 40)
    assert best.mean == pytest.approx(0.63)


def test_pairs_are_tested_on_combinations_prompts_or_cells() -> None:
    def codes(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.intp)

    # Four combinations of two prompts: means 1 2 3 4; t = 2.5 / (1.29 / 2) with 3 degrees of freedom.
    paired = compare_pairs(
        np.array([0.5, 1.5, 1.5, 2.5, 2.5, 3.5, 3.5, 4.5]), codes(0, 0, 1, 1, 2, 2, 3, 3), codes(0, 1, 0, 1, 0, 1, 0, 1)
    )
    assert (paired.unit, paired.units, paired.difference) == ("combinations", 4, 2.5)
    assert paired.p_value == pytest.approx(0.0305, abs=1e-4)
    few = compare_pairs(np.array([1.0, 2.0, 3.0]), codes(0, 0, 1), codes(0, 1, 0))
    assert (few.unit, few.units) == ("cells", 3)
    by_prompt = compare_pairs(np.arange(6.0), codes(0, 0, 0, 0, 0, 0), codes(0, 1, 2, 3, 4, 5))
    assert (by_prompt.unit, by_prompt.units) == ("prompts", 6)
    one = compare_pairs(np.array([1.0]), codes(0), codes(0))
    assert (one.p_value, one.interval) == (None, None)


def test_the_provider_s_own_value_comes_before_numbers() -> None:
    factor = as_factor("temperature", [0.7, None, 0.1, 0.7])
    assert (factor.levels, factor.codes.tolist(), factor.is_numeric) == ((None, 0.1, 0.7), [2, 0, 1, 2], False)


def test_a_range_that_is_too_fine_is_taken_in_classes() -> None:
    fine = as_factor("max_tokens", [float(value) for value in range(1, 401)])
    coarse = coarsened(fine)
    assert (len(coarse.levels), coarse.levels[0], coarse.levels[-1]) == (20, 10.5, 390.5)
    assert np.bincount(coarse.codes).tolist() == [20] * 20
    few = as_factor("max_tokens", [1.0, 2.0])
    assert coarsened(few) is few
