"""What the statistics come to, in sentences for people: scores of 100, names as they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.sweep_statistics import Interval, Level
from tasks.sweep.statistics.observations import PROMPT, SYSTEM_PROMPT

SHOWN_CHARACTERS = 40
TIMES = 100
"""Scores are stored from 0 to 1 and shown from 0 to 100."""


def points(score: float, digits: int = 1) -> str:
    """A score, or a difference, of 100."""
    shown = f"{TIMES * score:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown


def between(interval: Interval, digits: int = 1) -> str:
    """An interval of scores."""
    return f"{points(interval.low, digits)} to {points(interval.high, digits)}"


def name_of(parameter: str) -> str:
    """A parameter or metric as people write it."""
    return parameter if parameter in {"top_p", "max_tokens"} else parameter.replace("_", " ")


def level_of(parameter: str, value: Level, levels: Sequence[Level] = ()) -> str:
    """A value as it reads: prompts by their number, long texts shortened."""
    if value is None:
        return "none" if parameter == SYSTEM_PROMPT else "the provider's own"
    if parameter == PROMPT and value in levels:
        return f"prompt {list(levels).index(value) + 1}"
    if isinstance(value, int | float):
        return f"{value:.12g}"
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[: SHOWN_CHARACTERS - 1]}…"


def settings_of(settings: Mapping[str, Level]) -> str:
    """A combination: `temperature 0.3, top_p 0.9`."""
    told = [f"{name_of(name)} {level_of(name, value)}" for name, value in settings.items()]
    return ", ".join(told) or "the only combination"


def listed(parameter: str, values: Sequence[Level], levels: Sequence[Level]) -> str:
    """Values: a run of numbers by its ends."""
    told = [level_of(parameter, value, levels) for value in values]
    numbers = all(isinstance(value, int | float) for value in values)
    if numbers and len(told) > 2:
        return f"{told[0]} to {told[-1]}"
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]


def probability(share: float) -> str:
    """A probability in per cent, never certain where it was only drawn."""
    if share > 0.99:
        return "over 99 %"
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def p_text(p_value: float) -> str:
    """A p-value to three places."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
