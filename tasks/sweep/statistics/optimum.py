"""Which combination is the best, and how probable that is.

The highest of many means is mostly a lucky one. So each combination's mean is drawn towards what an additive model
with products of numeric factors makes expect of it, the more, the noisier it is (empirical Bayes: Efron and Morris
1975, JASA 70), and what is left open is drawn: coefficients of the model, deviations from it, noise. The probability
is the share of draws in which a combination comes first. Noise is known from repeats, or where prompts were taken for
several, from how cells differ; with neither, combinations are taken to be what the model says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tasks.sweep.statistics.design import directions, indicators, others, standardised, without
from tasks.sweep.statistics.observations import Floats, Observations, Units

DRAWS = 4000
FEWEST_DRAWS = 400
MOST_DRAWN = 20_000_000


@dataclass(frozen=True, eq=False)
class BestCombinations:
    """Of each combination, for one metric.

    Attributes:
        estimate: (combinations,), drawn towards the model; low, high: of 95 of 100 draws.
        probability: (combinations,), of being the best.
        noise_known: from repeats or several prompts.
    """

    estimate: Floats
    low: Floats
    high: Floats
    probability: Floats
    noise_known: bool


@dataclass(frozen=True, eq=False)
class _Model:
    """Means of combinations as a linear model, and the noise of each mean: (combinations, metrics)."""

    basis: Floats
    scores: Floats
    noise: Floats | None


def rank_combinations(observations: Observations, random: np.random.Generator) -> list[BestCombinations]:
    """The combinations compared, for each metric."""
    units = observations.combinations
    model = _Model(_basis(units), units.scores, _noise(observations))
    return [_rank(model, metric, random) for metric in range(units.scores.shape[1])]


def _basis(units: Units) -> Floats:
    """All factors, and products of numeric ones as far as there are three rows for each effect."""
    basis = others(units)
    numeric = [factor for factor in units.factors if factor.is_numeric]
    products = [standardised(one) * standardised(other) for one, other in combinations(numeric, 2)]
    if products and (basis.shape[1] + len(products)) * 3 <= len(units.scores):
        basis = directions(np.column_stack([basis, *products]))
    return basis


def _noise(observations: Observations) -> Floats | None:
    """Variance of the mean of each combination: from its cells, else from repeats; None if there are neither."""
    cells, of_cells = observations.cells.scores, observations.of_combinations
    if observations.prompts > 1 and len(cells) - len(of_cells.counts) - observations.prompts + 1 > 0:
        prompts = indicators(observations.cells.factor("prompt"))
        basis = directions(_within(prompts, of_cells.group, of_cells.counts))
        left = without(basis, _within(cells, of_cells.group, of_cells.counts))
        df = len(cells) - len(of_cells.counts) - basis.shape[1]
        return np.asarray((left**2).sum(axis=0) / df / of_cells.counts[:, None])
    repeats = observations.of_cells
    if len(observations) == len(repeats.counts):
        return None
    left = _within(observations.scores, repeats.group, repeats.counts)
    variance = (left**2).sum(axis=0) / (len(observations) - len(repeats.counts))
    means_of = of_cells.means(1 / repeats.counts[:, None].astype(np.float64))
    return np.asarray(variance * means_of / of_cells.counts[:, None])


def _within(rows: Floats, group: np.ndarray, counts: np.ndarray) -> Floats:
    """What rows differ by from the mean of their group."""
    sums = np.column_stack([np.bincount(group, column, len(counts)) for column in rows.T])
    return np.asarray(rows - (sums / counts[:, None])[group])


def _rank(model: _Model, metric: int, random: np.random.Generator) -> BestCombinations:
    scores = model.scores[:, metric]
    size, rank = model.basis.shape
    coefficients = model.basis.T @ scores
    fitted = model.basis @ coefficients
    left = scores - fitted
    df = size - rank
    variance = float((left**2).sum() / df) if df > 0 else 0.0
    noise = np.zeros(size) if model.noise is None else model.noise[:, metric]
    deviation = max(0.0, variance - float(noise.mean())) if df > 0 else np.inf
    if model.noise is None:
        deviation, kept, spread = 0.0, np.zeros(size), np.zeros(size)
    else:
        kept = _share_kept(deviation, noise)
        spread = np.sqrt(kept * noise)
    if df < 1:  # the model says nothing beyond the means themselves
        kept, fitted, left, variance = np.ones(size), scores, np.zeros(size), 0.0
        spread = np.sqrt(noise)
    error = np.sqrt(variance) * (1 - kept)
    estimate = fitted + kept * left
    return _draw(model.basis, estimate, error, spread, model.noise is not None, random)


def _share_kept(deviation: float, noise: Floats) -> Floats:
    """Of each deviation from the model, the share that is no noise."""
    if np.isinf(deviation):
        return np.ones_like(noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(deviation + noise > 0, deviation / (deviation + noise), 1.0)


def _draw(
    basis: Floats, estimate: Floats, error: Floats, spread: Floats, noise_known: bool, random: np.random.Generator
) -> BestCombinations:
    size, rank = basis.shape
    draws = int(np.clip(MOST_DRAWN // size, FEWEST_DRAWS, DRAWS))
    at_once = max(1, 1_000_000 // size)
    first, sums, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        deviations = (random.standard_normal((count, rank)) @ basis.T) * error
        deviations += random.standard_normal((count, size)) * spread
        drawn = estimate + deviations
        best = drawn >= drawn.max(axis=1, keepdims=True) - 1e-12
        first += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
        sums += deviations.sum(axis=0)
        squares += (deviations**2).sum(axis=0)
    reach = 1.959963984540054 * np.sqrt(np.maximum(squares / draws - (sums / draws) ** 2, 0.0))
    low, high = np.clip(estimate - reach, 0, 1), np.clip(estimate + reach, 0, 1)
    return BestCombinations(np.clip(estimate, 0, 1), low, high, first / draws, noise_known)
