"""Bootstrap intervals of mean scores, clustered by prompt and combination.

Around the mean at each value of a factor, the residuals of the additive model are drawn anew: combinations with
replacement, and where prompts are a sample, prompts with replacement too, each cell weighing the product of how often
both were drawn (the pigeonhole bootstrap of Owen 2007, Annals of Applied Statistics 1, which errs on the wide side).
Percentiles are taken further out so that few clusters give intervals as wide as Student's t would (Hesterberg 2015,
American Statistician 69, "expanded percentile"). A value with fewer than `ENOUGH_CLUSTERS` combinations draws from
those of all values, taking spreads for equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.sweep.statistics.design import LevelFit, fit_levels
from tasks.sweep.statistics.observations import ENOUGH_PROMPTS, PROMPT, Codes, Floats, Observations

DRAWS = 2000
FEWEST_DRAWS = 400
ENOUGH_CLUSTERS = 8
MOST_WEIGHTS = 20_000_000
"""Draws times rows; with more rows fewer draws do, as the mean of many is nearly normal."""
WEIGHTS_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class _Residuals:
    """What is drawn from: (rows, metrics), with the cluster and the prompt of each row."""

    values: Floats
    clusters: Codes
    prompts: Codes


def bootstrap_means(
    observations: Observations, fit: LevelFit, name: str, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Ends of the 95 % intervals of the means at each value of the factor: two of (values, metrics), NaN if unknown."""
    residuals = _residuals(observations, fit, name)
    codes = fit.units.factor(name).codes
    means = fit.units.scores.mean(axis=0) + fit.effects
    low, high = np.full_like(means, np.nan), np.full_like(means, np.nan)
    if fit.df_error < 1:
        return low, high
    of_value = _values_of_clusters(observations, fit, name)
    for value in range(len(means)):
        own = int((codes == value).sum())
        drawn = _of_clusters(residuals, of_value == value) if own >= ENOUGH_CLUSTERS else residuals
        ends = _interval(drawn, own, fit, random)
        low[value], high[value] = np.clip(means[value] + ends[0], 0, 1), np.clip(means[value] + ends[1], 0, 1)
    return low, high


def _prompts_are_drawn(observations: Observations, name: str) -> bool:
    return name != PROMPT and observations.prompts >= ENOUGH_PROMPTS


def _residuals(observations: Observations, fit: LevelFit, name: str) -> _Residuals:
    """Of the units that were compared, or where prompts are drawn, of all cells; as large as those of the truth."""
    rows = len(fit.units.scores)
    if fit.units.kind == "combinations" and _prompts_are_drawn(observations, name):
        of_cells = fit_levels(observations.cells, name)
        return _Residuals(
            _as_large(of_cells), observations.of_combinations.group, observations.cells.factor(PROMPT).codes
        )
    prompts = np.zeros(rows, dtype=np.intp)
    if fit.units.kind != "combinations" and _prompts_are_drawn(observations, name):
        prompts = fit.units.factor(PROMPT).codes
    return _Residuals(_as_large(fit), np.arange(rows), prompts)


def _as_large(fit: LevelFit) -> Floats:
    """Least squares makes residuals smaller than errors are."""
    return np.asarray(fit.residuals * np.sqrt(len(fit.residuals) / max(fit.df_error, 1)))


def _values_of_clusters(observations: Observations, fit: LevelFit, name: str) -> Codes:
    """Of each row of the residuals, the value of the factor."""
    if fit.units.kind == "combinations" and _prompts_are_drawn(observations, name):
        return observations.cells.factor(name).codes
    return fit.units.factor(name).codes


def _of_clusters(residuals: _Residuals, kept: np.ndarray) -> _Residuals:
    return _Residuals(residuals.values[kept], residuals.clusters[kept], residuals.prompts[kept])


def _interval(
    residuals: _Residuals, draws_of_clusters: int, fit: LevelFit, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """The percentiles of the mean of residuals drawn: two of (metrics,)."""
    clusters, cluster_of = np.unique(residuals.clusters, return_inverse=True)
    prompts, prompt_of = np.unique(residuals.prompts, return_inverse=True)
    rows = len(residuals.values)
    draws = int(np.clip(MOST_WEIGHTS // max(rows, 1), FEWEST_DRAWS, DRAWS))
    at_once = max(1, WEIGHTS_AT_ONCE // rows)
    means = []
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        weights = _drawn(random, count, len(clusters), draws_of_clusters)[:, cluster_of]
        if len(prompts) > 1:
            weights = weights * _drawn(random, count, len(prompts), len(prompts))[:, prompt_of]
        total = weights.sum(axis=1, keepdims=True)
        means.append(weights @ residuals.values / np.where(total > 0, total, np.nan))
    tail = expanded_tail(min(size for size in (len(clusters), fit.df_error + 1, len(prompts)) if size > 1))
    low, high = np.nanquantile(np.concatenate(means), (tail, 1 - tail), axis=0)
    return low, high


def _drawn(random: np.random.Generator, count: int, of: int, draws: int) -> Floats:
    """(count, of): how often each of `of` came up in `draws` draws."""
    chosen = random.integers(0, of, size=(count, draws)) + np.arange(count)[:, None] * of
    return np.bincount(chosen.reshape(-1), minlength=count * of).reshape(count, of).astype(np.float64)


def expanded_tail(clusters: int) -> float:
    """The share of draws to leave out at each end, that with `clusters` of them 95 % are covered."""
    from scipy.special import ndtr, stdtrit

    if clusters < 2:
        return 0.0
    return float(ndtr(-np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, 0.975)))
