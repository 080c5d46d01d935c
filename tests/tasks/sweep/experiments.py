"""Experiments in the laboratory's tables, with responses and scores whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert

from schemas.tables import Experiment, QualityMetric, Response

FIRST_DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Planted:
    """A sweep of temperature and top_p: best at 0.5, top_p does nothing, `better` is the better model.

    Attributes:
        days: from the first on; each has `rise` more than the one before.
        ours: with a spec and keys of combinations, as today; else as the older laboratory left it.
    """

    id: str = "planted"
    models: tuple[str, ...] = ("house-model",)
    better: str = ""
    prompts: tuple[str, ...] = ("Why is the sky blue?", "What is a headrace?")
    temperatures: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    top_ps: tuple[float, ...] = (0.8, 0.9, 1.0)
    repeats: int = 3
    noise: float = 0.05
    metrics: tuple[str, ...] = ("overall", "coherence")
    version: str = "headrace-1"
    ours: bool = True
    day: int = 0
    shift: float = 0.0
    seed: int = 4
    failed: int = 0
    unscored: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(99))


def store_experiment(database: Engine, planted: Planted) -> str:
    """The experiment is in the tables; its id."""
    spec = {"name": planted.id, "prompts": list(planted.prompts), "models": list(planted.models), "seed": planted.seed}
    row = {
        "id": planted.id,
        "name": f"Experiment {planted.id}",
        "prompt": planted.prompts[0],
        "status": "completed",
        "created_at": FIRST_DAY,
        "attributes": {},
        "spec": spec if planted.ours else None,
    }
    responses, scores = zip(*_answers(planted), strict=True)
    with database.begin() as connection:
        connection.execute(insert(Experiment).values(**row))
        connection.execute(insert(Response), list(responses))
        if any(scores):
            connection.execute(insert(QualityMetric), [score for each in scores for score in each])
    return planted.id


def _answers(planted: Planted) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    axes = (planted.models, planted.prompts, planted.temperatures, planted.top_ps, range(planted.repeats))
    for number, (model, prompt, temperature, top_p, repetition) in enumerate(product(*axes)):
        response = _response(planted, number, model, prompt)
        response |= {"temperature": temperature, "top_p": top_p, "repetition": repetition if planted.ours else None}
        key = sha256(f"{model}{prompt}{temperature}{top_p}".encode()).hexdigest()
        response["combination_key"] = key if planted.ours else None
        truth = 0.8 - (temperature - 0.5) ** 2 + (0.1 if model == planted.better else 0.0) + planted.shift
        truth -= 0.05 * planted.prompts.index(prompt)
        if number < planted.failed:
            response |= {"status": "failed", "content": None, "error_class": "RetriesExhausted"}
        scored = number >= planted.failed + planted.unscored
        yield response, [_score(planted, response["id"], name, truth) for name in planted.metrics if scored]


def _response(planted: Planted, number: int, model: str, prompt: str) -> dict[str, Any]:
    return {
        "id": f"{planted.id}/{number:05}",
        "experiment_id": planted.id,
        "prompt": prompt if planted.ours else None,
        "content": "Because.",
        "model": model if planted.ours else None,
        "latency_ms": 100 + number % 7,
        "cost_usd": "0.002" if planted.ours else None,
        "created_at": FIRST_DAY + timedelta(days=planted.day),
        "status": "succeeded",
        "error_class": None,
        "attributes": {},
    }


def _score(planted: Planted, response: str, metric: str, truth: float) -> dict[str, Any]:
    score = float(np.clip(truth + planted.random.normal(0, planted.noise), 0, 1))
    return {
        "id": f"{response}/{metric}",
        "response_id": response,
        "metric": metric,
        "score": score,
        "analysis_version": planted.version,
        "attributes": {},
    }
