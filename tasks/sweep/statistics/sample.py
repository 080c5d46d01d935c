"""Of a sweep too large to be looked at whole, a part drawn at random that is not.

The additive models of `design` hold a column for each value of each factor, so that a hundred thousand cells, or a
thousand prompts, would take gigabytes and hours. Beyond the limits below whole prompts and whole combinations are left
out, chosen without regard to scores: what is left is a smaller sweep of the same kind.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.sweep.statistics.observations import PROMPT, Codes, Factor, Observations, group_rows

MOST_PROMPTS = 100
MOST_CELLS = 5_000


def sample_observations(observations: Observations, random: np.random.Generator) -> Observations:
    """At most `MOST_PROMPTS` prompts and `MOST_CELLS` cells of `observations`; all of them where they are no more."""
    prompts = observations.factor(PROMPT)
    others = [factor.codes for factor in observations.factors if factor.name != PROMPT]
    combinations = group_rows(others, len(observations))
    kept = _drawn(prompts.codes, len(prompts.levels), MOST_PROMPTS, random)
    kept &= _few_enough(combinations.group, prompts.codes, kept, random)
    return observations if kept.all() else _only(observations, kept)


def _few_enough(combinations: Codes, prompts: Codes, kept: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(rows,): whether the row's combination is one of those drawn, of which what is kept has `MOST_CELLS` cells.

    Cells are counted, not multiplied: a random sweep asks each combination with few of the prompts.
    """
    width = int(prompts.max()) + 1
    cells = np.bincount(np.unique(combinations[kept] * width + prompts[kept]) // width)
    if cells.sum() <= MOST_CELLS:
        return np.ones(len(kept), dtype=bool)
    order = random.permutation(len(cells))
    order = order[cells[order] > 0]
    fitting = int(np.searchsorted(np.cumsum(cells[order]), MOST_CELLS, side="right"))
    chosen = np.zeros(int(combinations.max()) + 1, dtype=bool)
    chosen[order[: max(1, fitting)]] = True
    return np.asarray(chosen[combinations])


def _drawn(codes: Codes, of: int, count: int, random: np.random.Generator) -> np.ndarray:
    """(rows,): whether the row's code is one of `count` drawn from `of`."""
    chosen = np.zeros(of, dtype=bool)
    chosen[random.permutation(of)[:count]] = True
    return np.asarray(chosen[codes])


def _only(observations: Observations, kept: np.ndarray) -> Observations:
    return replace(
        observations,
        factors=tuple(_with_values_left(factor, factor.codes[kept]) for factor in observations.factors),
        scores=observations.scores[kept],
        cost_usd=observations.cost_usd[kept],
        latency_ms=observations.latency_ms[kept],
    )


def _with_values_left(factor: Factor, codes: Codes) -> Factor:
    """The factor without the values that no row has any more."""
    left, new = np.unique(codes, return_inverse=True)
    return Factor(factor.name, tuple(factor.levels[place] for place in left), new.reshape(-1))
