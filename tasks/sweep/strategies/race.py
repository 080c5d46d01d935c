"""The race: settings are asked block by block, and those that are clearly worse than the best drop out.

A block is one prompt asked once more of every setting that is still in. After each block, the settings' scores are
compared with those of the leader in the same blocks by a paired one-sided t test; the probability of dropping the best
setting, ever, is kept below 1 - confidence by Bonferroni's inequality over its rivals and the looks. (Of settings that
are equally good, others may go: that costs nothing.) A race of models as Maron and Moore proposed it (Hoeffding Races,
NIPS 1994), with the paired t test and blocks of Birattari et al. (A Racing Algorithm for Configuring Metaheuristics,
GECCO 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.sweep.grid import Grid
from tasks.sweep.strategies import Asking, setting_cells

LEAST_BLOCKS = 3
"""Before anything drops out: two differences have a variance that says little."""


def race(grid: Grid) -> Asking:
    """Blocks of cells; what is sent back decides who is asked in the next."""
    spec = grid.spec
    assert spec.strategy.name == "race"
    alive = list(range(grid.settings))
    scores: dict[int, list[float]] = {setting: [] for setting in alive}
    blocks = len(spec.prompts) * spec.response_count
    looks = max(1, blocks - LEAST_BLOCKS)
    alpha = (1 - spec.strategy.confidence) / (looks * max(1, len(alive) - 1))
    for block in range(blocks):
        cells = {setting: setting_cells(grid, setting, block) for setting in alive}
        scored = yield list(cells.values())
        for setting, cell in cells.items():
            scores[setting].append(scored.get((cell.combination_key, cell.repetition), 0.0))
        if LEAST_BLOCKS <= block + 1 < blocks:
            alive = still_in(alive, scores, alpha)


def still_in(alive: Sequence[int], scores: Mapping[int, Sequence[float]], alpha: float) -> list[int]:
    """Those of `alive` that are not clearly worse than the one with the best mean.

    Args:
        scores: of each setting, one a block, the same blocks for all that are alive.
        alpha: level of each single test.
    """
    matrix = np.array([scores[setting] for setting in alive], dtype=float)
    leader = int(np.argmax(matrix.mean(axis=1)))
    below = _paired_p(matrix[leader] - matrix)
    return [setting for place, setting in enumerate(alive) if place == leader or below[place] > alpha]


def _paired_p(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p of each row's mean not being above 0; of differences that are all alike it is 1 at 0, else 0."""
    from scipy.stats import t

    blocks = differences.shape[1]
    mean, spread = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(spread > 0, mean / (spread / np.sqrt(blocks)), np.where(mean > 0, np.inf, 0.0))
    found: NDArray[np.float64] = t.sf(statistic, blocks - 1)
    return np.where(mean > 0, found, 1.0)
