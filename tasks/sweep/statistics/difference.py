"""The difference of two means, with its interval by bootstrap: of pairs, or of samples that have nothing to pair.

Units that may be taken for independent are drawn anew with replacement, in two samples each by itself, and percentiles
are taken as far out as Student's t would (`bootstrap.expanded_tail`; Hesterberg 2015). The p of no difference is that
of Student's paired t (`comparison.compare_pairs`) or of Welch's (1947, Biometrika 34). Seeded: equal scores give equal
intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.sweep_statistics import Interval, Unit
from tasks.sweep.statistics.bootstrap import DRAWS, FEWEST_DRAWS, MOST_WEIGHTS, WEIGHTS_AT_ONCE, expanded_tail
from tasks.sweep.statistics.comparison import ENOUGH_UNITS, compare_pairs
from tasks.sweep.statistics.correlation import p_of_t
from tasks.sweep.statistics.observations import Codes, Floats, group_rows


@dataclass(frozen=True)
class Difference:
    """A difference of means; interval and p are None with fewer than two units on a side.

    Attributes:
        units: of the smaller side, where there are two.
    """

    difference: float
    interval: Interval | None
    p_value: float | None
    unit: Unit
    units: int


@dataclass(frozen=True, eq=False)
class Sample:
    """Scores of responses: (responses,), with the cell of each, and with the combination of each cell."""

    scores: Floats
    cells: Codes
    combinations: Codes

    def units(self, unit: Unit) -> Floats:
        """Means of what is taken for independent."""
        if unit == "responses":
            return self.scores
        return _means(self.scores, self.cells if unit == "cells" else self.combinations)


def paired_difference(differences: Floats, combinations: Codes, prompts: Codes, seed: int) -> Difference:
    """The mean of paired differences.

    Args:
        differences: (pairs,), at least one.
        combinations, prompts: of each pair.
    """
    judged = compare_pairs(differences, combinations, prompts)
    units = differences
    if judged.unit != "cells":
        units = _means(differences, combinations if judged.unit == "combinations" else prompts)
    interval = _interval(_drawn_means(units, np.random.default_rng(seed)), len(units))
    return Difference(float(units.mean()), interval, judged.p_value, judged.unit, judged.units)


def separate_difference(first: Sample, second: Sample, seed: int) -> Difference:
    """The mean of `second` less that of `first`, nothing paired.

    Combinations are the units where both sides have enough of them, else cells, else responses.
    """
    unit = _unit(first, second)
    one, other = first.units(unit), second.units(unit)
    random = np.random.default_rng(seed)
    drawn = _drawn_means(other, random) - _drawn_means(one, random)
    units = min(len(one), len(other))
    difference = float(other.mean() - one.mean())
    return Difference(difference, _interval(drawn, units), _p_of_welch(one, other), unit, units)


def _unit(first: Sample, second: Sample) -> Unit:
    fewest: tuple[tuple[Unit, int], ...] = (("combinations", ENOUGH_UNITS), ("cells", 2))
    return next((u for u, few in fewest if all(len(side.units(u)) >= few for side in (first, second))), "responses")


def _means(scores: Floats, codes: Codes) -> Floats:
    return group_rows([codes], len(codes)).means(scores[:, None])[:, 0]


def _drawn_means(units: Floats, random: np.random.Generator) -> Floats:
    """(draws,): means of as many units, drawn with replacement."""
    count = len(units)
    draws = int(np.clip(MOST_WEIGHTS // count, FEWEST_DRAWS, DRAWS))
    at_once = max(1, WEIGHTS_AT_ONCE // count)
    sizes = [min(at_once, draws - start) for start in range(0, draws, at_once)]
    return np.concatenate([units[random.integers(0, count, size=(size, count))].mean(axis=1) for size in sizes])


def _interval(means: Floats, units: int) -> Interval | None:
    if units < 2:
        return None
    tail = expanded_tail(units)
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(low=round(float(low), 12), high=round(float(high), 12))


def _p_of_welch(one: Floats, other: Floats) -> float | None:
    if min(len(one), len(other)) < 2:
        return None
    squares = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
    error = float(np.sqrt(sum(squares)))
    if error < 1e-15:
        return 1.0 if abs(other.mean() - one.mean()) < 1e-12 else 0.0
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / (len(one) - 1) + squares[1] ** 2 / (len(other) - 1))
    return float(p_of_t(np.array(other.mean() - one.mean()), np.array(error), freedom))
