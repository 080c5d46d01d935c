"""What a sweep is asked to try: prompts, models and ranges of sampling parameters."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST_COMBINATIONS = 1_000_000
MOST_CALLS = 10_000_000
MOST_DIGITS = 15
"""Of how many values a range has; decimal arithmetic counts no further than 28."""

ParameterName = Literal["temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty"]
PARAMETERS: tuple[ParameterName, ...] = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")
"""In the order of the grid: the last varies fastest."""
LIMITS: dict[ParameterName, tuple[Decimal, Decimal]] = {
    "temperature": (Decimal(0), Decimal(2)),
    "top_p": (Decimal(0), Decimal(1)),
    "max_tokens": (Decimal(1), Decimal(131_072)),
    "frequency_penalty": (Decimal(-2), Decimal(2)),
    "presence_penalty": (Decimal(-2), Decimal(2)),
}


def _exact(said: Any) -> Any:
    """A number as it was written: 0.1 is a tenth, which no binary fraction is."""
    if isinstance(said, bool) or not isinstance(said, int | float | Decimal | str):
        raise ValueError("must be a number")
    if isinstance(said, float) and not math.isfinite(said):
        raise ValueError("must be a number, not infinity or NaN")
    return Decimal(repr(said)) if isinstance(said, float) else said


Number = Annotated[Decimal, BeforeValidator(_exact), Field(allow_inf_nan=False)]


class ValueRange(BaseModel):
    """Values from `min` on by `step`, `max` among them where steps lead to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Number
    max: Number
    step: Number

    @model_validator(mode="after")
    def _leads_somewhere(self) -> ValueRange:
        if self.step <= 0:
            raise ValueError(f"step is {self.step}: it must be above 0")
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: the range is empty")
        if self.max > self.min and (self.max - self.min).adjusted() - self.step.adjusted() > MOST_DIGITS:
            raise ValueError(f"step {self.step} is too small for a range from {self.min} to {self.max}")
        return self

    def __len__(self) -> int:
        return int((self.max - self.min) // self.step) + 1

    def __getitem__(self, place: int) -> Decimal:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.min + place * self.step


def _as_values(said: Any) -> Any:
    return [said] if isinstance(said, int | float | Decimal | str) else said


Values: TypeAlias = ValueRange | Annotated[tuple[Number, ...], BeforeValidator(_as_values), Field(min_length=1)]


class GridStrategy(BaseModel):
    """Every combination."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["grid"] = "grid"


class RandomStrategy(BaseModel):
    """So many combinations, drawn from the grid without regard to what they answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["random"]
    combinations: int = Field(ge=1, le=MOST_COMBINATIONS)


class TpeStrategy(BaseModel):
    """So many settings, each chosen by what those before it scored (a tree-structured Parzen estimator).

    Attributes:
        trials: settings (models, system prompts and parameters; each is tried with every prompt) to try.
        at_once: settings that are tried beside each other, knowing nothing of one another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["tpe"]
    trials: int = Field(ge=1, le=10_000)
    at_once: int = Field(8, ge=1, le=100)


class RaceStrategy(BaseModel):
    """Every setting, until it is clearly worse than the best: then no more is spent on it.

    Attributes:
        confidence: with at least this probability the best setting is not dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["race"]
    confidence: float = Field(0.95, gt=0.5, lt=1)


def _as_strategy(said: Any) -> Any:
    return {"name": said} if isinstance(said, str) else said


Strategy = Annotated[
    Annotated[GridStrategy | RandomStrategy | TpeStrategy | RaceStrategy, Field(discriminator="name")],
    BeforeValidator(_as_strategy),
]


class JudgeSpec(BaseModel):
    """A model compares answers to the same prompt two at a time, in both orders.

    Attributes:
        model: None for the configured one (HEADRACE_JUDGE_MODEL).
        opponents: how many others each answer is compared with, about; each costs a call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(None, min_length=1)
    opponents: int = Field(4, ge=1, le=100)


class MeaningSpec(BaseModel):
    """Answers have the metrics that need embeddings, too.

    Attributes:
        model: None for the configured one (HEADRACE_EMBEDDING_MODEL).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(None, min_length=1)


def _as_pass(said: Any) -> Any:
    """What is switched on, or named, or described."""
    if isinstance(said, bool):
        return {} if said else None
    return {"model": said} if isinstance(said, str) else said


def _as_texts(said: Any) -> Any:
    return [said] if isinstance(said, str) or said is None else said


class SweepSpec(BaseModel):
    """A sweep as it is asked for; the old batch request is one.

    Attributes:
        prompts, system_prompts, models: all are tried with one another; a system prompt of None is none.
        parameter_ranges: values of each parameter, by name; what is not named is left to the provider.
        response_count: how often each combination is asked.
        seed: of what is drawn: strategies, bootstrap; it is not sent to the model.
        weights: of the quality metrics in `overall`; those not named weigh as usual.
        judge: a model that compares answers pairwise, once they are all there: its name, `true` for the configured one,
            or a mapping with `model` and `opponents`.
        meaning: topic coherence and prompt coverage by embeddings, likewise: `true` or the model's name.
        strategy: which combinations are asked, in what order; a name or a mapping with one (`name: tpe`).
        max_cost_usd: a wall: what does not fit is not asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, max_length=255)
    description: str | None = Field(None, max_length=1000)
    prompts: Annotated[tuple[str, ...], BeforeValidator(_as_texts), Field(min_length=1)] = Field(
        validation_alias=AliasChoices("prompts", "prompt")
    )
    system_prompts: Annotated[tuple[str | None, ...], BeforeValidator(_as_texts), Field(min_length=1)] = Field(
        (None,), validation_alias=AliasChoices("system_prompts", "system_prompt")
    )
    models: Annotated[tuple[str | None, ...], BeforeValidator(_as_texts), Field(min_length=1)] = Field(
        (None,), validation_alias=AliasChoices("models", "model")
    )
    parameter_ranges: dict[ParameterName, Values] = Field(
        default_factory=dict, validation_alias=AliasChoices("parameter_ranges", "parameters")
    )
    response_count: int = Field(1, ge=1, le=1000)
    strategy: Strategy = GridStrategy()
    seed: int = 0
    weights: dict[str, float] = Field(default_factory=dict)
    judge: Annotated[JudgeSpec | None, BeforeValidator(_as_pass)] = None
    meaning: Annotated[MeaningSpec | None, BeforeValidator(_as_pass)] = None
    max_cost_usd: Decimal | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _can_be_asked(self) -> SweepSpec:
        for name, values in self.parameter_ranges.items():
            least, most = LIMITS[name]
            ends = (values.min, values.max) if isinstance(values, ValueRange) else (min(values), max(values))
            if ends[0] < least or ends[1] > most:
                raise ValueError(f"parameter_ranges.{name}: {ends[0]} to {ends[1]} is not within {least} to {most}")
            if name == "top_p" and not ends[0]:
                raise ValueError("parameter_ranges.top_p: 0 leaves no word to choose: it must be above 0")
            said = (values.min, values.step) if isinstance(values, ValueRange) else values
            if name == "max_tokens" and (broken := [each for each in said if each != each.to_integral_value()]):
                raise ValueError(f"parameter_ranges.max_tokens: {broken[0]} is no whole number")
        if doubled := self._twice():
            raise ValueError(f"{doubled} names the same thing twice")
        return self

    def _twice(self) -> str | None:
        lists: dict[str, tuple[Any, ...]] = {
            "prompts": self.prompts, "system_prompts": self.system_prompts, "models": self.models,
            **{f"parameter_ranges.{name}": values for name, values in self.parameter_ranges.items()
               if not isinstance(values, ValueRange)},
        }  # fmt: skip
        return next((name for name, values in lists.items() if len(set(values)) < len(values)), None)
