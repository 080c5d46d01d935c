"""What each parameter does to each metric: effect, correlations, means, best value, range, and a sentence for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.sweep_statistics import Correlation, Interval, Level, LevelMean, ParameterInsight
from tasks.sweep.statistics.bootstrap import bootstrap_means
from tasks.sweep.statistics.correlation import Correlations, strength_of
from tasks.sweep.statistics.effect import EffectTest, examine_effect
from tasks.sweep.statistics.levels import LevelRanks, rank_levels, run_around_best
from tasks.sweep.statistics.multiplicity import LEVEL, adjust_by_family
from tasks.sweep.statistics.observations import Codes, Floats, Observations
from tasks.sweep.statistics.power import judge_power
from tasks.sweep.statistics.sentences import between, level_of, listed, name_of, p_text, points, probability


def seeded(observations: Observations, *place: int) -> np.random.Generator:
    """A generator of its own for each thing that is drawn, so that none depends on what was drawn before."""
    return np.random.default_rng([observations.seed % 2**64, *place])


def adjusted(tests: Sequence[EffectTest]) -> dict[str, Floats]:
    """Adjusted p of the effects and of each kind of correlation: (tests, metrics) each."""
    found = {"effect": adjust_by_family(np.stack([test.p_value for test in tests]))}
    for kind in ("pearson", "spearman"):
        held: list[Correlations | None] = [getattr(test, kind) for test in tests]
        rows = [np.full_like(tests[0].p_value, np.nan) if one is None else one.p_value for one in held]
        found[kind] = adjust_by_family(np.stack(rows))
    return found


@dataclass(frozen=True, eq=False)
class _Examined:
    """A factor with all that is known of it."""

    test: EffectTest
    ranks: LevelRanks
    low: Floats
    high: Floats
    cost_usd: Floats
    latency_ms: Floats
    counts: Codes
    p_adjusted: Floats
    pearson_adjusted: Floats
    spearman_adjusted: Floats


def find_insights(observations: Observations) -> tuple[ParameterInsight, ...]:
    """An insight for each factor that varies and each metric."""
    tests = [examine_effect(observations, factor.name) for factor in observations.varied]
    if not tests:
        return ()
    adjusting = adjusted(tests)
    found = []
    for place, test in enumerate(tests):
        factor = observations.factor(test.name)
        low, high = bootstrap_means(observations, test.fit, test.name, seeded(observations, 1, place))
        examined = _Examined(
            test,
            rank_levels(test.fit, seeded(observations, 2, place)),
            low,
            high,
            level_means(factor.codes, observations.cost_usd, len(factor.levels)),
            level_means(factor.codes, observations.latency_ms, len(factor.levels)),
            np.bincount(factor.codes, minlength=len(factor.levels)),
            *(adjusting[kind][place] for kind in ("effect", "pearson", "spearman")),
        )
        found += [_insight(observations, examined, metric) for metric in range(len(observations.metrics))]
    return tuple(found)


def level_means(codes: np.ndarray, values: Floats, levels: int) -> Floats:
    """(levels,): means of the values that are known; NaN where none is."""
    known = ~np.isnan(values)
    counts = np.bincount(codes[known], minlength=levels)
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, np.bincount(codes[known], values[known], levels) / np.maximum(counts, 1), np.nan)


def number(value: float) -> float | None:
    """None for what is not known, else rounded so that no machine's last bit shows."""
    return None if not np.isfinite(value) else round(float(value), 12)


def interval_of(low: float, high: float) -> Interval | None:
    """None where an end is not known."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    return Interval(low=round(float(low), 12), high=round(float(high), 12))


def _insight(observations: Observations, examined: _Examined, metric: int) -> ParameterInsight:
    test, fit = examined.test, examined.test.fit
    factor = fit.units.factor(test.name)
    effects = fit.effects[:, metric]
    best, worst = int(np.argmax(effects)), int(np.argmin(effects))
    p_adjusted = number(examined.p_adjusted[metric])
    significant = p_adjusted is not None and p_adjusted <= LEVEL
    reach = examined.ranks.reach[:, metric]
    varies = effects[best] - effects[worst] > 1e-12
    recommended = np.ones(len(effects), dtype=bool)
    if significant:
        recommended = run_around_best(effects, reach, ordered=factor.is_numeric)
    difference = float(effects[best] - effects[worst]) if varies else 0.0
    power = None
    if fit.df_error > 0:
        power = judge_power(
            values=len(effects),
            units=len(fit.units.scores),
            responses=len(observations),
            variance=float(fit.variance[metric]),
            difference=difference,
        )
    made = ParameterInsight(
        parameter=test.name,
        metric=observations.metrics[metric],
        responses=len(observations),
        unit=fit.units.kind,
        units=len(fit.units.scores),
        p_value=number(test.p_value[metric]),
        p_adjusted=p_adjusted,
        significant=significant,
        pearson=_correlation(test.pearson, examined.pearson_adjusted, metric, fit.units.kind),
        spearman=_correlation(test.spearman, examined.spearman_adjusted, metric, fit.units.kind, fisher=False),
        means=_means(examined, metric, recommended),
        difference=round(difference, 12),
        difference_interval=interval_of(difference - reach[worst], difference + reach[worst]),
        best_value=factor.levels[best] if varies else None,
        best_probability=number(examined.ranks.best_probability[best, metric]) if varies else None,
        recommended=tuple(level for level, kept in zip(factor.levels, recommended, strict=True) if kept),
        detectable_difference=number(power.detectable) if power else None,
        more_responses=power.more_responses if power and varies and not significant else None,
        sentence="",
    )
    return made.model_copy(update={"sentence": tell(made)})


def _correlation(
    found: Correlations | None, p_adjusted: Floats, metric: int, unit: str, *, fisher: bool = True
) -> Correlation | None:
    if found is None or np.isnan(found.p_value[metric]):
        return None
    ends = found.interval(metric) if fisher else None
    coefficient = round(float(found.coefficient[metric]), 12)
    return Correlation.model_validate(
        {
            "coefficient": coefficient,
            "n": found.n,
            "unit": unit,
            "interval": interval_of(ends.low, ends.high) if ends else None,
            "p_value": number(found.p_value[metric]),
            "p_adjusted": number(p_adjusted[metric]),
            "strength": strength_of(coefficient),
        }
    )


def _means(examined: _Examined, metric: int, recommended: np.ndarray) -> tuple[LevelMean, ...]:
    fit = examined.test.fit
    factor = fit.units.factor(examined.test.name)
    middle = fit.units.scores[:, metric].mean()
    return tuple(
        LevelMean(
            value=level,
            responses=int(examined.counts[place]),
            mean=round(float(middle + fit.effects[place, metric]), 12),
            interval=interval_of(examined.low[place, metric], examined.high[place, metric]),
            best_probability=number(examined.ranks.best_probability[place, metric]),
            in_range=bool(recommended[place]),
            cost_usd=number(examined.cost_usd[place]),
            latency_ms=number(examined.latency_ms[place]),
        )
        for place, level in enumerate(factor.levels)
    )


def tell(found: ParameterInsight) -> str:
    """The insight as a sentence or two."""
    parameter, metric = name_of(found.parameter), name_of(found.metric)
    levels: list[Level] = [mean.value for mean in found.means]
    if found.best_value is None and found.difference == 0:
        return f"{metric} is the same at every {parameter}."
    if found.p_value is None:
        return f"What {parameter} does to {metric} cannot be told from chance: repeats or other prompts are needed."
    if not found.significant:
        return _tell_nothing_shown(found, parameter, metric)
    best = max(found.means, key=lambda mean: mean.mean)
    shown = level_of(found.parameter, found.best_value, levels)
    about = f" ({between(best.interval)})" if best.interval else ""
    says = (
        f"{parameter} matters for {metric} ({p_text(found.p_adjusted or 0.0)}): best is {shown} with "
        f"{points(best.mean)}{about}, {points(found.difference)} above the worst value; it is the best with a "
        f"probability of {probability(found.best_probability or 0.0)}."
    )
    if found.unit == "responses":
        says += " This is from single responses, as there are too few combinations to compare."
    return f"{says} {_tell_range(found, levels)}"


def _tell_range(found: ParameterInsight, levels: Sequence[Level]) -> str:
    if len(found.recommended) == 1:
        return "Every other value is worse." if len(levels) > 2 else "The other is worse."
    told = listed(found.parameter, found.recommended, levels)
    if len(found.recommended) == len(levels):
        return "None of the values can be told from the best by itself."
    low = min(mean.mean for mean in found.means if mean.in_range)
    worse = "the next ones are worse" if isinstance(levels[0], int | float) else "all others are worse"
    return f"Recommended: {told}: none can be told from the best (means from {points(low)} on), and {worse}."


def _tell_nothing_shown(found: ParameterInsight, parameter: str, metric: str) -> str:
    says = (
        f"No difference between values of {parameter} can be shown for {metric} at this n ({found.units} {found.unit}"
    )
    says += f", {p_text(found.p_adjusted)})" if found.p_adjusted is not None else ")"
    if found.detectable_difference is not None:
        says += f"; one of {points(found.detectable_difference)} would probably have been noticed"
    if found.more_responses is not None:
        return (
            f"{says}. About {found.more_responses:,} more responses would be needed to show the "
            f"{points(found.difference, 2)} that were seen."
        )
    return f"{says}."
