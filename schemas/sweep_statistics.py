"""What is concluded from sweeps: insights, interactions, optima, Pareto fronts, trends, comparisons of models.

Scores and differences of scores are 0 to 1, as they are stored; for people they are shown as 0 to 100.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

Level: TypeAlias = float | str | None
Unit = Literal["combinations", "cells", "prompts", "responses"]
Strength = Literal["negligible", "weak", "moderate", "strong"]
Direction = Literal["rising", "falling", "none shown"]


class Finding(BaseModel):
    """Base of what is found; it never changes."""

    model_config = ConfigDict(frozen=True)


class Interval(Finding):
    """Where the true value is in 95 of 100 cases."""

    low: float
    high: float


class LevelMean(Finding):
    """The mean score at one value of a parameter, what other parameters did taken out.

    Attributes:
        interval: by a bootstrap over prompts and combinations; None where there is only one of all.
        best_probability: that no other value of the parameter has a higher true mean.
        in_range: the value is recommended: it cannot be told from the best.
        cost_usd, latency_ms: means of the responses; None where not known.
    """

    value: Level
    responses: int
    mean: float
    interval: Interval | None
    best_probability: float | None
    in_range: bool
    cost_usd: float | None
    latency_ms: float | None


class Correlation(Finding):
    """How a score goes with a parameter, among means of `n` units.

    Attributes:
        interval: of Pearson's, by Fisher's transformation; None for Spearman's and with fewer than 4 units.
        p_adjusted: by Benjamini and Hochberg, over metrics and parameters.
        strength: from 0.2 on weak, from 0.4 on moderate, from 0.7 on strong.
    """

    coefficient: float
    n: int
    unit: Unit
    interval: Interval | None
    p_value: float
    p_adjusted: float
    strength: Strength


class ParameterInsight(Finding):
    """What a parameter does to one metric.

    Attributes:
        unit, units: the means that were compared, and how many there are.
        p_value: that no value of the parameter makes a difference, for a line and for any shape; None: cannot be said.
        p_adjusted: over all metrics of the parameter and all parameters.
        significant: p_adjusted is at most 0.05.
        pearson, spearman: None where the values are no numbers, or nothing varies.
        difference: between the best and the worst value, with its interval.
        best_value: of the highest mean; None together with `best_probability` None: there is nothing to choose from.
        recommended: the values around the best that cannot be told from it; all where no difference can be shown.
        detectable_difference: the smallest that would probably (80 %) have been noticed.
        more_responses: that would probably show the difference seen; None where it is shown, or there is none.
        sentence: all this for a person.
    """

    parameter: str
    metric: str
    responses: int
    unit: Unit
    units: int
    p_value: float | None
    p_adjusted: float | None
    significant: bool
    pearson: Correlation | None
    spearman: Correlation | None
    means: tuple[LevelMean, ...]
    difference: float
    difference_interval: Interval | None
    best_value: Level
    best_probability: float | None
    recommended: tuple[Level, ...]
    detectable_difference: float | None
    more_responses: int | None
    sentence: str

    @property
    def strength(self) -> Strength | None:
        """Of the correlation, as the older laboratory called it."""
        return self.pearson.strength if self.pearson else None


class Interaction(Finding):
    """Whether the effect of one parameter depends on another.

    Attributes:
        difference: of the differences: how much more the step from the lowest to the highest value of `first` brings at
            the highest value of `second` than at its lowest; of models or prompts, the largest such contrast.
    """

    first: str
    second: str
    metric: str
    unit: Unit
    difference: float
    interval: Interval | None
    p_value: float
    p_adjusted: float
    significant: bool
    sentence: str


class Candidate(Finding):
    """A combination that may be the best.

    Attributes:
        settings: parameters, model and system prompt by name; those that were set.
        mean: of its scores, as they are.
        estimate: drawn towards what the other combinations make expect; `interval` is about it.
        probability: that no other combination has a higher true mean.
    """

    settings: dict[str, Level]
    responses: int
    mean: float
    estimate: float
    interval: Interval
    probability: float
    cost_usd: float | None
    latency_ms: float | None


class Optimum(Finding):
    """The combinations that are most probably the best of a metric, the most probable first."""

    metric: str
    candidates: tuple[Candidate, ...]
    combinations: int
    sentence: str


class ParetoPoint(Finding):
    """A combination than which no other is better in one respect and at least as good in the others."""

    settings: dict[str, Level]
    responses: int
    score: float
    cost_usd: float | None
    latency_ms: float | None


class ParetoFront(Finding):
    """Such combinations, the best first; `left_out` are those of unknown cost or latency."""

    metric: str
    against: tuple[Literal["cost_usd", "latency_ms"], ...]
    points: tuple[ParetoPoint, ...]
    combinations: int
    left_out: int


class SweepAnalysis(Finding):
    """All that is concluded from an experiment.

    Attributes:
        responses: that have scores; `failed` calls and `unscored` answers are not among them.
        looked_at: those of them that the statistics are of: a part drawn at random where they are very many.
            None in analyses stored before there was such a part.
        retried: answers that an earlier attempt did not get.
        settings: what was the same in all of them.
        prompts: their texts, in the order in which the values of the parameter `prompt` stand.
        prompts_are_sample: there are enough to speak of prompts to come; else all that is said is about these.
    """

    experiment_id: str
    name: str
    analysis_version: str
    seed: int
    responses: int
    looked_at: int | None = None
    failed: int
    unscored: int
    retried: int = 0
    cells: int
    combinations: int
    metrics: tuple[str, ...]
    settings: dict[str, Level]
    prompts: tuple[str, ...]
    prompts_are_sample: bool
    insights: tuple[ParameterInsight, ...]
    interactions: tuple[Interaction, ...]
    optima: tuple[Optimum, ...]
    pareto: tuple[ParetoFront, ...]
    sentences: tuple[str, ...]

    def insight(self, parameter: str, metric: str) -> ParameterInsight:
        """What `parameter` does to `metric`."""
        return next(found for found in self.insights if (found.parameter, found.metric) == (parameter, metric))


class TrendPoint(Finding):
    """A day's mean of a metric of one model, with the lowest and the highest score."""

    day: date
    responses: int
    mean: float
    lowest: float
    highest: float


class BestPeriod(Finding):
    """The seven days, or fewer, with the highest mean of all responses in them."""

    since: date
    until: date
    responses: int
    mean: float


class QualityTrend(Finding):
    """How a metric of one model went from day to day.

    Attributes:
        slope_per_day: by Theil and Sen, with its interval; None with fewer than four days.
        p_adjusted: of Kendall's test of no trend, by Benjamini and Hochberg over all trends.
    """

    model: str | None
    metric: str
    analysis_version: str
    points: tuple[TrendPoint, ...]
    slope_per_day: float | None
    interval: Interval | None
    p_value: float | None
    p_adjusted: float | None
    direction: Direction
    best_day: date
    best_period: BestPeriod
    sentence: str


class QualityTrends(Finding):
    """Trends of the days `since` to `until`, both included, of days in UTC."""

    since: date | None
    until: date | None
    experiments: int
    responses: int
    trends: tuple[QualityTrend, ...]
    made_at: datetime


class ModelMean(Finding):
    """What one model came to over all that is compared."""

    model: str | None
    responses: int
    failed: int
    mean: float
    cost_usd: float | None
    latency_ms: float | None


class PairedDifference(Finding):
    """One model against another on the same prompts with the same parameters.

    Attributes:
        pairs: cells that both answered; `wins` of them the first did better, `losses` worse.
        unit, units: means of these that the test took for independent.
        p_adjusted: by Holm, over all pairs of models.
    """

    first: str | None
    second: str | None
    pairs: int
    wins: int
    losses: int
    unit: Unit
    units: int
    difference: float
    interval: Interval | None
    p_value: float | None
    p_adjusted: float | None
    significant: bool
    sentence: str


class ModelComparison(Finding):
    """Models compared by one metric: the best mean first, then each with each."""

    metric: str
    analysis_version: str
    models: tuple[ModelMean, ...]
    differences: tuple[PairedDifference, ...]
