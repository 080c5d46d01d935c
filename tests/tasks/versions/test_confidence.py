"""The mathematics of tests between variants: by hand, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.versions.confidence import (
    LEAST_RATED,
    allocation_p,
    anytime_p,
    anytime_radius,
    is_decided,
    rated_users_needed,
    variance_of_difference,
)
from tasks.versions.intervals import Sums, clustered_mean, clustered_rate, wilson

DAYS, TESTS = 30, 2000


def decided_by_day(
    rate_a: float, rate_b: float, rated_a_day: int, *, share_b: float = 0.5, effect: float = 0.05, seed: int = 7
) -> np.ndarray:
    """Of so many simulated tests, read at the end of each of 30 days: which said there is a difference, and when."""
    generator = np.random.default_rng(seed)
    b = generator.binomial(rated_a_day, share_b, (TESTS, DAYS))
    a = rated_a_day - b
    positive_a, positive_b = generator.binomial(a, rate_a), generator.binomial(b, rate_b)
    return is_decided(*(each.cumsum(axis=1) for each in (positive_a, a, positive_b, b)), effect, 0.05)


@pytest.mark.parametrize("rate", [0.03, 0.2, 0.6, 0.9, 0.98])
@pytest.mark.parametrize(("rated_a_day", "share_b"), [(10, 0.5), (100, 0.5), (1000, 0.5), (100, 0.1), (1000, 0.1)])
def test_of_2000_tests_between_equals_read_daily_for_30_days_at_most_6_in_100_see_a_difference(
    rate: float, rated_a_day: int, share_b: float
) -> None:
    assert decided_by_day(rate, rate, rated_a_day, share_b=share_b).any(axis=1).mean() <= 0.06


def test_a_fixed_test_at_5_in_100_read_as_often_is_wrong_far_more_often() -> None:
    """What the anytime-valid bound is for: the usual z-test, read daily, on the same kind of data."""
    generator = np.random.default_rng(7)
    a, b = (generator.binomial(50, 0.6, (TESTS, DAYS)).cumsum(axis=1) for _ in range(2))
    n = 50 * np.arange(1, DAYS + 1)
    z = (b - a) / n / np.sqrt(variance_of_difference(a, n, b, n))
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.2


@pytest.mark.parametrize(("rate", "effect", "weights"), [(0.6, 0.05, (1, 1)), (0.6, 0.1, (1, 3)), (0.85, 0.05, (1, 1))])
def test_a_planted_difference_is_found_as_often_as_the_sample_size_promises(
    rate: float, effect: float, weights: tuple[int, int]
) -> None:
    needed = rated_users_needed(rate, effect, 0.05, *weights)
    share_b = weights[1] / sum(weights)
    found = decided_by_day(rate, rate + effect, math.ceil(needed / DAYS), share_b=share_b, effect=effect)
    assert 0.8 <= found.any(axis=1).mean() <= 0.95
    twice = decided_by_day(rate, rate + effect, 2 * math.ceil(needed / DAYS), share_b=share_b, effect=effect)
    assert twice.any(axis=1).mean() >= 0.98


def test_a_difference_four_times_as_large_needs_about_a_sixteenth_of_the_users() -> None:
    small, large = rated_users_needed(0.5, 0.05, 0.05, 1, 1), rated_users_needed(0.5, 0.2, 0.05, 1, 1)
    assert 14 < small / large < 18


def test_nothing_is_said_of_a_few_users_and_of_ratings_that_hardly_differ() -> None:
    few = LEAST_RATED - 1
    assert not is_decided(0, few, few, few, 0.05, 0.05)
    assert is_decided(5, 200, 195, 200, 0.05, 0.05)
    assert not is_decided(1000, 1000, 990, 1000, 0.001, 0.05), "what speaks against is four users, not a rate"


def test_the_radius_by_hand() -> None:
    """V = 0.0025 and τ = 0.05 make τ² = V: sqrt(V · 2 · (log 2 + 2·log 20)) = sqrt(0.005 · 6.684612)."""
    assert float(anytime_radius(0.0025, 0.05, 0.05)) == pytest.approx(
        math.sqrt(0.005 * (math.log(2) + 2 * math.log(20)))
    )
    assert float(anytime_radius(0.0025, 0.05, 0.05)) == pytest.approx(0.182820, abs=1e-6)


def test_the_variance_by_hand() -> None:
    """10 of 19 and 10 of 19: (10.5/20)(9.5/20)/19 twice, 0.026250; together (21/40)(19/40)·2/19 is the same."""
    assert float(variance_of_difference(10, 19, 10, 19)) == pytest.approx(2 * 0.525 * 0.475 / 19)
    assert float(variance_of_difference(19, 19, 0, 19)) == pytest.approx(0.5 * 0.5 * 2 / 19), "by both together"


@given(
    difference=st.floats(-1, 1),
    variance=st.floats(1e-6, 0.25),
    effect=st.floats(0.005, 0.5),
    level=st.floats(0.001, 0.5),
)
def test_p_is_below_the_error_rate_exactly_where_the_interval_leaves_out_0(
    difference: float, variance: float, effect: float, level: float
) -> None:
    p = float(anytime_p(difference, variance, effect))
    radius = float(anytime_radius(variance, effect, level))
    assert 0 <= p <= 1
    if not math.isclose(abs(difference), radius, rel_tol=1e-9):
        assert (p < level) == (abs(difference) > radius)


def test_a_division_that_went_wrong_is_seen_and_one_by_the_weights_is_not() -> None:
    assert allocation_p([5000, 5000], [1, 1]) == 1.0
    assert allocation_p([900, 100], [9, 1]) > 0.5
    assert allocation_p([5300, 4700], [1, 1]) < 1e-5
    assert allocation_p([0, 0], [1, 1]) == 1.0
    # B(2, 1)·… by hand: two users, both in the first of two equal variants: factor (1/3)/(1/4) = 4/3, p = 3/4.
    assert allocation_p([2, 0], [1, 1]) == pytest.approx(0.75)


def test_divisions_read_after_every_user_are_seldom_suspected() -> None:
    generator = np.random.default_rng(3)
    suspected = 0
    for _ in range(200):
        drawn = (generator.random(300) < 0.5).cumsum()
        suspected += any(allocation_p([int(b), n - int(b)], [1, 1]) < 0.05 for n, b in enumerate(drawn, 1))
    assert suspected / 200 <= 0.06


def test_wilson_s_interval_by_hand() -> None:
    """1 of 2 with z = 1.959964: centre 0.5, half z/(1+z²/2)·sqrt(1/8 + z²/16) = 0.405467."""
    found = wilson(1, 2)
    assert (found.value, found.lower, found.upper) == pytest.approx((0.5, 0.094531, 0.905469), abs=1e-5)
    assert (wilson(0, 10).lower, wilson(10, 10).upper) == pytest.approx((0, 1))
    assert wilson(0, 0).value is None


def sums(*users: tuple[int, int]) -> Sums:
    """Of users with so many ratings and so many positive ones."""
    return Sums(
        len(users), sum(n for n, _ in users), sum(s for _, s in users), sum(n * n for n, _ in users),
        sum(s * s for _, s in users), sum(s * n for n, s in users),
    )  # fmt: skip


def test_ratings_of_one_user_that_agree_are_worth_one_rating() -> None:
    users = [(10, 10), (10, 0)] * 10
    apart, together = wilson(100, 200), clustered_rate(sums(*users))
    as_users = wilson(10, 20)
    assert together.value == apart.value == 0.5
    assert together.upper - together.lower > as_users.upper - as_users.lower  # type: ignore[operator]


def test_single_ratings_have_wilson_s_interval_and_those_of_many_small_clusters_nearly() -> None:
    assert clustered_rate(sums(*[(1, 1)] * 9, (1, 0))) == wilson(9, 10)
    mixed = clustered_rate(sums(*[(2, 1)] * 2, *[(1, 1)] * 298, *[(1, 0)] * 698))
    plain = wilson(300, 1000)
    assert (mixed.lower, mixed.upper) == pytest.approx((plain.lower, plain.upper), abs=1e-3)


def test_one_user_who_is_always_content_is_one_observation() -> None:
    assert clustered_rate(sums((50, 50))) == wilson(1, 1)
    assert clustered_rate(sums()).value is None


def test_the_mean_of_clusters_by_hand() -> None:
    """Users with 2 calls of sum 4 and 1 call of sum 5: mean 3, residuals −2 and 2, variance 2·8/9 = 16/9."""
    found = clustered_mean(Sums(2, 3, 9, 5, 41, 13))
    assert found.value == 3
    assert found.upper == pytest.approx(3 + 12.706205 * 4 / 3, abs=1e-5)
    assert clustered_mean(Sums(1, 3, 9, 9, 81, 27)).lower is None
    assert clustered_mean(Sums(0, 0, 0, 0, 0, 0)).value is None
