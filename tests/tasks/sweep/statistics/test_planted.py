"""What was planted is found, what was not is not, and little is claimed of little."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sweep_statistics import SweepAnalysis
from tasks.sweep.statistics.analysis import analyse
from tasks.sweep.statistics.observations import Factor, Observations
from tests.tasks.sweep.statistics.planted import grid, numbers, observe

LEVELS = {
    "temperature": (0.1, 0.3, 0.5, 0.7, 0.9),
    "top_p": (0.8, 0.9, 1.0),
    "max_tokens": (100.0, 300.0),
    "model": ("old", "new"),
}
METRICS = ("overall", "coherence", "readability")


def conclude(observations: Observations) -> SweepAnalysis:
    return analyse(observations, experiment_id="e", name="E", analysis_version="headrace-1")


def planted(prompts: int = 3, repeats: int = 2, noise: float = 0.04, seed: int = 1) -> Observations:
    """Best at temperature 0.5 and with model new; top_p matters the other way round at low temperatures; tokens do not.

    Costs rise with tokens, the new model is slower.
    """
    random = np.random.default_rng(seed)
    factors = grid(LEVELS, prompts=prompts, repeats=repeats)
    values = numbers(factors)
    temperature, model = values["temperature"], factors[3].codes
    truth = 0.7 - 0.8 * (temperature - 0.5) ** 2 + 0.08 * model + 1.5 * (temperature - 0.5) * (values["top_p"] - 0.9)
    scores = truth[:, None] + random.normal(0, noise, (len(truth), len(METRICS)))
    scores += random.normal(0, 0.05, prompts)[factors[4].codes][:, None]
    return observe(
        factors, np.clip(scores, 0, 1), metrics=METRICS, cost_usd=values["max_tokens"] * 1e-5,
        latency_ms=200.0 + 300.0 * model, seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found() -> SweepAnalysis:
    return conclude(planted())


def test_what_matters_is_found_and_what_does_not_is_not(found: SweepAnalysis) -> None:
    shown = {(each.parameter, each.metric): each.significant for each in found.insights}
    assert all(shown[name, metric] for name in ("temperature", "model") for metric in METRICS)
    assert not any(shown[name, metric] for name in ("max_tokens", "top_p") for metric in METRICS)


def test_the_optimum_is_found_with_the_range_around_it(found: SweepAnalysis) -> None:
    temperature = found.insight("temperature", "overall")
    assert temperature.best_value == 0.5
    assert temperature.best_probability is not None
    assert temperature.best_probability > 0.5
    assert 0.1 not in temperature.recommended
    assert 0.9 not in temperature.recommended
    best = found.optima[0].candidates[0]
    assert (best.settings["temperature"], best.settings["model"]) in {(0.5, "new"), (0.7, "new")}
    assert sum(candidate.probability for candidate in found.optima[0].candidates) <= 1 + 1e-9
    middle = next(mean for mean in temperature.means if mean.value == 0.5)
    assert middle.interval is not None
    assert middle.interval.low < middle.mean < middle.interval.high


def test_a_parameter_that_is_best_in_the_middle_matters_though_it_does_not_correlate(found: SweepAnalysis) -> None:
    temperature = found.insight("temperature", "overall")
    assert temperature.pearson is not None
    assert temperature.pearson.strength in {"negligible", "weak"}
    assert temperature.pearson.unit == "combinations"
    assert temperature.pearson.n == 60
    assert temperature.strength == temperature.pearson.strength
    assert found.insight("model", "overall").pearson is None


def test_the_interaction_is_found_with_its_size(found: SweepAnalysis) -> None:
    by_pair = {(each.first, each.second): each for each in found.interactions if each.metric == "overall"}
    shown = {pair for pair, each in by_pair.items() if each.significant}
    assert shown == {("temperature", "top_p")}
    interaction = by_pair["temperature", "top_p"]
    assert interaction.interval is not None
    assert interaction.interval.low < 1.5 * 0.8 * 0.2 < interaction.interval.high
    assert interaction.sentence in found.sentences


def test_fronts_hold_the_cheap_and_the_quick(found: SweepAnalysis) -> None:
    by_cost, by_latency, both = found.pareto
    assert (by_cost.against, by_latency.against, len(both.against)) == (("cost_usd",), ("latency_ms",), 2)
    assert min(point.cost_usd or 9 for point in by_cost.points) == pytest.approx(0.001)
    assert {point.settings["model"] for point in by_latency.points} == {"old", "new"}
    scores = [point.score for point in both.points]
    assert scores == sorted(scores, reverse=True)


def test_two_analyses_of_the_same_are_the_same_to_the_last_bit(found: SweepAnalysis) -> None:
    assert conclude(planted()).model_dump_json() == found.model_dump_json()
    assert conclude(replace(planted(), seed=2)).model_dump_json() != found.model_dump_json()


def test_from_five_prompts_on_others_are_spoken_of(found: SweepAnalysis) -> None:
    many = conclude(planted(prompts=6, repeats=1))
    assert (found.prompts_are_sample, many.prompts_are_sample) == (False, True)
    assert "All this is about these 3 prompts" in found.sentences[-1]
    assert not any("All this is about" in sentence for sentence in many.sentences)
    few, wide = (each.insight("temperature", "overall").means[2].interval for each in (found, many))
    assert few is not None
    assert wide is not None
    assert wide.high - wide.low > few.high - few.low  # prompts differ


def test_what_cannot_be_shown_is_said_with_the_responses_it_would_take(found: SweepAnalysis) -> None:
    tokens = found.insight("max_tokens", "overall")
    assert tokens.recommended == (100.0, 300.0)
    assert tokens.more_responses is not None
    assert tokens.more_responses > 0
    assert f"About {tokens.more_responses:,} more responses would be needed" in tokens.sentence


def test_one_response_is_no_ground_for_anything() -> None:
    alone = conclude(observe(grid({"temperature": (0.5,)}), np.array([0.7]), metrics=("overall",)))
    assert (alone.insights, alone.interactions) == ((), ())
    assert alone.sentences[0] == "There is one combination; its overall is 70.0."


def test_no_response_says_so() -> None:
    empty = observe(grid({"temperature": (0.5,)}, repeats=0), np.zeros((0, 1)), failed=4)
    assert conclude(empty).sentences == (
        "There is no answer with scores to conclude anything from (4 calls failed; 0 unscored).",
    )


def test_equal_scores_are_called_equal() -> None:
    equal = conclude(observe(grid(LEVELS, prompts=2), np.full((120, 1), 0.3), metrics=("overall",)))
    assert not any(each.significant for each in (*equal.insights, *equal.interactions))
    assert equal.insight("temperature", "overall").sentence == "overall is the same at every temperature."


def test_scores_without_noise_are_sure() -> None:
    factors = grid({"temperature": (0.1, 0.5, 0.9)}, repeats=2)
    sure = conclude(observe(factors, 0.1 + numbers(factors)["temperature"] / 2, metrics=("overall",)))
    insight = sure.insight("temperature", "overall")
    assert (insight.significant, insight.recommended, insight.p_adjusted) == (True, (0.9,), 0.0)


def test_single_answers_of_one_prompt_cannot_be_told_from_chance() -> None:
    factors = grid({"temperature": (0.1, 0.5, 0.9)})
    alone = conclude(observe(factors, np.array([0.1, 0.9, 0.4]), metrics=("overall",)))
    insight = alone.insight("temperature", "overall")
    assert (insight.p_value, insight.significant) == (None, False)
    assert "cannot be told from chance" in insight.sentence
    assert alone.optima[0].candidates[0].probability < 0.99


def test_repeats_are_what_is_compared_where_there_is_nothing_else() -> None:
    random = np.random.default_rng(3)
    factors = grid({"temperature": (0.1, 0.5, 0.9)}, repeats=5)
    scores = 0.5 + 0.4 * numbers(factors)["temperature"] + random.normal(0, 0.02, 15)
    insight = conclude(observe(factors, np.clip(scores, 0, 1), metrics=("overall",))).insight("temperature", "overall")
    assert (insight.unit, insight.units, insight.significant) == ("responses", 15, True)
    assert "This is from single responses" in insight.sentence
    assert insight.means[0].interval is not None


def test_names_without_order_have_no_range_between_them() -> None:
    random = np.random.default_rng(8)
    factors = grid({"model": ("a", "b", "c"), "temperature": (0.1, 0.3, 0.5, 0.7)}, prompts=2, repeats=2)
    scores = np.array([0.8, 0.3, 0.8])[factors[0].codes] + random.normal(0, 0.03, len(factors[0].codes))
    insight = conclude(observe(factors, np.clip(scores, 0, 1), metrics=("overall",))).insight("model", "overall")
    assert insight.recommended == ("a", "c")
    assert "Recommended: a and c" in insight.sentence


def _those_left(factor: Factor) -> Factor:
    places, codes = np.unique(factor.codes, return_inverse=True)
    return Factor(factor.name, tuple(factor.levels[place] for place in places), codes)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), st.integers(0, 20))
def test_whatever_is_missing_an_analysis_is_made_of_finite_numbers(
    seed: int, temperatures: int, top_ps: int, prompts: int, lost: int
) -> None:
    random = np.random.default_rng(seed)
    levels = {"temperature": (0.1, 0.5, 0.9)[:temperatures], "top_p": (0.7, 0.8, 0.9, 1.0)[:top_ps]}
    factors = grid(levels, prompts=prompts, repeats=2)
    rows = np.sort(random.permutation(len(factors[0].codes))[lost:])
    if len(rows) == 0:
        return
    factors = tuple(_those_left(factor.at(rows)) for factor in factors)
    scores = random.choice([0.0, 0.5, 1.0], (len(rows), 2))
    text = conclude(observe(factors, scores, metrics=("overall", "wit"))).model_dump_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert SweepAnalysis.model_validate_json(text).responses == len(rows)


def test_of_very_many_answers_a_part_is_looked_at_which_is_said() -> None:
    levels = {"temperature": tuple(place / 10 for place in range(1, 11)), "top_p": (0.5, 1.0)}
    factors = grid(levels, prompts=300)
    temperature = numbers(factors)["temperature"]
    random = np.random.default_rng(5)
    scores = 0.6 - 0.5 * (temperature - 0.7) ** 2 + random.normal(0, 0.02, len(temperature))
    tracemalloc.start()
    try:
        found = conclude(observe(factors, scores, metrics=("overall",)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * 2**20
    assert found.responses == 6_000
    assert found.looked_at == 2_000
    assert found.sentences[-1] == (
        "These statistics look at 2,000 of 6,000 answers: 100 of 300 prompts, and combinations drawn at random."
    )
    assert found.insight("temperature", "overall").best_value == 0.7
    assert found.insight("temperature", "overall").significant
    assert not found.insight("top_p", "overall").significant


def test_of_very_many_combinations_some_are_looked_at() -> None:
    levels = {"temperature": tuple(place / 20 for place in range(40)), "top_p": tuple(np.linspace(0.02, 1, 70)),
              "model": ("old", "new")}  # fmt: skip
    factors = grid(levels)
    scores = 0.5 + 0.1 * factors[2].codes + np.random.default_rng(6).normal(0, 0.02, len(factors[2].codes))
    found = conclude(observe(factors, scores, metrics=("overall",)))
    assert (found.responses, found.looked_at) == (5_600, 5_000)
    assert found.insight("model", "overall").best_value == "new"


def test_of_a_random_sweep_of_many_prompts_as_many_answers_are_looked_at_as_fit() -> None:
    rows = np.arange(3_000)
    factors = (
        Factor("temperature", tuple(place / 20 for place in range(30)), rows % 30),
        Factor("top_p", tuple(float(each) for each in np.linspace(0.01, 1, 100)), rows // 30),
        Factor("prompt", tuple(f"Question {number}?" for number in range(300)), rows * 7 % 300),
    )
    scores = 0.5 + 0.01 * factors[0].codes + np.random.default_rng(7).normal(0, 0.01, len(rows))
    found = conclude(observe(factors, scores, metrics=("overall",)))
    assert (found.responses, found.looked_at) == (3_000, 1_000)  # ten to each of a hundred prompts
    assert found.insight("temperature", "overall").significant
