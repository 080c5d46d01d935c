"""Which cells of a grid are asked, and in what order.

A strategy is a generator: it yields the cells to ask next and is sent what they scored, by cell, once all of them are
answered. It depends on nothing else, so that a run resumed with the same answers asks the same cells.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TypeAlias

from tasks.sweep.cells import Cell, repeats
from tasks.sweep.grid import Grid

Scored: TypeAlias = Mapping[tuple[str, int], float]
"""`overall` by combination key and repetition; a call that failed has none."""
Asking: TypeAlias = Generator[Iterable[Cell], Scored, None]

LEARNING = frozenset({"tpe", "race"})
"""Strategies that want to know what was scored."""


def asking(grid: Grid) -> Asking:
    """The strategy that the spec of `grid` names."""
    from tasks.sweep.strategies.race import race
    from tasks.sweep.strategies.tpe import estimate_densities

    match grid.spec.strategy.name:
        case "grid":
            return _everything(grid)
        case "random":
            return _draw(grid)
        case "tpe":
            return estimate_densities(grid)
    return race(grid)


def _everything(grid: Grid) -> Asking:
    yield (cell for combination in grid for cell in repeats(combination, grid.spec.response_count))


def _draw(grid: Grid) -> Asking:
    """Without replacement, by Python's Mersenne Twister; in the order of the grid, so that neighbours are close."""
    from random import Random

    strategy = grid.spec.strategy
    assert strategy.name == "random"
    numbers = Random(grid.spec.seed).sample(range(grid.size), min(strategy.combinations, grid.size))
    yield (cell for number in sorted(numbers) for cell in repeats(grid[number], grid.spec.response_count))


def most_calls(grid: Grid) -> int:
    """Answers that the strategy asks for, at most."""
    spec, size = grid.spec, grid.size
    match spec.strategy.name:
        case "random":
            size = min(size, spec.strategy.combinations)
        case "tpe":
            size = min(size, spec.strategy.trials * len(spec.prompts))
    return size * spec.response_count


def setting_cells(grid: Grid, setting: int, block: int) -> Cell:
    """The cell of a setting in a block: blocks are all prompts for the first time, then for the second, and so on."""
    repetition, prompt = divmod(block, len(grid.spec.prompts))
    return Cell(grid[prompt * grid.settings + setting], repetition)
