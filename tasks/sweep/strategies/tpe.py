"""A tree-structured Parzen estimator chooses settings by what those before scored: Optuna's sampler, on our grid.

Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 2011. Trials of one batch are proposed beside each
other, each told that the others are under way (Optuna's constant liar), and told their scores in their order, so that
the same answers lead to the same trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.sweep.cells import Cell, repeats
from tasks.sweep.grid import MODELS, SYSTEM_PROMPTS, Grid
from tasks.sweep.strategies import Asking

if TYPE_CHECKING:
    from optuna import Study, Trial

ASKED_AGAIN = 20
"""Proposals of settings that were tried before, after which the first is taken that was not."""


def estimate_densities(grid: Grid) -> Asking:
    """Batches of trials, each a setting with all prompts and repeats."""
    spec = grid.spec
    assert spec.strategy.name == "tpe"
    study = _study(spec.seed)
    tried: set[int] = set()
    trials = min(spec.strategy.trials, grid.settings)
    while len(tried) < trials:
        batch = [_propose(study, grid, tried) for _ in range(min(spec.strategy.at_once, trials - len(tried)))]
        cells = {trial.number: _cells(grid, setting) for trial, setting in batch}
        scored = yield [cell for each in cells.values() for cell in each]
        for trial, _ in batch:
            found = [scored.get((cell.combination_key, cell.repetition), 0.0) for cell in cells[trial.number]]
            study.tell(trial, sum(found) / len(found))


def _study(seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=False)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _propose(study: Study, grid: Grid, tried: set[int]) -> tuple[Trial, int]:
    """A trial of a setting that was not tried yet, which is noted."""
    from optuna.trial import TrialState

    for _ in range(ASKED_AGAIN):
        trial = study.ask()
        setting = _suggested(trial, grid)
        if setting not in tried:
            break
        study.tell(trial, state=TrialState.FAIL)
    else:
        setting = next(number for number in range(grid.settings) if number not in tried)
        names = [name for name, _ in grid.setting_axes]
        study.enqueue_trial(dict(zip(names, grid.places_of(setting)[1:], strict=True)))
        trial = study.ask()
        _suggested(trial, grid)
    tried.add(setting)
    return trial, setting


def _suggested(trial: Trial, grid: Grid) -> int:
    """The setting that the sampler wants to try; parameters are ordered, models and system prompts are not."""
    places = [
        trial.suggest_categorical(name, range(size))
        if name in {MODELS, SYSTEM_PROMPTS}
        else trial.suggest_int(name, 0, size - 1)
        for name, size in grid.setting_axes
    ]
    return grid.setting_at(places)


def _cells(grid: Grid, setting: int) -> Sequence[Cell]:
    """All prompts, and all repeats of each."""
    prompts = range(len(grid.spec.prompts))
    return [
        cell for prompt in prompts for cell in repeats(grid[prompt * grid.settings + setting], grid.spec.response_count)
    ]
