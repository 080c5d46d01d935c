"""The best value of a parameter, how probably it is the best, and the values that cannot be told from it.

Effects are drawn from their multivariate t distribution (normal effects of the additive model, chi-squared variance).
A value cannot be told from the best where the interval of their difference, simultaneous for all pairs of values
(Tukey 1953 and Kramer 1956, its quantile found by the draws, so that unequal designs are exact), contains 0. What is
recommended is the run of such values around the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.sweep.statistics.design import LevelFit
from tasks.sweep.statistics.observations import Floats

DRAWS = 4000
MOST_PAIRS_DRAWN = 4_000_000
SURE = 0.95


@dataclass(frozen=True, eq=False)
class LevelRanks:
    """How the values of a factor compare.

    Attributes:
        best_probability: (values, metrics).
        reach: (values, metrics), half the interval of the difference of each to the best; NaN without degrees of
            freedom.
    """

    best_probability: Floats
    reach: Floats


def rank_levels(fit: LevelFit, random: np.random.Generator) -> LevelRanks:
    """The values of a fitted factor compared."""
    values, metrics = fit.effects.shape
    if fit.df_error < 1:
        return LevelRanks(*np.full((2, values, metrics), np.nan))
    draws = max(200, min(DRAWS, MOST_PAIRS_DRAWN // values**2))
    errors = _standard_errors(fit, draws, random)
    deviations = np.sqrt(fit.variance)
    best = np.column_stack([_shares_of_best(fit.effects[:, m], errors * deviations[m]) for m in range(metrics)])
    of_pairs = pair_variances(fit.covariance)
    spread = np.sqrt(of_pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.abs(errors[:, :, None] - errors[:, None, :]) / spread
    greatest = np.where(of_pairs > 0, ratios, 0.0).reshape(draws, -1).max(axis=1)
    quantile = float(np.quantile(greatest, SURE))
    return LevelRanks(best, quantile * spread[np.argmax(fit.effects, axis=0)].T * deviations)


def _standard_errors(fit: LevelFit, draws: int, random: np.random.Generator) -> Floats:
    """(draws, values): errors of the effects for a standard deviation of 1, as t has them."""
    sizes, axes = np.linalg.eigh(fit.covariance)
    root = axes * np.sqrt(np.maximum(sizes, 0.0))
    normal = random.standard_normal((draws, len(root))) @ root.T
    scale = np.sqrt(fit.df_error / random.chisquare(fit.df_error, size=(draws, 1)))
    return np.asarray(normal * scale)


def _shares_of_best(effects: Floats, errors: Floats) -> Floats:
    """Of each value, the share of draws in which it is the best; equals share."""
    drawn = effects + errors
    best = drawn >= drawn.max(axis=1, keepdims=True) - 1e-12
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


def pair_variances(covariance: Floats) -> Floats:
    """(values, values): variances of the differences."""
    own = np.diag(covariance)
    return np.maximum(own[:, None] + own[None, :] - 2 * covariance, 0.0)


def run_around_best(effects: Floats, reach: Floats, *, ordered: bool) -> np.ndarray:
    """Of each value, whether it is recommended.

    Args:
        effects: (values,).
        reach: (values,), half the interval of the difference of each to the best.
        ordered: the values have neighbours: then none beyond one that is worse is recommended.
    """
    best = int(np.argmax(effects))
    alike = effects[best] - effects <= reach
    alike[best] = True
    if not ordered:
        return np.asarray(alike)
    worse = np.flatnonzero(~alike)
    first = max((place for place in worse if place < best), default=-1)
    last = min((place for place in worse if place > best), default=len(effects))
    places = np.arange(len(effects))
    return np.asarray((places > first) & (places < last))
