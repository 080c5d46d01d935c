"""Correlations of a parameter with scores, the effects of all other factors taken out of both.

Pearson's is the partial correlation; its interval is Fisher's (z = artanh r, standard error 1/sqrt(df - 1), where df is
the number of rows less the effects taken out less 1), its p that of t = r sqrt(df / (1 - r²)). Spearman's is Pearson's
of the ranks of the values and of the scores that remain, with the same t. Sources: Fisher 1924 (partial correlations),
Zar 1972 (Spearman's t). Rows are means of combinations, so that n is not the number of responses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from schemas.sweep_statistics import Interval, Strength
from tasks.sweep.statistics.design import others, rounding, without
from tasks.sweep.statistics.observations import Floats, Units

LABELS: tuple[tuple[float, Strength], ...] = ((0.7, "strong"), (0.4, "moderate"), (0.2, "weak"))
FISHER_DF = 2
"""Fewer give no interval."""
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Correlations:
    """Of one parameter with each metric.

    Attributes:
        coefficient, p_value: (metrics,); 0 and 1 where scores do not vary.
        n: rows; df: those left of them.
    """

    coefficient: Floats
    p_value: Floats
    n: int
    df: int

    def at_least(self, p_value: Floats) -> Correlations:
        """The same, no p below `p_value`."""
        return replace(self, p_value=np.maximum(self.p_value, p_value))

    def interval(self, metric: int) -> Interval | None:
        """Fisher's interval of the coefficient."""
        if self.df < FISHER_DF:
            return None
        reach = NORMAL_95 / np.sqrt(self.df - 1)
        middle = np.arctanh(np.clip(self.coefficient[metric], -1 + 1e-15, 1 - 1e-15))
        return Interval(low=float(np.tanh(middle - reach)), high=float(np.tanh(middle + reach)))


def correlate(units: Units, name: str) -> tuple[Correlations, Correlations]:
    """Pearson's and Spearman's correlation of the factor called `name` with each metric."""
    from scipy.stats import rankdata

    basis = others(units, name)
    df = len(units.scores) - basis.shape[1] - 1
    numbers = units.factor(name).numbers[:, None]
    rest = without(basis, units.scores)
    varies = (rest**2).sum(axis=0) > rounding(units.scores)
    pearson = _partial(without(basis, numbers), rest, varies, df)
    ranks = rankdata(np.round(rest, 12), axis=0)
    of_values = without(basis, rankdata(numbers, axis=0))
    return pearson, _partial(of_values, without(basis, ranks), varies, df)


def _partial(left: Floats, right: Floats, varies: np.ndarray, df: int) -> Correlations:
    norms = np.sqrt((left**2).sum()) * np.sqrt((right**2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (left * right).sum(axis=0) / norms
    coefficient = np.where(varies & (norms > 0), np.clip(found, -1.0, 1.0), 0.0)
    if df < 1:
        return Correlations(coefficient, np.full(len(coefficient), np.nan), len(right), df)
    error = np.sqrt((1 - coefficient**2) / df)
    return Correlations(coefficient, p_of_t(coefficient, error, df), len(right), df)


def p_of_t(estimate: Floats, error: Floats, df: int) -> Floats:
    """Two-sided p of Student's t; 1 for an estimate of 0, whatever its error."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(estimate) / error
    return np.where(np.abs(estimate) > 1e-15, 2 * stdtr(df, -ratio), 1.0)


def strength_of(coefficient: float) -> Strength:
    """As the older laboratory called it: from 0.2 on weak, from 0.4 on moderate, from 0.7 on strong."""
    return next((label for least, label in LABELS if abs(coefficient) >= least), "negligible")
