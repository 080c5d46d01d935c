"""Intervals of rates and means that are observed in clusters: several ratings, or calls, of one user."""

from __future__ import annotations

import math
from dataclasses import dataclass

from schemas.ab_reports import Estimate

LEVEL = 0.95


NOTHING = Estimate(value=None, lower=None, upper=None)


@dataclass(frozen=True)
class Sums:
    """Sums over clusters u of n_u observations that add up to s_u.

    Attributes:
        clusters: how many there are with an observation.
        n, s, nn, ss, sn: the sums of n_u, s_u, n_u², s_u² and s_u·n_u.
    """

    clusters: int
    n: float
    s: float
    nn: float
    ss: float
    sn: float

    @property
    def mean_variance(self) -> float | None:
        """Variance of s/n by linearisation; None with fewer than two clusters.

        m/(m−1) · Σ(s_u − r·n_u)² / n², r = s/n: Cochran, "Sampling Techniques", 3rd ed. (1977), 6.4.
        """
        if self.clusters < 2:
            return None
        mean = self.s / self.n
        squares = max(self.ss - 2 * mean * self.sn + mean * mean * self.nn, 0.0)
        return self.clusters / (self.clusters - 1) * squares / self.n**2


def wilson(positive: float, n: float, level: float = LEVEL) -> Estimate:
    """The rate positive/n with Wilson's score interval (1927); either may be an effective number."""
    if n <= 0:
        return NOTHING
    z = normal_quantile((1 + level) / 2)
    rate = positive / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return Estimate(value=rate, lower=max(centre - half, 0.0), upper=min(centre + half, 1.0))


def clustered_rate(sums: Sums, level: float = LEVEL) -> Estimate:
    """The rate s/n with Wilson's interval for as many independent observations as the clustered ones are worth.

    The effective number is n over the design effect, never more than n, and less by (z/t)² for few clusters
    (Korn and Graubard, 1998; in Wilson's interval: Dean and Pagano, 2015). Where all observations agree, the
    design effect is not known: then each cluster counts as one.
    """
    if sums.n <= 0:
        return NOTHING
    if sums.n == sums.clusters:  # one observation in each
        return wilson(sums.s, sums.n, level)
    rate = sums.s / sums.n
    variance = sums.mean_variance
    worth: float = sums.clusters
    if variance:
        shrink = normal_quantile((1 + level) / 2) / student_quantile((1 + level) / 2, sums.clusters - 1)
        worth = min(rate * (1 - rate) / variance, sums.n) * shrink**2
    return wilson(rate * worth, worth, level)


def clustered_mean(sums: Sums, level: float = LEVEL) -> Estimate:
    """The mean s/n with Student's interval over the clusters; no interval with fewer than two."""
    if sums.n <= 0:
        return NOTHING
    mean, variance = sums.s / sums.n, sums.mean_variance
    if variance is None:
        return Estimate(value=mean, lower=None, upper=None)
    half = student_quantile((1 + level) / 2, sums.clusters - 1) * math.sqrt(variance)
    return Estimate(value=mean, lower=mean - half, upper=mean + half)


def normal_quantile(probability: float) -> float:
    """Of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def student_quantile(probability: float, degrees: float) -> float:
    """Of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
