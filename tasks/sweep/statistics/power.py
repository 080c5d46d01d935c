"""What could have been seen with the responses there are, and how many would show what was not.

For two means of n units each, with standard deviation s, a difference d is found with probability 80 % at level a when
n = 2 (z(1 - a/2) + z(0.8))² s² / d² (two-sample normal formula; Chow, Shao and Wang 2008, chapter 3). The best and the
worst of k values are a pair that was picked from k (k - 1) / 2, so a is 0.05 divided by that number (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LEVEL = 0.05
POWER = 0.8
MOST_RESPONSES = 10_000_000


@dataclass(frozen=True)
class Power:
    """Of a comparison of values.

    Attributes:
        detectable: the smallest difference between two values that would be found with 80 %.
        more_responses: that would probably show the difference seen; None where no number of them would do.
    """

    detectable: float
    more_responses: int | None


def judge_power(*, values: int, units: int, responses: int, variance: float, difference: float) -> Power:
    """How far the units of a comparison reach.

    Args:
        values: of the parameter.
        units: means that were compared, in all values together; responses: that these are the means of.
        variance: of units of one value.
        difference: between the best and the worst value.
    """
    per_value = units / values
    factor = 2 * _quantiles(values) ** 2 * variance
    detectable = math.sqrt(factor / per_value)
    if difference <= 0 or factor / difference**2 * responses / per_value > MOST_RESPONSES:
        return Power(detectable, None)
    needed = math.ceil(factor / difference**2 * responses / per_value)
    one_more_unit_each = math.ceil(responses / per_value)
    return Power(detectable, max(needed - responses, one_more_unit_each))


def _quantiles(values: int) -> float:
    from scipy.special import ndtri

    pairs = values * (values - 1) / 2
    return float(ndtri(1 - LEVEL / pairs / 2) + ndtri(POWER))
