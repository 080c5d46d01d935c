"""Scores of an answer, with the version of the metrics that they are comparable within."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.errors import BadInput
from tasks.sweep.quality import laboratory_2, laboratory_3
from tasks.sweep.quality.metrics import METRICS, measure
from tasks.sweep.quality.texts import Text

VERSION = "headrace-1"
"""Raised whenever a formula changes a score."""
OVERALL = "overall"
EQUAL: Mapping[str, float] = dict.fromkeys(METRICS, 1.0)
"""No metric is better founded than another, and on people's own rankings no other weights did reliably better."""


@dataclass(frozen=True)
class Generation:
    """A version of the metrics.

    Attributes:
        measure: the six metrics of an answer to a prompt: `measure(prompt, answer)`.
        weights: of the metrics in `overall`.
        decimals: that scores are rounded to; None for none.
    """

    measure: Callable[[str, Text], Mapping[str, float]]
    weights: Mapping[str, float]
    decimals: int | None = None


GENERATIONS: Mapping[str, Generation] = {
    VERSION: Generation(measure, EQUAL),
    "llm-lab-2": Generation(
        lambda prompt, answer: laboratory_2.measure(prompt, answer.written), laboratory_2.WEIGHTS, laboratory_2.DECIMALS
    ),
    "llm-lab-3": Generation(lambda prompt, answer: laboratory_3.measure(prompt, answer.written), laboratory_2.WEIGHTS),
}
"""By `analysis_version`, as `headrace migrate llm-lab` stamps the old ones."""


@dataclass(frozen=True)
class Scores:
    """What was measured of one answer.

    Attributes:
        version: the `analysis_version` of all values.
        values: by metric, 0 to 1, `overall` among them.
        words, sentences: of the answer, counted as in `texts` whatever the version.
    """

    version: str
    values: Mapping[str, float]
    words: int
    sentences: int


def score_response(
    prompt: str, text: str, *, version: str = VERSION, weights: Mapping[str, float] | None = None
) -> Scores:
    """All metrics of `text` as an answer to `prompt`, and their mean by weights; defined on every text.

    The same texts have the same scores always. An answer of 150 words takes about 0.2 ms, one of 100 kB 30 to 200.

    Args:
        version: one of `GENERATIONS`.
        weights: of metrics in `overall`; one that is not named weighs as usual in the version.

    Raises:
        BadInput: there is no such version; or a weight is negative or of no metric, or all of them are 0.
    """
    generation = find_generation(version)
    weighing = weights_of(weights, generation.weights) if weights else generation.weights
    answer = Text(text)
    found = generation.measure(prompt, answer)
    overall = sum([weighing[name] * value for name, value in found.items()]) / sum(weighing.values())
    values = {name: _score(value, generation.decimals) for name, value in {**found, OVERALL: overall}.items()}
    return Scores(version, values, len(answer.words), len(answer.sentences))


def find_generation(version: str) -> Generation:
    """The metrics of `version`.

    Raises:
        BadInput: there are none.
    """
    if version not in GENERATIONS:
        raise BadInput(f"analysis_version: there is no {version}; there are {', '.join(GENERATIONS)}")
    return GENERATIONS[version]


def weights_of(said: Mapping[str, float], usual: Mapping[str, float] = EQUAL) -> Mapping[str, float]:
    """Weights of all metrics.

    Raises:
        BadInput: as `score_response`.
    """
    if unknown := sorted(set(said) - set(METRICS)):
        raise BadInput(f"weights: {unknown[0]} is no metric; there are {', '.join(METRICS)}")
    weighing = {**usual, **said}
    if not all(0 <= weight < float("inf") for weight in weighing.values()) or not sum(weighing.values()) > 0:
        raise BadInput("weights must be numbers, not negative, and one of them must be above 0")
    return weighing


def _score(value: float, decimals: int | None) -> float:
    """`value` within 0 and 1, which the last binary digit of a sum may leave."""
    held = min(1.0, max(0.0, value))
    return held if decimals is None else round(held, decimals)
