"""Two models on the same prompts with the same parameters: a paired test.

Repeats are averaged, so that a pair is a cell that both answered. Pairs of a combination of parameters are averaged
over prompts, and the mean difference is tested with Student's paired t. From `ENOUGH_PROMPTS` on, prompts are a
sample: pairs are averaged over parameters and tested too, and of both tests the wider interval and the larger p
count. With fewer than `ENOUGH_UNITS` combinations, prompts are the units, and with fewer prompts, cells. Source:
Student 1908; for the choice of units, Donner and Klar 2000, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.sweep_statistics import Interval, Unit
from tasks.sweep.statistics.correlation import p_of_t
from tasks.sweep.statistics.observations import ENOUGH_PROMPTS, Codes, Floats, group_rows

ENOUGH_UNITS = 4


@dataclass(frozen=True)
class Paired:
    """The mean of differences, with its interval and the p of none; None with fewer than two units."""

    difference: float
    interval: Interval | None
    p_value: float | None
    unit: Unit
    units: int


def compare_pairs(differences: Floats, combinations: Codes, prompts: Codes) -> Paired:
    """The mean of paired differences judged.

    Args:
        differences: (pairs,), at least one.
        combinations, prompts: of each pair.
    """
    of_combinations, of_prompts = _means(differences, combinations), _means(differences, prompts)
    by_combination = _judge(of_combinations, "combinations")
    by_prompt = _judge(of_prompts, "prompts")
    if len(of_prompts) < ENOUGH_PROMPTS:
        return by_combination if len(of_combinations) >= ENOUGH_UNITS else _judge(differences, "cells")
    if len(of_combinations) < ENOUGH_UNITS:
        return by_prompt
    return max(by_combination, by_prompt, key=lambda paired: (paired.p_value or 0.0, _width(paired)))


def _width(paired: Paired) -> float:
    return paired.interval.high - paired.interval.low if paired.interval else 0.0


def _means(differences: Floats, codes: Codes) -> Floats:
    return group_rows([codes], len(codes)).means(differences[:, None])[:, 0]


def _judge(differences: Floats, unit: Unit) -> Paired:
    from scipy.special import stdtrit

    mean, units = float(differences.mean()), len(differences)
    if units < 2:
        return Paired(mean, None, None, unit, units)
    error = float(differences.std(ddof=1) / np.sqrt(units))
    error = 0.0 if error < 1e-15 else error
    reach = error * float(stdtrit(units - 1, 0.975))
    p_value = float(p_of_t(np.array(mean), np.array(error), units - 1))
    return Paired(mean, Interval(low=mean - reach, high=mean + reach), p_value, unit, units)
