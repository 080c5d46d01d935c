"""Whether what one factor does depends on another.

To the additive model of all factors is added the product of the two: for two numbers that of their values, one column
(the slope of one changes steadily with the other; Cohen, Cohen, West and Aiken 2003, chapter 7); where models or
prompts are involved, a column for each of them but one. An F test says whether these explain anything. The size is a
difference of differences: what going from the lowest to the highest value of one brings at the highest value of the
other, less what it brings at the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.sweep.statistics.design import (
    directions_above,
    indicators,
    others,
    rounding,
    standardised,
    without,
)
from tasks.sweep.statistics.effect import ENOUGH_DF
from tasks.sweep.statistics.observations import PROMPT, Factor, Floats, Observations, Units


@dataclass(frozen=True, eq=False)
class InteractionTest:
    """Of two factors, for each metric.

    Attributes:
        difference: (metrics,), of the differences.
        error: (metrics,), its standard error; NaN where there is more than one contrast.
        p_value: (metrics,); NaN where there are too few rows.
    """

    first: str
    second: str
    units: Units
    difference: Floats
    error: Floats
    p_value: Floats
    df_error: int


def examine_interaction(observations: Observations, first: str, second: str) -> InteractionTest:
    """The interaction of two factors tested, for all metrics at once."""
    from scipy.special import fdtrc

    units, basis, products, along = _units_with_room(observations, first, second)
    rest = without(basis, units.scores)
    coefficients = np.linalg.pinv(products) @ rest
    explained = ((along.T @ rest) ** 2).sum(axis=0)
    left = (without(along, rest) ** 2).sum(axis=0)
    df_error, df_product = len(rest) - basis.shape[1] - along.shape[1], along.shape[1]
    none = np.full(len(explained), np.nan)
    if df_error < 1 or df_product < 1:
        return InteractionTest(first, second, units, np.zeros(len(explained)), none, none, df_error)
    noise = rounding(units.scores)
    variance = np.where(left > noise, left, 0.0) / df_error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(explained > noise, fdtrc(df_product, df_error, explained / df_product / variance), 1.0)
    contrasts = _contrasts(units.factor(first), units.factor(second))
    differences = contrasts @ coefficients
    greatest = np.argmax(np.abs(differences), axis=0)
    error = none
    if len(contrasts) == 1:
        inverse = np.linalg.pinv(products.T @ products, hermitian=True)
        error = np.sqrt(variance * (contrasts @ inverse @ contrasts.T)[0, 0])
    difference = np.where(explained > noise, np.take_along_axis(differences, greatest[None], 0)[0], 0.0)
    return InteractionTest(first, second, units, difference, error, p_value, df_error)


def _units_with_room(observations: Observations, first: str, second: str) -> tuple[Units, Floats, Floats, Floats]:
    """The coarsest means that leave degrees of freedom, with the additive model and what products add."""
    kinds: tuple[Units, ...] = (observations.cells, observations.responses)
    if PROMPT not in (first, second):
        kinds = (observations.combinations, *kinds)
    for units in kinds:
        basis = others(units)
        whole = _products(units.factor(first), units.factor(second))
        own = without(basis, whole)
        along = directions_above(own, whole)
        if len(whole) - basis.shape[1] - along.shape[1] >= ENOUGH_DF:
            break
    return units, basis, own, along


def _columns(factor: Factor) -> Floats:
    return standardised(factor)[:, None] if factor.is_numeric else indicators(factor)


def _products(first: Factor, second: Factor) -> Floats:
    left, right = _columns(first), _columns(second)
    return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)


def _contrasts(first: Factor, second: Factor) -> Floats:
    """(contrasts, products): each a difference of differences."""
    return np.kron(_steps(first), _steps(second)).astype(np.float64)


def _steps(factor: Factor) -> Floats:
    """(steps, columns): from the lowest number to the highest; from each name to each later one."""
    if factor.is_numeric:
        numbers = standardised(factor)
        return np.array([[numbers.max() - numbers.min()]])
    names = len(factor.levels)
    steps = [np.eye(names)[later] - np.eye(names)[one] for one in range(names) for later in range(one + 1, names)]
    return np.asarray(steps)
