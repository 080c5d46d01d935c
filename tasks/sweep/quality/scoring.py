"""Scores of an answer, with the version of the metrics that they are comparable within."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import BadInput
from tasks.sweep.quality.metrics import METRICS
from tasks.sweep.quality.texts import Text

VERSION = "headrace-1"
"""Raised whenever a formula changes a score."""
OVERALL = "overall"
EQUAL: Mapping[str, float] = dict.fromkeys(METRICS, 1.0)
"""No metric is better founded than another, and on people's own rankings no other weights did reliably better."""


@dataclass(frozen=True)
class Scores:
    """What was measured of one answer.

    Attributes:
        values: by metric, 0 to 1, `overall` among them.
    """

    version: str
    values: Mapping[str, float]


def score(prompt: str, answer: str, weights: Mapping[str, float] = EQUAL) -> Scores:
    """All metrics of `answer`, and their mean by `weights`; a metric that these do not name weighs as usual.

    Raises:
        BadInput: a weight is negative or of no metric, or all of them are 0.
    """
    weighing = weights_of(weights)
    asked, said = Text(prompt), Text(answer)
    values = {name: metric(asked, said) if said.words else 0.0 for name, metric in METRICS.items()}
    overall = sum(weighing[name] * value for name, value in values.items()) / sum(weighing.values())
    return Scores(VERSION, {**values, OVERALL: overall})


def weights_of(said: Mapping[str, float]) -> Mapping[str, float]:
    """Weights of all metrics.

    Raises:
        BadInput: as `score`.
    """
    if unknown := sorted(set(said) - set(METRICS)):
        raise BadInput(f"weights: {unknown[0]} is no metric; there are {', '.join(METRICS)}")
    weighing = {**EQUAL, **said}
    if min(weighing.values()) < 0 or not sum(weighing.values()):
        raise BadInput("weights must not be negative, and one of them must be above 0")
    return weighing
