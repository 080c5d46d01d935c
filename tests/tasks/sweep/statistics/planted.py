"""Sweeps whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np

from tasks.sweep.statistics.observations import PROMPT, Factor, Floats, Observations

Truth = Callable[[Mapping[str, Floats]], Floats]


def grid(levels: Mapping[str, Sequence[float | str]], *, prompts: int = 1, repeats: int = 1) -> tuple[Factor, ...]:
    """All factors of a full grid, rows in their order; prompts are the last factor, repeats vary fastest."""
    sizes = [len(values) for values in levels.values()]
    rows = np.array(list(product(*(range(size) for size in (*sizes, prompts, repeats)))), dtype=np.intp)
    rows = rows.reshape(-1, len(sizes) + 2)
    named = [*levels.items(), (PROMPT, tuple(f"Question {number}?" for number in range(prompts)))]
    return tuple(Factor(name, tuple(values), rows[:, place]) for place, (name, values) in enumerate(named))


def observe(
    factors: tuple[Factor, ...], scores: Floats, *, metrics: tuple[str, ...] = (), **more: object
) -> Observations:
    """Observations of these scores: (responses,) or (responses, metrics)."""
    table = scores[:, None] if scores.ndim == 1 else scores
    unknown = np.full(len(table), np.nan)
    values = {"cost_usd": unknown, "latency_ms": unknown, **more}
    names = metrics or tuple(f"metric {place}" for place in range(table.shape[1]))
    return Observations(factors=factors, metrics=names, scores=table, **values)  # type: ignore[arg-type]


def numbers(factors: tuple[Factor, ...]) -> dict[str, Floats]:
    """Of each numeric factor, the values of all rows."""
    return {factor.name: factor.numbers for factor in factors if factor.is_numeric}
