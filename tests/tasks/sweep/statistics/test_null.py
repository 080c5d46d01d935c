"""Parameters that do nothing are called significant no more often than is said."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.sweep.statistics.comparison import compare_pairs
from tasks.sweep.statistics.effect import EffectTest, examine_effect
from tasks.sweep.statistics.multiplicity import LEVEL, adjust_by_family
from tasks.sweep.statistics.observations import Factor, Floats, Observations
from tests.tasks.sweep.statistics.planted import grid, observe

SIMULATIONS = 2000
METRICS = 4
LEVELS = {"temperature": (0.1, 0.4, 0.7, 1.0), "top_p": (0.8, 0.9, 1.0), "max_tokens": (100.0, 300.0)}
BOUND = 0.06


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("luck", ["none", "of cells", "of combinations", "spread grows with temperature", "coarse"])
def test_a_parameter_that_does_nothing_is_seldom_called_significant(prompts: int, luck: str) -> None:
    factors = grid(LEVELS, prompts=prompts, repeats=2)
    tests = [examine_effect(observed, f.name) for observed in [simulate(factors, luck)] for f in observed.varied]
    names = [test.name for test in tests]
    for kind in ("effect", "pearson", "spearman"):
        by_simulation = p_values(tests, kind)
        called = (adjust_by_family(by_simulation) <= LEVEL).any(axis=2)
        for name in ("top_p", "max_tokens"):
            assert called[:, names.index(name)].mean() <= BOUND, (kind, name)
            assert (by_simulation[:, names.index(name)] <= LEVEL).mean() <= BOUND, (kind, name)
        if kind == "effect" and luck == "none":
            assert called[:, names.index("temperature")].mean() > 0.8  # what is there is found


def p_values(tests: list[EffectTest], kind: str) -> Floats:
    """(simulations, factors, metrics)."""
    found = []
    for test in tests:
        held = test if kind == "effect" else getattr(test, kind)
        found.append(np.full(SIMULATIONS * METRICS, np.nan) if held is None else held.p_value)
    return np.stack(found).reshape(len(tests), SIMULATIONS, METRICS).transpose(1, 0, 2)


def simulate(factors: tuple[Factor, ...], luck: str) -> Observations:
    """All simulations as metrics of one sweep: temperature is best in the middle, prompts differ."""
    random = np.random.default_rng(20260301)
    columns = SIMULATIONS * METRICS
    temperature, top_p, tokens, prompt = (factor.codes for factor in factors)
    rows = len(temperature)
    hot = factors[0].numbers[:, None]
    scores = 0.6 - (hot - 0.5) ** 2 + random.normal(0, 0.2, (prompt.max() + 1, columns))[prompt]
    shared = np.repeat(random.normal(0, 1, (rows, SIMULATIONS)), METRICS, axis=1)  # metrics go together
    noise = 0.1 * (random.normal(0, 1, (rows, columns)) + shared)
    combination = (temperature * 3 + top_p) * 2 + tokens
    if luck == "of combinations":
        scores += random.normal(0, 0.1, (24, columns))[combination]
    if luck == "of cells":
        scores += random.normal(0, 0.1, (24 * (prompt.max() + 1), columns))[combination * (prompt.max() + 1) + prompt]
    if luck == "spread grows with temperature":
        noise *= 1 + 3 * hot
    scores += noise
    return observe(factors, np.clip(scores.round(1), 0, 1) if luck == "coarse" else scores)


def test_where_prompts_are_a_sample_what_a_parameter_does_to_each_by_chance_is_no_effect() -> None:
    factors = grid({"temperature": (0.1, 0.5, 0.9), "top_p": (0.7, 0.8, 0.9, 1.0)}, prompts=8, repeats=2)
    random = np.random.default_rng(7)
    prompt, top_p = factors[2].codes, factors[1].numbers[:, None]
    slopes = random.normal(0, 1.0, (8, SIMULATIONS))[prompt] * (top_p - 0.85)
    scores = slopes + random.normal(0, 0.1, (len(prompt), SIMULATIONS))
    test = examine_effect(observe(factors, scores), "top_p")
    assert test.pearson is not None
    assert (test.p_value <= LEVEL).mean() <= BOUND
    assert (test.pearson.p_value <= LEVEL).mean() <= BOUND


@pytest.mark.parametrize(("prompts", "combinations"), [(8, 1), (2, 12), (8, 12)])
def test_equal_models_are_seldom_told_apart(prompts: int, combinations: int) -> None:
    random = np.random.default_rng(11)
    prompt = np.repeat(np.arange(prompts), combinations)
    combination = np.tile(np.arange(combinations), prompts)
    found = 0
    for _ in range(SIMULATIONS):
        differences = random.normal(0, 1, prompts * combinations)
        if prompts > 4:
            differences += random.normal(0, 1, prompts)[prompt]  # one suits a model, another does not
        p_value = compare_pairs(differences, combination, prompt).p_value
        assert p_value is not None
        found += p_value <= LEVEL
    assert found / SIMULATIONS <= BOUND


def test_in_a_small_grid_repeats_of_a_lucky_cell_are_no_evidence() -> None:
    factors = grid({"temperature": (0.1, 0.5, 0.9), "top_p": (0.8, 1.0)}, repeats=4)
    random = np.random.default_rng(13)
    cell = factors[0].codes * 2 + factors[1].codes
    scores = random.normal(0, 0.1, (6, SIMULATIONS))[cell] + random.normal(0, 0.1, (24, SIMULATIONS))
    test = examine_effect(observe(factors, scores), "top_p")
    assert test.fit.units.kind == "combinations"
    assert (test.p_value <= LEVEL).mean() <= BOUND
