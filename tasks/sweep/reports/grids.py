"""Means by pairs of parameters and by combination, of the responses that the statistics are of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from schemas.sweep_reports import CombinationMean, HeatMap
from schemas.sweep_statistics import Interaction
from tasks.sweep.statistics.insights import level_means, number
from tasks.sweep.statistics.observations import PROMPT, Factor, Observations

MOST_HEAT_MAPS = 6


def heat_maps(observations: Observations, metric: str, interactions: Sequence[Interaction]) -> tuple[HeatMap, ...]:
    """A map for each pair of parameters that vary, those that most probably depend on one another first."""
    varied = [factor for factor in observations.varied if factor.name != PROMPT]
    p_value = {(found.first, found.second): found.p_value for found in interactions if found.metric == metric}
    pairs = sorted(combinations(varied, 2), key=lambda pair: p_value.get((pair[0].name, pair[1].name), 2.0))
    scores = observations.scores[:, observations.metrics.index(metric)] if pairs else np.zeros(0)
    return tuple(_heat_map(metric, scores, *pair) for pair in pairs[:MOST_HEAT_MAPS])


def _heat_map(metric: str, scores: np.ndarray, first: Factor, second: Factor) -> HeatMap:
    shape = (len(first.levels), len(second.levels))
    codes = first.codes * shape[1] + second.codes
    means = level_means(codes, scores, shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(codes, minlength=shape[0] * shape[1]).reshape(shape)
    return HeatMap(
        metric=metric,
        first=first.name,
        second=second.name,
        first_values=first.levels,
        second_values=second.levels,
        means=tuple(tuple(number(mean) for mean in row) for row in means),
        responses=tuple(tuple(int(count) for count in row) for row in counts),
    )


def combination_means(observations: Observations, metric: str) -> tuple[CombinationMean, ...]:
    """All combinations, the best mean first: what the Pareto front is chosen from."""
    of_cells, of_combinations = observations.of_cells, observations.of_combinations
    codes = of_combinations.group[of_cells.group]
    count = len(of_combinations.counts)
    scores = of_combinations.means(observations.cells.scores)[:, observations.metrics.index(metric)]
    costs, latencies = (level_means(codes, values, count)
                        for values in (observations.cost_usd, observations.latency_ms))  # fmt: skip
    responses = np.bincount(codes, minlength=count)
    factors = [factor.at(of_combinations.first) for factor in observations.cells.factors if factor.name != PROMPT]
    return tuple(
        CombinationMean(
            settings={factor.name: factor.levels[int(factor.codes[place])] for factor in factors},
            responses=int(responses[place]),
            score=round(float(scores[place]), 12),
            cost_usd=number(costs[place]),
            latency_ms=number(latencies[place]),
        )
        for place in np.argsort(-scores.round(12), kind="stable")
    )
