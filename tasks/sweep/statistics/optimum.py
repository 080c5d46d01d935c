"""Which combination is the best, and how probable that is.

The highest of many means is mostly a lucky one. So what each factor, and the products of numeric ones, are seen to do
is drawn towards nothing, the more, the less it stands out of the noise, and each combination's mean is drawn to what
these effects add up to (a hierarchical normal model: Gelman 2005, Annals of Statistics 33, "Analysis of variance").
Products count where an F test shows them. Variances are drawn (inverse chi-squared, none below that of the noise),
then effects, deviations from their sum, and noise. The probability is the share of draws in which a combination comes
first. Noise is known from how the cells of several prompts differ, or else from repeats; with neither, combinations
are taken to be what effects add up to.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tasks.sweep.statistics.correlation import NORMAL_95
from tasks.sweep.statistics.design import (
    ROWS_FOR_AN_EFFECT,
    directions,
    directions_above,
    effect_columns,
    indicators,
    standardised,
    without,
)
from tasks.sweep.statistics.multiplicity import LEVEL
from tasks.sweep.statistics.observations import Floats, Observations, Units

DRAWS = 4000
FEWEST_DRAWS = 400
MOST_DRAWN = 20_000_000
DRAWN_AT_ONCE = 1_000_000
DOUBT = 2
"""Effects that were seen to be nothing, added to those of each factor: without them probabilities come out too high."""


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
    """Means of combinations as a sum of effects, and the noise of each mean: (combinations, metrics).

    Attributes:
        blocks: orthonormal columns, orthogonal to one another and to the mean: of each factor.
        products: the same of the products; no columns where there is no room for them.
    """

    blocks: list[Floats]
    products: Floats
    scores: Floats
    noise: Floats | None

    @property
    def df(self) -> int:
        """Rows that effects leave over."""
        return len(self.scores) - 1 - int(sum(block.shape[1] for block in self.blocks))

    def of(self, metric: int) -> _Model:
        """The model of one metric: products are among its blocks if they are shown to matter."""
        from scipy.special import fdtrc

        scores = self.scores[:, metric : metric + 1]
        noise = None if self.noise is None else self.noise[:, metric : metric + 1]
        columns, df = self.products.shape[1], self.df - self.products.shape[1]
        explained = float(((self.products.T @ scores) ** 2).sum())
        left = (
            float((without(np.hstack(self.blocks), scores - scores.mean()) ** 2).sum()) - explained if columns else 0.0
        )
        matter = columns and df > 0 and left > 0 and fdtrc(columns, df, explained / columns / (left / df)) < LEVEL
        blocks = [*self.blocks, self.products] if matter else self.blocks
        return _Model(blocks, self.products[:, :0], scores, noise)


def rank_combinations(observations: Observations, random: np.random.Generator) -> list[BestCombinations]:
    """The combinations compared, for each metric."""
    units = observations.combinations
    model = _Model(*_blocks(units), units.scores, _noise(observations))
    return [_rank(model.of(metric), random) for metric in range(units.scores.shape[1])]


def _blocks(units: Units) -> tuple[list[Floats], Floats]:
    """Of each factor, and of products of numeric ones as far as there are three rows for each effect."""
    so_far = np.full((len(units.scores), 1), len(units.scores) ** -0.5)
    columns = [effect_columns(units, factor) for factor in units.factors]
    numeric = [factor for factor in units.factors if factor.is_numeric]
    products = [standardised(one) * standardised(other) for one, other in combinations(numeric, 2)]
    effects = 1 + len(products) + sum(block.shape[1] - 1 for block in columns)
    roomy = products and ROWS_FOR_AN_EFFECT * effects <= len(units.scores)
    columns.append(np.column_stack(products) if roomy else np.zeros((len(units.scores), 0)))
    blocks = []
    for block in columns:
        blocks.append(directions_above(without(so_far, block), block))
        so_far = np.hstack([so_far, blocks[-1]])
    return blocks[:-1], blocks[-1]


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


def _rank(model: _Model, random: np.random.Generator) -> BestCombinations:
    scores = model.scores[:, 0]
    size = len(scores)
    draws = int(np.clip(MOST_DRAWN // size, FEWEST_DRAWS, DRAWS))
    at_once = max(1, DRAWN_AT_ONCE // size)
    first, sums, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    for start in range(0, draws, at_once):
        deviations = _draw(model, min(at_once, draws - start), random)
        best = deviations >= deviations.max(axis=1, keepdims=True) - 1e-12
        first += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
        sums += deviations.sum(axis=0)
        squares += (deviations**2).sum(axis=0)
    mean = sums / draws
    reach = NORMAL_95 * np.sqrt(np.maximum(squares / draws - mean**2, 0.0))
    estimate = scores.mean() + mean
    low, high = (np.clip(end, 0, 1) for end in (estimate - reach, estimate + reach))
    return BestCombinations(np.clip(estimate, 0, 1), low, high, first / draws, model.noise is not None)


def _draw(model: _Model, count: int, random: np.random.Generator) -> Floats:
    """(count, combinations): true means that the scores allow, about the mean of all."""
    scores = model.scores[:, 0] - model.scores[:, 0].mean()
    size = len(scores)
    normal = random.standard_normal((count, size))
    if model.df < 1 and model.noise is None:  # nothing tells what is luck: all of it may be
        return np.asarray(scores + scores.std() * normal)
    variance = _draw_variance(model, count, random)
    effects = np.sqrt(variance / size) * random.standard_normal((count, 1)) + np.zeros((count, size))
    for block in model.blocks:
        effects += _draw_effects(block.T @ scores, variance, random) @ block.T
    if model.noise is None:
        return effects
    noise = model.noise[:, 0]
    deviation = np.maximum(variance - noise.mean(), 0.0) if model.df > 0 else np.zeros((count, 1))
    total = deviation + noise
    kept = np.where(total > 0, deviation / np.where(total > 0, total, 1.0), 0.0)
    return np.asarray((1 - kept) * effects + kept * scores + np.sqrt(kept * noise) * normal)


def _draw_variance(model: _Model, count: int, random: np.random.Generator) -> Floats:
    """(count, 1): of combinations about the sum of effects; where nothing is left over, the noise alone."""
    if model.df < 1 and model.noise is not None:
        return np.full((count, 1), model.noise[:, 0].mean())
    left = model.scores[:, 0] - model.scores[:, 0].mean()
    for block in model.blocks:
        left = without(block, left)
    least = 0.0 if model.noise is None else float(model.noise[:, 0].mean())
    return _variances(float((left**2).sum()), model.df, np.full((count, 1), least), random)


def _draw_effects(seen: Floats, variance: Floats, random: np.random.Generator) -> Floats:
    """(count, columns): effects that were seen as `seen`, drawn towards 0 by what noise makes."""
    squares = (seen**2).sum() + DOUBT * variance
    sizes = _variances(squares, len(seen) + DOUBT, variance, random)
    kept = np.where(sizes > variance, 1 - variance / np.where(sizes > 0, sizes, 1.0), 0.0)
    luck = np.sqrt(kept * variance) * random.standard_normal((len(variance), len(seen)))
    return np.asarray(kept * seen + luck)


def _variances(squares: float | Floats, df: int, least: Floats, random: np.random.Generator) -> Floats:
    """Draws of the variance that made a sum of `squares`, with none below `least`: of the shape of that."""
    from scipy.special import gammainc, gammaincinv

    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.where(least > 0, gammainc(df / 2, squares / 2 / np.where(least > 0, least, 1.0)), 1.0)
        drawn = squares / 2 / gammaincinv(df / 2, random.uniform(size=least.shape) * most)
    return np.where(np.isfinite(drawn), np.maximum(drawn, least), least)
