"""Whether a factor makes a difference: tests on means of combinations, and where they are a sample, on prompts.

Two tests see what a factor does: an F test of any difference between its values (a parameter may be best in the
middle), and for numbers one of a straight line, which sees a steady trend sooner. The smaller p of the two, doubled
(Bonferroni), is the factor's.

What is compared are means of combinations, prompts and repeats averaged, in an additive model of all factors: repeats
are no new evidence about a value, and neither are prompts that share a combination's luck. Where combinations leave too
few degrees of freedom (only one parameter is varied), cells are compared instead, or single responses. From
`ENOUGH_PROMPTS` on, prompts are a sample too: what a factor does may differ from one to the next by chance, and the
larger of the two p-values counts. Sources: two-stage tests of cluster means, Donner and Klar 2000, chapter 6; F test of
repeated measures with the lower bound of Geisser and Greenhouse 1958 for its degrees of freedom, which holds whatever
the covariances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.sweep.statistics.correlation import Correlations, correlate, p_of_t
from tasks.sweep.statistics.design import LevelFit, fit_levels, others, without
from tasks.sweep.statistics.observations import ENOUGH_PROMPTS, PROMPT, Floats, Observations, Units, group_rows

ENOUGH_DF = 2
"""With fewer degrees of freedom for the error, next to nothing is found."""


@dataclass(frozen=True, eq=False)
class EffectTest:
    """What is known of a factor's effect on each metric.

    Attributes:
        fit: the means that were compared.
        p_value: (metrics,), that the factor does nothing; NaN where that cannot be tested.
        pearson, spearman: None where values are no numbers.
    """

    name: str
    fit: LevelFit
    p_value: Floats
    pearson: Correlations | None
    spearman: Correlations | None


def examine_effect(observations: Observations, name: str) -> EffectTest:
    """The factor called `name` tested, for all metrics at once."""
    fit = _fit(observations, name)
    factor = fit.units.factor(name)
    p_value = p_of_f(fit)
    by_prompt = _by_prompt(observations, name)
    if by_prompt is not None:
        p_value = np.maximum(p_value, by_prompt.p_shape)
    if not factor.is_numeric:
        return EffectTest(name, fit, p_value, None, None)
    pearson, spearman = correlate(fit.units, name)
    if by_prompt is not None:
        pearson, spearman = (kind.at_least(by_prompt.p_line) for kind in (pearson, spearman))
    if len(factor.levels) > 2:  # of two values the line is the shape
        p_value = np.fmin(1.0, 2 * np.fmin(p_value, pearson.p_value)) + 0 * p_value
    return EffectTest(name, fit, p_value, pearson, spearman)


def _fit(observations: Observations, name: str) -> LevelFit:
    """On the coarsest means that leave enough degrees of freedom."""
    kinds: tuple[Units, ...] = (observations.cells, observations.responses)
    if name != PROMPT:
        kinds = (observations.combinations, *kinds)
    for units in kinds:
        fit = fit_levels(units, name)
        if fit.df_error >= ENOUGH_DF and fit.df_factor > 0:
            break
    return fit


def p_of_f(fit: LevelFit) -> Floats:
    """Of the F test that all effects are 0: (metrics,); 1 where nothing varies, NaN where nothing is left to test."""
    from scipy.special import fdtrc

    if fit.df_factor < 1 or fit.df_error < 1:
        return np.full(len(fit.explained), np.nan)
    mean_square = fit.explained / fit.df_factor
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean_square / fit.variance
    return np.where(mean_square > 0, fdtrc(fit.df_factor, fit.df_error, ratio), 1.0)


@dataclass(frozen=True, eq=False)
class _ByPrompt:
    p_shape: Floats
    p_line: Floats


def _by_prompt(observations: Observations, name: str) -> _ByPrompt | None:
    """p-values with prompts as the sample, of those that have all values of the factor; None where they are too few."""
    from scipy.special import fdtrc

    if name == PROMPT or observations.prompts < ENOUGH_PROMPTS:
        return None
    table = prompt_table(observations.cells, name)
    prompts, values, _ = table.shape
    if prompts < ENOUGH_PROMPTS:
        return None
    table = table - table.mean(axis=1, keepdims=True)
    mean = table.mean(axis=0)
    between = prompts * (mean**2).sum(axis=0)
    within = ((table - mean) ** 2).sum(axis=(0, 1)) / (prompts - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_shape = np.where(between > 1e-24, fdtrc(1, prompts - 1, between / within), 1.0)
    factor = observations.cells.factor(name)
    numbers = np.asarray(factor.levels, dtype=np.float64) if factor.is_numeric else np.arange(values, dtype=np.float64)
    slopes = np.tensordot(table, numbers - numbers.mean(), axes=(1, 0))
    spread = slopes.std(axis=0, ddof=1) / np.sqrt(prompts)
    return _ByPrompt(p_shape, p_of_t(slopes.mean(axis=0), spread, prompts - 1))


def prompt_table(cells: Units, name: str) -> Floats:
    """(prompts, values, metrics): means of each prompt at each value, of those prompts that have all of them."""
    factor, prompt = cells.factor(name), cells.factor(PROMPT)
    grouped = group_rows([prompt.codes, factor.codes], len(cells.scores))
    means = grouped.means(without(others(cells, name), cells.scores))
    values = len(factor.levels)
    complete = np.bincount(prompt.codes[grouped.first], minlength=len(prompt.levels)) == values
    kept = complete[prompt.codes[grouped.first]]
    return np.asarray(means[kept].reshape(int(complete.sum()), values, means.shape[1]))
