"""Which cells are asked, and in what order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.errors import BadInput
from schemas.sweep import SweepSpec
from tasks.sweep.cells import Cell
from tasks.sweep.grid import Grid
from tasks.sweep.strategies import asking, most_calls

Score = Callable[[Cell], float]


def grid(strategy: Any, **more: Any) -> Grid:
    ranges = {"temperature": {"min": 0.1, "max": 1.0, "step": 0.1}, "top_p": [0.5, 0.75, 1]}
    said = {"name": "s", "prompt": ["p", "q"], "model": "m", "parameter_ranges": ranges, "strategy": strategy, **more}
    return Grid(SweepSpec.model_validate(said))


def play(wanted: Grid, score: Score) -> list[list[Cell]]:
    """The batches that the strategy asks where `score` says what each cell is worth."""
    strategy, batches = asking(wanted), []
    batch = list(next(strategy))
    while True:
        batches.append(batch)
        try:
            batch = list(strategy.send({(cell.combination_key, cell.repetition): score(cell) for cell in batch}))
        except StopIteration:
            return batches


def temperature(cell: Cell) -> float:
    return float(dict(cell.combination.parameters)["temperature"])


def top_p(cell: Cell) -> float:
    return float(dict(cell.combination.parameters)["top_p"])


def test_the_grid_is_asked_in_order_each_repeat_a_cell_of_its_own() -> None:
    (cells,) = play(grid("grid", response_count=2), temperature)
    assert [cell.combination.number for cell in cells[:4]] == [0, 0, 1, 1]
    assert len({(cell.combination_key, cell.repetition) for cell in cells}) == len(cells) == 2 * 60


def test_a_combination_is_known_by_what_is_asked_and_not_by_its_place() -> None:
    small = Grid(SweepSpec(name="a", prompts=("p",), models=("m",), parameter_ranges={"temperature": (0.5,)}))
    large = Grid(SweepSpec(name="b", prompts=("o", "p"), models=("m",), parameter_ranges={"temperature": ("0.50", 1)}))
    assert Cell(small[0], 0).combination_key == Cell(large[2], 3).combination_key
    assert Cell(small[0], 0).combination_key != Cell(large[0], 0).combination_key


def test_a_random_draw_is_the_same_for_the_same_seed_and_has_nothing_twice() -> None:
    drawn = [play(grid({"name": "random", "combinations": 12}, seed=seed), temperature) for seed in (1, 1, 2)]
    numbers = [[cell.combination.number for cell in batches[0]] for batches in drawn]
    assert numbers[0] == numbers[1] != numbers[2]
    assert len(set(numbers[0])) == 12


def test_a_draw_may_be_from_a_grid_that_nobody_could_ask() -> None:
    wide = {name: {"min": 0.1, "max": 1.0, "step": 0.0001} for name in ("temperature", "top_p")}
    with pytest.raises(BadInput, match="9,001 temperature × 9,001 top_p are 81,018,001 combinations"):
        grid("grid", parameter_ranges=wide, prompt="p")
    drawn = grid({"name": "random", "combinations": 3}, parameter_ranges=wide, prompt="p")
    assert most_calls(drawn) == 3
    assert len(play(drawn, temperature)[0]) == 3


def test_tpe_finds_the_neighbourhood_of_the_best_with_a_share_of_the_calls() -> None:
    wanted = grid({"name": "tpe", "trials": 15, "at_once": 3}, seed=3)

    def near(cell: Cell) -> float:
        return 1 - (temperature(cell) - 0.7) ** 2 - (top_p(cell) - 0.75) ** 2

    batches = play(wanted, near)
    settings = [(temperature(cell), top_p(cell)) for batch in batches for cell in batch]
    assert len(settings) == most_calls(wanted) == 15 * 2
    assert len(set(settings)) == 15
    best = max(near(cell) for batch in batches for cell in batch)
    assert best >= 1 - 0.1**2
    assert play(wanted, near) == batches


def test_tpe_ends_with_the_grid_where_more_trials_are_wanted_than_there_are_settings() -> None:
    batches = play(grid({"name": "tpe", "trials": 100, "at_once": 7}), temperature)
    assert len({cell.combination.number for batch in batches for cell in batch}) == 60


def test_a_race_spends_no_more_on_what_is_clearly_worse_and_keeps_the_best() -> None:
    noise = np.random.default_rng(5)
    wanted = grid("race", response_count=10)
    batches = play(wanted, lambda cell: temperature(cell) + 0.02 * float(noise.standard_normal()))
    assert [len(batch) for batch in batches[:3]] == [30, 30, 30]
    assert len(batches) == 20
    assert {temperature(cell) for cell in batches[-1]} == {1.0}
    assert sum(map(len, batches)) < most_calls(wanted) / 2


def test_a_race_between_all_but_equals_hardly_ever_drops_the_best() -> None:
    """In no more than one race in twenty: of 60 that is 3, and more than 8 are unlikely (1 %)."""
    best = grid("race")[0].parameters
    dropped = 0
    for seed in range(60):
        noise = np.random.default_rng(seed)

        def score(cell: Cell, noise: np.random.Generator = noise) -> float:
            return float(noise.normal()) + 1e-6 * (cell.combination.parameters == best)

        batches = play(grid("race", response_count=5), score)
        dropped += best not in {cell.combination.parameters for cell in batches[-1]}
    assert dropped <= 8


def test_a_race_with_a_failed_call_goes_on() -> None:
    strategy = asking(grid("race", response_count=2))
    cells = list(next(strategy))
    following = list(strategy.send({(cell.combination_key, cell.repetition): 0.5 for cell in cells[1:]}))
    assert len(following) == len(cells)
