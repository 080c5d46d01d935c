"""The grid of a sweep: every combination of what it is to try, in a fixed order, none of them held in memory.

Values are decimal, so that 0.1 to 1.0 by 0.1 are ten and end with 1.0. Combinations are counted like the digits of a
number whose last place runs fastest: prompts, system prompts, models, then the parameters in the order of `PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from math import prod
from typing import Any

from schemas.calls import ChatParameters
from schemas.errors import BadInput
from schemas.sweep import MOST_CALLS, MOST_COMBINATIONS, PARAMETERS, ParameterName, SweepSpec

DRAWN = frozenset({"random", "tpe"})
"""Strategies that ask some of a grid, which may then be larger than what is asked."""
MOST_DRAWN_FROM = 10**15
SYSTEM_PROMPTS, MODELS = "system prompts", "models"
"""Axes whose values have no order."""


@dataclass(frozen=True)
class Combination:
    """One thing to try.

    Attributes:
        number: its place in the grid, from 0.
        model: None for the configured one.
        parameters: by name, those that the sweep sets.
    """

    number: int
    prompt: str
    system_prompt: str | None
    model: str | None
    parameters: tuple[tuple[ParameterName, Decimal], ...]

    def sampling(self, default_max_tokens: int) -> ChatParameters:
        """As the gateway takes them."""
        said: dict[str, Any] = {"max_tokens": default_max_tokens}
        said |= {name: int(value) if name == "max_tokens" else float(value) for name, value in self.parameters}
        return ChatParameters(**said)


class Grid(Sequence[Combination]):
    """All combinations of a spec.

    Raises:
        BadInput: there are more of them, or of calls, than anybody would wait for.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        drawn = spec.strategy.name in DRAWN
        if self.size > MOST_DRAWN_FROM or (not drawn and (self.size > MOST_COMBINATIONS or self.calls > MOST_CALLS)):
            told = " × ".join(
                f"{size:,} {name}" for name, size in zip(self._names, self._sizes, strict=True) if size > 1
            )
            raise BadInput(
                f"{told} are {self.size:,} combinations and {self.calls:,} calls: at most "
                f"{MOST_COMBINATIONS:,} combinations and {MOST_CALLS:,} calls are asked; take larger steps or draw "
                f"some of them (strategy random or tpe)"
            )

    @cached_property
    def _axes(self) -> tuple[Sequence[Any], ...]:
        ranges = self.spec.parameter_ranges
        varied = [ranges[name] for name in PARAMETERS if name in ranges]
        return (self.spec.prompts, self.spec.system_prompts, self.spec.models, *varied)  # type: ignore[arg-type]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        ranges = self.spec.parameter_ranges
        return ("prompts", SYSTEM_PROMPTS, MODELS, *(name for name in PARAMETERS if name in ranges))

    @cached_property
    def size(self) -> int:
        """Combinations."""
        return prod(self._sizes)

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self._axes)

    @property
    def calls(self) -> int:
        """Answers that the whole grid asks for."""
        return self.size * self.spec.response_count

    @property
    def settings(self) -> int:
        """Combinations of one prompt: those of prompt `p` are `p * settings` and on."""
        return self.size // len(self.spec.prompts)

    def __len__(self) -> int:
        return self.size

    @property
    def setting_axes(self) -> tuple[tuple[str, int], ...]:
        """What varies beside the prompt, in the order of the grid, and how many values it has."""
        return tuple(zip(self._names[1:], self._sizes[1:], strict=True))

    def setting_at(self, places: Sequence[int]) -> int:
        """The setting with the values that stand at `places` of the axes."""
        setting = 0
        for place, size in zip(places, self._sizes[1:], strict=True):
            setting = setting * size + place
        return setting

    def places_of(self, number: int) -> tuple[int, ...]:
        """Where the values of a combination stand on all axes, the prompt's first."""
        rest, places = number, []
        for size in reversed(self._sizes):
            rest, place = divmod(rest, size)
            places.append(place)
        return tuple(reversed(places))

    def __getitem__(self, number: int) -> Combination:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(number)
        places = self.places_of(number)
        prompt, system, model, *values = (axis[place] for axis, place in zip(self._axes, places, strict=True))
        named = tuple(zip(self._names[3:], values, strict=True))
        return Combination(number, prompt, system, model, named)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Combination]:
        return (self[number] for number in range(len(self)))
