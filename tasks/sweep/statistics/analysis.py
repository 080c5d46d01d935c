"""All statistics of a sweep together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from schemas.sweep_statistics import (
    Candidate,
    Interaction,
    Interval,
    Level,
    Optimum,
    ParameterInsight,
    ParetoFront,
    ParetoPoint,
    SweepAnalysis,
)
from tasks.sweep.statistics.insights import find_insights, interval_of, level_means, number, seeded
from tasks.sweep.statistics.interaction import InteractionTest, examine_interaction
from tasks.sweep.statistics.multiplicity import LEVEL, adjust_by_family
from tasks.sweep.statistics.observations import ENOUGH_PROMPTS, PROMPT, Floats, Observations
from tasks.sweep.statistics.optimum import BestCombinations, rank_combinations
from tasks.sweep.statistics.pareto import pareto_front
from tasks.sweep.statistics.sample import sample_observations
from tasks.sweep.statistics.sentences import between, name_of, p_text, points, probability, settings_of

CANDIDATES = 10
POINTS = 200
"""Of a front; more are no choice."""
HEADLINE = "overall"
AGAINST = (("cost_usd",), ("latency_ms",), ("cost_usd", "latency_ms"))


def analyse(whole: Observations, *, experiment_id: str, name: str, analysis_version: str) -> SweepAnalysis:
    """All that can be concluded from the observations; where nothing can, that is said.

    Of more than fit (`sample`) only a part is looked at.
    """
    empty = not len(whole)
    observations = whole if empty else sample_observations(whole, seeded(whole, 4))
    insights = () if empty else find_insights(observations)
    interactions = () if empty else find_interactions(observations)
    optima = () if empty else find_optima(observations)
    return SweepAnalysis(
        experiment_id=experiment_id,
        name=name,
        analysis_version=analysis_version,
        seed=observations.seed,
        responses=len(whole),
        looked_at=len(observations),
        failed=observations.failed,
        unscored=observations.unscored,
        retried=observations.retried,
        cells=0 if empty else len(observations.cells.scores),
        combinations=0 if empty else len(observations.combinations.scores),
        metrics=observations.metrics,
        settings={f.name: f.levels[0] for f in observations.factors if len(f.levels) == 1 and f.name != PROMPT},
        prompts=tuple(str(level) for f in observations.factors if f.name == PROMPT for level in f.levels),
        prompts_are_sample=not empty and observations.prompts >= ENOUGH_PROMPTS,
        insights=insights,
        interactions=interactions,
        optima=optima,
        pareto=() if empty else find_fronts(observations),
        sentences=(
            *_sentences(observations, insights, interactions, optima),
            *([] if observations is whole else [_tell_sample(whole, observations)]),
        ),
    )


def _tell_sample(whole: Observations, part: Observations) -> str:
    return (
        f"These statistics look at {len(part):,} of {len(whole):,} answers: {part.prompts:,} of {whole.prompts:,} "
        f"prompts, and combinations drawn at random."
    )


def headline(metrics: Sequence[str]) -> str:
    """The metric that stands for all: `overall`, else the first."""
    return HEADLINE if HEADLINE in metrics else metrics[0]


def _sentences(
    observations: Observations,
    insights: Sequence[ParameterInsight],
    interactions: Sequence[Interaction],
    optima: Sequence[Optimum],
) -> Iterator[str]:
    """What a reader wants first: of the headline metric, then what else is significant."""
    if not len(observations):
        calls = f"{observations.failed} calls failed" if observations.failed else "there are none"
        yield f"There is no answer with scores to conclude anything from ({calls}; {observations.unscored} unscored)."
        return
    main = headline(observations.metrics)
    yield from (optimum.sentence for optimum in optima if optimum.metric == main)
    yield from (insight.sentence for insight in insights if insight.metric == main)
    yield from (found.sentence for found in interactions if found.metric == main and found.significant)
    if observations.prompts < ENOUGH_PROMPTS:
        what = "this prompt" if observations.prompts == 1 else f"these {observations.prompts} prompts"
        yield f"All this is about {what}: {ENOUGH_PROMPTS} or more would let it speak of others."


def find_interactions(observations: Observations) -> tuple[Interaction, ...]:
    """An interaction for each pair of factors that vary and each metric; prompts with parameters among them."""
    pairs = list(combinations([factor.name for factor in observations.varied], 2))
    if not pairs:
        return ()
    tests = [examine_interaction(observations, *pair) for pair in pairs]
    p_adjusted = adjust_by_family(np.stack([test.p_value for test in tests]))
    return tuple(
        _interaction(observations, test, metric, p_adjusted[place, metric])
        for place, test in enumerate(tests)
        for metric in range(len(observations.metrics))
        if not np.isnan(test.p_value[metric])
    )


def _interaction(observations: Observations, test: InteractionTest, metric: int, p_adjusted: float) -> Interaction:
    from scipy.special import stdtrit

    difference = float(test.difference[metric])
    reach = float(stdtrit(test.df_error, 0.975)) * float(test.error[metric])
    first, second, of = name_of(test.first), name_of(test.second), name_of(observations.metrics[metric])
    significant = bool(p_adjusted <= LEVEL)
    says = f"What {first} does to {of} depends on {second} ({p_text(p_adjusted)}): going through its range changes the"
    says += f" effect by {points(difference)}."
    if not significant:
        says = f"That what {first} does to {of} depends on {second} cannot be shown ({p_text(p_adjusted)})."
    return Interaction(
        first=test.first,
        second=test.second,
        metric=observations.metrics[metric],
        unit=test.units.kind,
        difference=round(difference, 12),
        interval=interval_of(difference - reach, difference + reach),
        p_value=round(float(test.p_value[metric]), 12),
        p_adjusted=round(float(p_adjusted), 12),
        significant=significant,
        sentence=says,
    )


def _settings(observations: Observations, combination: int) -> dict[str, Level]:
    return {factor.name: factor.levels[int(factor.codes[combination])] for factor in observations.combinations.factors}


def _of_combinations(observations: Observations, values: Floats) -> Floats:
    """(combinations,): means of the responses whose value is known."""
    codes = observations.of_combinations.group[observations.of_cells.group]
    return level_means(codes, values, len(observations.combinations.scores))


def _counts(observations: Observations) -> np.ndarray:
    return np.bincount(observations.of_combinations.group[observations.of_cells.group])


def find_optima(observations: Observations) -> tuple[Optimum, ...]:
    """The optimum of each metric."""
    ranked = rank_combinations(observations, seeded(observations, 3))
    return tuple(_optimum(observations, found, metric) for metric, found in enumerate(ranked))


def _optimum(observations: Observations, found: BestCombinations, metric: int) -> Optimum:
    counts = _counts(observations)
    prices = [_of_combinations(observations, values) for values in (observations.cost_usd, observations.latency_ms)]
    means = observations.of_combinations.means(observations.cells.scores)[:, metric]
    best = np.lexsort((np.arange(len(means)), -found.estimate.round(12), -found.probability))[:CANDIDATES]
    candidates = tuple(
        Candidate(
            settings=_settings(observations, int(place)),
            responses=int(counts[place]),
            mean=round(float(means[place]), 12),
            estimate=round(float(found.estimate[place]), 12),
            interval=Interval(low=round(float(found.low[place]), 12), high=round(float(found.high[place]), 12)),
            probability=round(float(found.probability[place]), 12),
            cost_usd=number(prices[0][place]),
            latency_ms=number(prices[1][place]),
        )
        for place in best
    )
    metric_name = observations.metrics[metric]
    says = _tell_optimum(name_of(metric_name), candidates, len(means), found.noise_known)
    return Optimum(metric=metric_name, candidates=candidates, combinations=len(means), sentence=says)


def _tell_optimum(metric: str, candidates: Sequence[Candidate], of: int, noise_known: bool) -> str:
    first = candidates[0]
    if of == 1:
        return f"There is one combination; its {metric} is {points(first.mean)}."
    says = (
        f"Of {of:,} combinations, {settings_of(first.settings)} is the best for {metric} with a probability of "
        f"{probability(first.probability)}: {points(first.estimate)} ({between(first.interval)})"
    )
    if not noise_known:
        says += ", as far as effects of parameters add up: without repeats nothing else can be said"
    if first.probability < 0.5 and len(candidates) > 1:
        together = sum(candidate.probability for candidate in candidates)
        says += f"; that one of the first {len(candidates)} is, {probability(min(together, 1.0))}"
    return f"{says}."


def find_fronts(observations: Observations) -> tuple[ParetoFront, ...]:
    """Fronts of the headline metric against cost, latency and both."""
    metric = headline(observations.metrics)
    score = observations.of_combinations.means(observations.cells.scores)[:, observations.metrics.index(metric)]
    counts = _counts(observations)
    prices = {name: _of_combinations(observations, getattr(observations, name)) for name in AGAINST[2]}
    fronts = []
    for against in AGAINST:
        columns = [prices[name] for name in against]
        places = pareto_front(score, *columns)[:POINTS]
        points_of = tuple(
            ParetoPoint(
                settings=_settings(observations, int(place)),
                responses=int(counts[place]),
                score=round(float(score[place]), 12),
                cost_usd=number(prices["cost_usd"][place]),
                latency_ms=number(prices["latency_ms"][place]),
            )
            for place in places
        )
        left_out = int(np.isnan(np.column_stack(columns)).any(axis=1).sum())
        fronts.append(
            ParetoFront.model_validate(
                {"metric": metric, "against": against, "points": points_of, "combinations": len(score),
                 "left_out": left_out}
            )
        )  # fmt: skip
    return tuple(fronts)
