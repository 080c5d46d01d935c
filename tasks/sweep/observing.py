"""Responses of an experiment read from Postgres into arrays, a piece at a time and no row kept.

Cells are told apart by what was sent (prompts, model, parameters), so that experiments of the older laboratory, whose
responses have no key of their combination, are read as those of today are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, TextClause, text

from schemas.errors import NotFound
from schemas.sweep import PARAMETERS
from schemas.sweep_statistics import Level
from tasks.sweep.finding import find_experiment
from tasks.sweep.quality.judging import JUDGE_VERSION
from tasks.sweep.quality.metrics import METRICS
from tasks.sweep.quality.scoring import OVERALL, VERSION
from tasks.sweep.statistics.observations import MODEL, PROMPT, SYSTEM_PROMPT, Factor, Observations, as_factor, coarsened

AT_ONCE = 5_000
FACTORS = (*PARAMETERS, MODEL, SYSTEM_PROMPT, PROMPT)
"""In the order in which they are told of."""
COMMON = 0.5
"""Share of the scored answers that must have a metric for it to be analysed; answers without it are left out."""

_EXPERIMENT = text(
    "SELECT name, coalesce((spec ->> 'seed')::bigint, 0) AS seed, spec FROM experiments WHERE id = :experiment"
)
_METRICS = text("""
    SELECT analysis_version, metric, count(*) AS scores
    FROM quality_metrics JOIN responses ON responses.id = response_id
    WHERE experiment_id = :experiment GROUP BY analysis_version, metric
""")
_RETRIED = text("""
    SELECT count(*) FROM responses JOIN llm_requests ON llm_requests.id = request_id
    WHERE experiment_id = :experiment AND responses.status = 'succeeded' AND attempt > 1
""")
_TEXTS = text("""
    SELECT DISTINCT md5(said) AS digest, said FROM responses JOIN experiments ON experiments.id = experiment_id,
    LATERAL (VALUES (coalesce(responses.prompt, experiments.prompt)), (system_prompt)) AS texts (said)
    WHERE experiment_id = :experiment AND said IS NOT NULL
""")
# A replayed answer cost nothing this time; what is compared is what it costs to have it.
_RESPONSES = """
    SELECT responses.status, {parameters}, responses.model, md5(system_prompt) AS system_prompt,
           md5(coalesce(responses.prompt, experiments.prompt)) AS prompt,
           (CASE WHEN replayed THEN (SELECT saved_usd FROM llm_requests WHERE id = request_id)
                 ELSE cost_usd END)::float8 AS cost_usd, latency_ms::float8 AS latency_ms{scores}
    FROM responses JOIN experiments ON experiments.id = experiment_id
    LEFT JOIN quality_metrics ON response_id = responses.id AND analysis_version = ANY(:versions)
    WHERE experiment_id = :experiment
    GROUP BY responses.id, experiments.prompt
    ORDER BY combination_key COLLATE "C" NULLS FIRST, repetition NULLS FIRST, responses.id COLLATE "C"
"""


@dataclass(frozen=True)
class ObservedExperiment:
    """An experiment as statistics take it.

    Attributes:
        versions: of all its scores: `analysis_version`, and those of the passes beside it.
    """

    id: str
    name: str
    analysis_version: str
    versions: tuple[str, ...]
    observations: Observations


def read_experiment(connection: Connection, experiment: str, analysis_version: str = "") -> ObservedExperiment:
    """The answers of `experiment` with their scores by `analysis_version`; of today, or else the one most used.

    Beside today's metrics stand the judge's and those by embeddings, where every answer has them.

    Args:
        experiment: its id or name.

    Raises:
        NotFound: there is no such experiment, or it has no scores of that version.
        BadInput: there are several of that name.
    """
    experiment = find_experiment(connection, experiment)
    known = connection.execute(_EXPERIMENT, {"experiment": experiment}).one()
    versions, metrics = _choose(connection, experiment, analysis_version)
    texts = {row.digest: row.said for row in connection.execute(_TEXTS, {"experiment": experiment})}
    values = {"experiment": experiment, "versions": versions}
    values |= {f"metric_{place}": metric for place, metric in enumerate(metrics)}
    columns = _Columns(len(metrics), known.spec or {})
    for rows in connection.execute(_responses(len(metrics)), values).partitions(AT_ONCE):  # else all rows are one
        columns.add(rows)
    columns.retried = connection.execute(_RETRIED, {"experiment": experiment}).scalar_one()
    observations = columns.observations(texts, metrics, known.seed)
    return ObservedExperiment(experiment, known.name, versions[0], tuple(versions), observations)


def _choose(connection: Connection, experiment: str, analysis_version: str) -> tuple[list[str], tuple[str, ...]]:
    """The version of the scores, with those that go beside it, and their metrics, `overall` first."""
    scores: dict[str, dict[str, int]] = {}
    for row in connection.execute(_METRICS, {"experiment": experiment}):
        scores.setdefault(row.analysis_version, {})[row.metric] = row.scores
    if analysis_version and analysis_version not in scores:
        known = ", ".join(sorted(scores)) or "none"
        raise NotFound(f"experiment {experiment} has no scores of {analysis_version}; of these it has: {known}")
    most_used = max(sorted(scores), key=lambda version: sum(scores[version].values()), default=VERSION)
    version = analysis_version or (VERSION if VERSION in scores else most_used)
    counts = dict(scores.get(version, {OVERALL: 0}))
    beside = [] if analysis_version else _beside(version, scores)
    for other in beside:
        counts |= scores[other]
    order = (OVERALL, *METRICS)
    common = [metric for metric, count in counts.items() if count >= COMMON * max(counts.values())]
    in_order = sorted(common, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [version, *beside], tuple(in_order)


def _beside(version: str, scores: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Versions whose metrics are analysed with those of `version`: of today's passes, where they have every answer."""
    if version != VERSION or version not in scores:
        return []
    whole = max(scores[version].values())
    named: dict[str, str] = {}
    for other in sorted(scores):
        is_pass = other.startswith((f"{VERSION}+", f"{JUDGE_VERSION}+"))
        if is_pass and min(scores[other].values()) >= whole:
            named |= dict.fromkeys(scores[other], other)  # a metric is that of one version
    return sorted(set(named.values()))


def _responses(metrics: int) -> TextClause:
    scores = "".join(
        f", max(score) FILTER (WHERE metric = :metric_{place}) AS score_{place}" for place in range(metrics)
    )
    parameters = ", ".join(f"responses.{name}" for name in PARAMETERS)
    return text(_RESPONSES.format(parameters=parameters, scores=scores)).execution_options(yield_per=AT_ONCE)


@dataclass
class _Columns:
    """What was read so far: codes of the factors' values, and numbers."""

    metrics: int
    spec: dict[str, Any]
    codes: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)
    places: list[dict[Level, int]] = field(default_factory=lambda: [{} for _ in FACTORS])
    failed: int = 0
    unscored: int = 0
    retried: int = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Answers with all scores are taken, others counted."""
        codes, numbers = [], []
        for status, *values in rows:
            factors, measured = values[: len(FACTORS)], values[len(FACTORS) :]
            if status == "failed":
                self.failed += 1
            elif None in measured[2:]:
                self.unscored += 1
            else:
                codes.append([known.setdefault(v, len(known)) for known, v in zip(self.places, factors, strict=True)])
                numbers.append([np.nan if value is None else value for value in measured])
        self.codes.append(np.asarray(codes, dtype=np.int32).reshape(-1, len(FACTORS)))
        self.numbers.append(np.asarray(numbers, dtype=np.float64).reshape(-1, self.metrics + 2))

    def observations(self, texts: dict[str, str], metrics: tuple[str, ...], seed: int) -> Observations:
        """All rows together; parameters that nobody set are no factors."""
        codes = np.concatenate([np.zeros((0, len(FACTORS)), dtype=np.int32), *self.codes])
        numbers = np.concatenate([np.zeros((0, self.metrics + 2)), *self.numbers])
        factors = [self._factor(place, codes[:, place], texts) for place in range(len(FACTORS))]
        return Observations(
            factors=tuple(factor for factor in factors if factor.name == PROMPT or factor.levels != (None,)),
            metrics=metrics,
            scores=np.ascontiguousarray(numbers[:, 2:]),
            cost_usd=numbers[:, 0],
            latency_ms=numbers[:, 1],
            failed=self.failed,
            unscored=self.unscored,
            retried=self.retried,
            seed=seed,
        )

    def _factor(self, place: int, codes: np.ndarray, texts: dict[str, str]) -> Factor:
        name = FACTORS[place]
        values: list[Level] = list(self.places[place])
        if name in (PROMPT, SYSTEM_PROMPT):
            values = [texts[value] if isinstance(value, str) else None for value in values]
        else:
            values = [float(value) if isinstance(value, int | float) else value for value in values]
        said = self.spec.get(f"{name}s") or []
        in_order = sorted(values, key=lambda value: said.index(value) if value in said else len(said))
        levels = as_factor(name, in_order).levels
        place_of = {value: place for place, value in enumerate(levels)}
        places = np.asarray([place_of[value] for value in values], dtype=np.intp)
        return coarsened(Factor(name, levels, places[codes]))
