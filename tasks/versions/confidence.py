"""A comparison of two rates that may be read at any time, as often as one likes.

What is observed of a user is one thing, fixed once it is seen: whether their first rating is positive. Users are
divided at random, so that the difference of the two rates, over its standard error, behaves as a Brownian motion in
the information gathered, and Robbins' normal mixture bounds it at all times at once:

    |D − δ| < sqrt( V · (V + τ²)/τ² · (log((V + τ²)/V) + 2·log(1/α)) )    for every reading, with probability ≥ 1 − α

D is the observed difference, V its estimated variance, τ the standard deviation of the mixture: the effect that is
worth knowing, near which the bound is narrowest. Sources: H. Robbins, "Statistical methods related to the law of the
iterated logarithm", Ann. Math. Statist. 41 (1970); R. Johari, P. Koomen, L. Pekelis and D. Walsh, "Always valid
inference", Operations Research 70 (2022), whose mixture SPRT this is; I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy
and A. Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Ann. Statist. 52 (2024), for
why it holds with an estimated variance once a few dozen users are seen, before which nothing is said here.

Arguments are numbers or arrays of numpy, of which the results then are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.versions.intervals import normal_quantile

Floats = NDArray[np.float64]
LEAST_RATED = 30
LEAST_OF_A_KIND = 5
"""Users of each variant with a rating, and of them with either kind of rating, as far as the common rate lets expect
it, before which nothing is said: the bound is asymptotic."""


def variance_of_difference(positive_a: ArrayLike, n_a: ArrayLike, positive_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """Estimated variance of the difference of two rates: by each rate, or by both together, whichever is larger.

    By each alone it is too small where one variant has few users who happen to agree. Half a user of each kind is
    added to either variant.
    """
    a, b = np.maximum(np.asarray(n_a, dtype=float), 1), np.maximum(np.asarray(n_b, dtype=float), 1)
    of_a, of_b = (np.asarray(positive_a) + 0.5) / (a + 1), (np.asarray(positive_b) + 0.5) / (b + 1)
    together = (np.asarray(positive_a) + np.asarray(positive_b) + 1) / (a + b + 2)
    apart = of_a * (1 - of_a) / a + of_b * (1 - of_b) / b
    return np.asarray(np.maximum(apart, together * (1 - together) * (1 / a + 1 / b)), dtype=float)


def anytime_radius(variance: ArrayLike, effect: float, error_rate: float) -> Floats:
    """Half the width of the confidence sequence; see above."""
    v, tau = np.asarray(variance, dtype=float), effect * effect
    return np.asarray(np.sqrt(v * (v + tau) / tau * (np.log((v + tau) / v) - 2 * math.log(error_rate))), dtype=float)


def anytime_p(difference: ArrayLike, variance: ArrayLike, effect: float) -> Floats:
    """The least error rate at which the confidence sequence, at this reading, leaves out 0; at most 1."""
    d, v, tau = np.asarray(difference, dtype=float), np.asarray(variance, dtype=float), effect * effect
    log_ratio = 0.5 * np.log(v / (v + tau)) + tau * d * d / (2 * v * (v + tau))
    return np.asarray(np.exp(-np.maximum(log_ratio, 0.0)), dtype=float)


def is_enough(positive_a: ArrayLike, n_a: ArrayLike, positive_b: ArrayLike, n_b: ArrayLike) -> NDArray[np.bool_]:
    """True where the sums are near enough to normal: users enough, and of either kind, in the smaller variant."""
    a, b = np.asarray(n_a, dtype=float), np.asarray(n_b, dtype=float)
    rate = (np.asarray(positive_a) + np.asarray(positive_b)) / np.maximum(a + b, 1)
    smaller = np.minimum(a, b)
    return np.asarray((smaller >= LEAST_RATED) & (smaller * np.minimum(rate, 1 - rate) >= LEAST_OF_A_KIND))


def is_decided(
    positive_a: ArrayLike, n_a: ArrayLike, positive_b: ArrayLike, n_b: ArrayLike, effect: float, error_rate: float
) -> NDArray[np.bool_]:
    """True where the confidence sequence leaves out 0 and there is enough to say so."""
    a, b = np.asarray(n_a, dtype=float), np.asarray(n_b, dtype=float)
    difference = np.asarray(positive_b) / np.maximum(b, 1) - np.asarray(positive_a) / np.maximum(a, 1)
    radius = anytime_radius(variance_of_difference(positive_a, a, positive_b, b), effect, error_rate)
    return np.asarray(is_enough(positive_a, a, positive_b, b) & (np.abs(difference) > radius))


def rated_users_needed(
    rate: float, effect: float, error_rate: float, share_a: float, share_b: float, power: float = 0.8
) -> int:
    """Users with a rating, of both variants together, until a difference of `effect` is found with `power`.

    Args:
        rate: of the control.
        share_a, share_b: of the users who rate, which the two variants have.

    The variance V is sought at which radius(V) + z·sqrt(V) = effect, z the normal quantile of the power: there the
    bound has been passed with that probability at this one reading, and a little more at all readings until then.
    """
    z = normal_quantile(power)
    low, high = 1e-15, 1.0
    for _ in range(100):  # halving; the left side grows with V
        middle = math.sqrt(low * high)
        reached = float(anytime_radius(middle, effect, error_rate)) + z * math.sqrt(middle) <= effect
        low, high = (middle, high) if reached else (low, middle)
    other = min(max(rate + effect, 0.0), 1.0)
    whole = share_a + share_b
    spread = rate * (1 - rate) * whole / share_a + max(other * (1 - other), rate * (1 - rate)) * whole / share_b
    return max(math.ceil(spread / low), math.ceil(LEAST_RATED * whole / min(share_a, share_b)))


def allocation_p(counts: Any, weights: Any) -> float:
    """How well `counts` of users go with `weights`, valid at every reading: small where the division went wrong.

    The multinomial mixture of M. Lindon and A. Malek, "Anytime-valid inference for multinomial count data" (NeurIPS
    2022), with the Dirichlet of all ones: 1 over the Bayes factor against the weights, at most 1.
    """
    total, kinds = sum(counts), len(counts)
    whole = sum(weights)
    log_factor = math.lgamma(kinds) - math.lgamma(total + kinds)
    for count, weight in zip(counts, weights, strict=True):
        log_factor += math.lgamma(count + 1) - count * math.log(weight / whole)
    return math.exp(-max(log_factor, 0.0))
