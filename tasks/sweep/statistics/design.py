"""Additive models by least squares: what factors do to scores, taken out or estimated, for all metrics at once.

Scores are modelled as a mean, plus an effect of each factor, plus an error. A factor has an effect for each of its
values; where that would be too many effects for the rows there are, numbers have a parabola instead. In a full grid
factors are orthogonal, so what one does changes no estimate of another and only takes noise away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.sweep.statistics.observations import Factor, Floats, Units

ROWS_FOR_AN_EFFECT = 3
TOLERANCE = 1e-9
"""Below this share of the largest, a direction is rounding."""
ROUNDING = 1e-12
"""Below this share of them, scores differ by rounding."""


def indicators(factor: Factor) -> Floats:
    """(rows, values): 1 where a row has the value."""
    return np.asarray(factor.codes[:, None] == np.arange(len(factor.levels)), dtype=np.float64)


def parabola(factor: Factor) -> Floats:
    """(rows, 2): the value and its square, standardised."""
    numbers = standardised(factor)
    return np.column_stack([numbers, numbers**2])


def standardised(factor: Factor) -> Floats:
    """Of each row, its value: mean 0, standard deviation 1."""
    numbers = factor.numbers
    spread = numbers.std()
    return np.asarray((numbers - numbers.mean()) / (spread if spread > 0 else 1.0))


def directions(columns: Floats) -> Floats:
    """An orthonormal basis of what `columns` span: (rows, rank)."""
    if not columns.shape[1] or not len(columns):
        return np.zeros((len(columns), 0))
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > TOLERANCE * max(float(sizes[0]), TOLERANCE)]


def others(units: Units, *names: str) -> Floats:
    """A basis of the mean and of all factors but those named: (rows, rank)."""
    rest = [factor for factor in units.factors if factor.name not in names]
    columns = [effect_columns(units, factor, beside=rest) for factor in rest]
    return directions(np.hstack([np.ones((len(units.scores), 1)), *columns]))


def effect_columns(units: Units, factor: Factor, beside: Sequence[Factor] = ()) -> Floats:
    """(rows, columns) of a factor in a model of all factors or of these: its values, or a parabola if too many."""
    effects = sum(len(each.levels) - 1 for each in beside or units.factors)
    roomy = effects * ROWS_FOR_AN_EFFECT <= len(units.scores)
    smooth = factor.is_numeric and len(factor.levels) > ROWS_FOR_AN_EFFECT and not roomy
    return parabola(factor) if smooth else indicators(factor)


def without(basis: Floats, columns: Floats) -> Floats:
    """What of `columns` the basis does not explain."""
    return columns - basis @ (basis.T @ columns)


def effects_of(units: Units, name: str) -> Floats:
    """Of each row, the effect of the factor called `name`, the others' taken out: (rows, metrics); 0 if not varied."""
    if all(factor.name != name for factor in units.factors):
        return np.zeros_like(units.scores)
    fit = fit_levels(units, name)
    return fit.effects[units.factor(name).codes]


@dataclass(frozen=True, eq=False)
class LevelFit:
    """What the values of a factor do, the other factors' effects taken out.

    Attributes:
        effects: (values, metrics), about the mean of all rows.
        covariance: (values, values), of the effects in units of `variance`.
        variance: (metrics,), of the rows about the model; NaN without degrees of freedom.
        explained: (metrics,), sum of squares of the factor.
        residuals: (rows, metrics), what is left.
        unexplained: (metrics,), sum of their squares.
        df_factor, df_error: degrees of freedom of these.
    """

    units: Units
    effects: Floats
    covariance: Floats
    variance: Floats
    explained: Floats
    residuals: Floats
    unexplained: Floats
    df_factor: int
    df_error: int


def fit_levels(units: Units, name: str) -> LevelFit:
    """The effects of the values of the factor called `name`, for all metrics at once."""
    factor, basis = units.factor(name), others(units, name)
    marks = indicators(factor)
    rest, own = without(basis, units.scores), without(basis, marks)
    inverse: Floats = np.linalg.pinv(own.T @ own, rcond=TOLERANCE, hermitian=True).astype(np.float64)
    effects = inverse @ (own.T @ rest)
    effects -= marks.mean(axis=0) @ effects
    along = directions_above(own, marks)
    residuals = without(along, rest)
    df_error = len(units.scores) - basis.shape[1] - along.shape[1]
    noise = rounding(units.scores)
    squares = (((along.T @ rest) ** 2).sum(axis=0), (residuals**2).sum(axis=0))
    explained, unexplained = (np.where(part > noise, part, 0.0) for part in squares)
    variance = unexplained / df_error if df_error > 0 else np.full(units.scores.shape[1], np.nan)
    return LevelFit(units, effects, inverse, variance, explained, residuals, unexplained, along.shape[1], df_error)


def directions_above(left: Floats, whole: Floats) -> Floats:
    """A basis of `left`, what remains of `whole`: what is small beside the whole is rounding."""
    if not left.shape[1] or not len(left):
        return np.zeros((len(left), 0))
    basis, sizes, _ = np.linalg.svd(left, full_matrices=False)
    return basis[:, sizes > TOLERANCE * float(np.linalg.norm(whole))]


def rounding(scores: Floats) -> Floats:
    """Of each metric, the sum of squares that equal scores may seem to have: (metrics,)."""
    return np.asarray(ROUNDING**2 * (scores**2).sum(axis=0) + np.finfo(np.float64).tiny)
