"""The scores of a sweep as arrays, and the means of them that may be taken for independent.

A *factor* is whatever the sweep varies: a parameter, the model, a prompt. A *cell* is one point of the grid, a
*combination* is a cell without its prompt. Repeats of a cell answer the same question, and cells of a combination share
its luck: so statistics are computed on means of combinations wherever there are enough of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schemas.sweep_statistics import Level, Unit

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

PROMPT = "prompt"
SYSTEM_PROMPT = "system_prompt"
MODEL = "model"
MOST_LEVELS = 100
COARSE_LEVELS = 20
ENOUGH_PROMPTS = 5
"""From here on prompts count as a sample of those to come; fewer are taken for all that matter."""


@dataclass(frozen=True, eq=False)
class Factor:
    """Something that a sweep varies.

    Attributes:
        levels: the values tried, numbers in ascending order; None is what the provider does by itself.
        codes: of each row, the place of its value in `levels`.
    """

    name: str
    levels: tuple[Level, ...]
    codes: Codes

    @property
    def is_numeric(self) -> bool:
        """Values can be ordered and have distances."""
        return all(isinstance(level, int | float) for level in self.levels)

    @property
    def numbers(self) -> Floats:
        """Of each row, its value."""
        return np.asarray(self.levels, dtype=np.float64)[self.codes]

    def at(self, rows: Codes) -> Factor:
        """The factor in other rows."""
        return Factor(self.name, self.levels, self.codes[rows])


@dataclass(frozen=True, eq=False)
class Units:
    """Rows that tests take for independent of one another.

    Attributes:
        kind: what a row is the mean of.
        factors: all that vary, with the codes of these rows.
        scores: (rows, metrics).
    """

    kind: Unit
    factors: tuple[Factor, ...]
    scores: Floats

    def factor(self, name: str) -> Factor:
        """The factor called `name`."""
        return next(factor for factor in self.factors if factor.name == name)


@dataclass(frozen=True, eq=False)
class Grouped:
    """Means of rows that have something in common.

    Attributes:
        group: of each row, its group.
        first: of each group, its first row.
        counts: of each group, its rows.
    """

    group: Codes
    first: Codes
    counts: Codes

    def means(self, rows: Floats) -> Floats:
        """(groups, columns) from (rows, columns)."""
        return np.column_stack([np.bincount(self.group, column, len(self.counts)) for column in rows.T]).reshape(
            len(self.counts), rows.shape[1]
        ) / self.counts.reshape(-1, 1)


def group_rows(codes: Sequence[Codes], rows: int) -> Grouped:
    """Rows with equal codes are one group; groups are in the order of their codes."""
    together = np.zeros(rows, dtype=np.intp)
    for column in codes:
        together = np.unique(together * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1].reshape(-1)
    _, first, counts = np.unique(together, return_index=True, return_counts=True)
    return Grouped(together, first, counts)


@dataclass(frozen=True, eq=False)
class Observations:
    """What models answered in a sweep, and how good it was.

    Attributes:
        factors: all that was set, those with one value only too; `prompt` among them.
        metrics: names of the columns of `scores`.
        scores: (responses, metrics), 0 to 1, all finite.
        cost_usd, latency_ms: of each response; NaN where it is not known.
        failed: calls without an answer, which have no row.
        unscored: answers without these scores, which have no row either.
        retried: answers that an earlier attempt did not get.
        seed: of all that is drawn.
    """

    factors: tuple[Factor, ...]
    metrics: tuple[str, ...]
    scores: Floats
    cost_usd: Floats
    latency_ms: Floats
    failed: int = 0
    unscored: int = 0
    retried: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.scores)

    def factor(self, name: str) -> Factor:
        """The factor called `name`."""
        return next(factor for factor in self.factors if factor.name == name)

    @cached_property
    def varied(self) -> tuple[Factor, ...]:
        """Factors with at least two values."""
        return tuple(factor for factor in self.factors if len(factor.levels) > 1)

    @cached_property
    def of_cells(self) -> Grouped:
        """Responses by cell."""
        return group_rows([factor.codes for factor in self.factors], len(self))

    @cached_property
    def cells(self) -> Units:
        """Means over the repeats of each cell."""
        grouped = self.of_cells
        return Units("cells", tuple(f.at(grouped.first) for f in self.varied), grouped.means(self.scores))

    @cached_property
    def responses(self) -> Units:
        """Each response by itself."""
        return Units("responses", self.varied, self.scores)

    @cached_property
    def of_combinations(self) -> Grouped:
        """Cells by combination: all factors but the prompt."""
        return group_rows(
            [factor.codes for factor in self.cells.factors if factor.name != PROMPT], len(self.cells.scores)
        )

    @cached_property
    def combinations(self) -> Units:
        """Means over prompts and repeats of each combination, the difference between prompts taken out.

        It is taken out before, because a combination may lack a prompt whose calls failed.
        """
        from tasks.sweep.statistics.design import effects_of

        grouped = self.of_combinations
        means = grouped.means(self.cells.scores - effects_of(self.cells, PROMPT))
        others = tuple(factor.at(grouped.first) for factor in self.cells.factors if factor.name != PROMPT)
        return Units("combinations", others, means)

    @cached_property
    def prompts(self) -> int:
        """How many were asked."""
        return len(self.factor(PROMPT).levels)


def coarsened(factor: Factor) -> Factor:
    """The factor with at most `MOST_LEVELS` values: neighbours together, called by their mean.

    So fine a range is drawn from, not gone through: single values have too few answers each to be told apart.
    """
    if len(factor.levels) <= MOST_LEVELS or not factor.is_numeric:
        return factor
    classes = np.array_split(np.asarray(factor.levels, dtype=np.float64), COARSE_LEVELS)
    class_of = np.repeat(np.arange(COARSE_LEVELS), [len(values) for values in classes])
    means = tuple(float(f"{values.mean():.6g}") for values in classes)
    return Factor(factor.name, means, class_of[factor.codes])


def as_factor(name: str, values: Sequence[Level]) -> Factor:
    """The factor of a column of values; numbers in ascending order, None before them, texts as they first come."""
    distinct = list(dict.fromkeys(values))
    if all(value is None or isinstance(value, int | float) for value in distinct):
        distinct.sort(key=lambda value: (value is not None, value))
    places = {value: place for place, value in enumerate(distinct)}
    return Factor(name, tuple(distinct), np.asarray([places[value] for value in values], dtype=np.intp))
