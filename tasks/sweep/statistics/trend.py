"""The trend of a daily mean: the median of the slopes between all pairs of days.

Estimator and interval: Theil 1950 and Sen 1968 (JASA 63); one wild day in four does not change them much. Test of no
trend: Kendall's tau between days and means, exact with few days. Days without responses are not there, so slopes are
per day of the calendar. Daily means are taken for independent; experiments that ran on one day only say nothing of a
trend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from schemas.sweep_statistics import BestPeriod, Direction, Interval, TrendPoint

FEWEST_DAYS = 4
PERIOD_DAYS = 7


@dataclass(frozen=True)
class Slope:
    """Per day, with its interval, and the p of no trend."""

    per_day: float
    interval: Interval
    p_value: float

    @property
    def direction(self) -> Direction:
        """None is shown where the interval contains 0."""
        if self.interval.low > 0:
            return "rising"
        return "falling" if self.interval.high < 0 else "none shown"


def fit_trend(days: Sequence[date], means: Sequence[float]) -> Slope | None:
    """The slope of `means` over `days`; None with fewer than `FEWEST_DAYS`."""
    if len(days) < FEWEST_DAYS:
        return None
    from scipy.stats import kendalltau, theilslopes

    numbers = np.array([day.toordinal() for day in days], dtype=np.float64)
    values = np.asarray(means, dtype=np.float64)
    if np.ptp(values) == 0:
        return Slope(0.0, Interval(low=0.0, high=0.0), 1.0)
    slope, _, low, high = theilslopes(values, numbers, alpha=0.95)
    p_value = float(kendalltau(numbers, values).pvalue)
    return Slope(float(slope), Interval(low=float(low), high=float(high)), p_value)


def best_period(points: Sequence[TrendPoint]) -> BestPeriod:
    """The days, at most `PERIOD_DAYS` from the first to the last, whose responses have the highest mean.

    Periods with less than half as many responses as such a period has at most are left out: the best of many small
    ones is the luckiest. The earliest of equals.

    Args:
        points: in the order of their days; at least one.
    """
    periods = [_period(points, start) for start in range(len(points))]
    enough = max(period.responses for period in periods) / 2
    return max((p for p in periods if p.responses >= enough), key=lambda p: (p.mean, -p.since.toordinal()))


def _period(points: Sequence[TrendPoint], start: int) -> BestPeriod:
    since = points[start].day
    within = [point for point in points[start:] if (point.day - since).days < PERIOD_DAYS]
    responses = sum(point.responses for point in within)
    mean = sum(point.mean * point.responses for point in within) / responses
    return BestPeriod(since=since, until=within[-1].day, responses=responses, mean=mean)
