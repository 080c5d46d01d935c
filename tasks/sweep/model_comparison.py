"""Models compared on what both were asked: the same prompts with the same parameters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.sweep import PARAMETERS
from schemas.sweep_statistics import ModelComparison, ModelMean, PairedDifference
from tasks.ledger.session import open_ledger
from tasks.sweep.quality.scoring import OVERALL, VERSION
from tasks.sweep.statistics.comparison import Paired, compare_pairs
from tasks.sweep.statistics.insights import interval_of, number
from tasks.sweep.statistics.multiplicity import LEVEL, adjust_holm
from tasks.sweep.statistics.sentences import between, name_of, p_text, points

_CHOSEN = """
    FROM responses JOIN experiments ON experiments.id = experiment_id
    LEFT JOIN quality_metrics ON response_id = responses.id AND analysis_version = :version AND metric = :metric
    WHERE (cardinality(CAST(:experiments AS text[])) = 0 OR experiment_id = ANY(:experiments))
      AND (cardinality(CAST(:models AS text[])) = 0 OR coalesce(responses.model, experiments.model) = ANY(:models))
      AND (CAST(:since AS date) IS NULL OR responses.created_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC')
      AND (CAST(:until AS date) IS NULL
           OR responses.created_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC')
"""
_SETTINGS = ", ".join(f"responses.{name}" for name in PARAMETERS)
_CELLS = text(f"""
    SELECT coalesce(responses.model, experiments.model) AS model,
           md5(coalesce(responses.prompt, experiments.prompt)) AS prompt,
           concat_ws('/', md5(system_prompt), ROW({_SETTINGS})::text) AS combination,
           avg(score) AS score, count(score) AS scored
    {_CHOSEN} AND score IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 1 NULLS FIRST, 2, 3
""")
_MODELS = text(f"""
    SELECT coalesce(responses.model, experiments.model) AS model, count(score) AS responses,
           count(*) FILTER (WHERE responses.status = 'failed') AS failed,
           avg(cost_usd) FILTER (WHERE score IS NOT NULL)::float8 AS cost_usd,
           avg(latency_ms) FILTER (WHERE score IS NOT NULL)::float8 AS latency_ms
    {_CHOSEN}
    GROUP BY 1 ORDER BY 1 NULLS FIRST
""")
_VERSIONS = text("""
    SELECT analysis_version FROM quality_metrics JOIN responses ON responses.id = response_id
    WHERE metric = :metric AND (cardinality(CAST(:experiments AS text[])) = 0 OR experiment_id = ANY(:experiments))
    GROUP BY analysis_version ORDER BY (analysis_version = :today) DESC, count(*) DESC, analysis_version LIMIT 1
""")


@dataclass(frozen=True)
class ComparisonQuestion:
    """What is compared; empty: all experiments, all models, the scores of today or else the version most used."""

    experiments: Sequence[str] = field(default=())
    models: Sequence[str] = field(default=())
    metric: str = OVERALL
    since: date | None = None
    until: date | None = None
    analysis_version: str = ""


@dataclass(frozen=True)
class ComparedCell:
    """The mean score of a model's repeats with one prompt and one combination of parameters."""

    model: str | None
    prompt: str
    combination: str
    score: float


async def compare_models_paired(question: ComparisonQuestion) -> ModelComparison:
    """Models by their mean scores, and each pair of them tested on what both answered.

    Raises:
        BadInput: no response has such a score.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                version, cells, models = await connection.run_sync(_read, question)
    if not cells:
        raise BadInput(f"there are no scores of {question.metric} to compare models by")
    differences = await asyncio.to_thread(compare_cells, question.metric, cells)
    means: dict[str | None, list[float]] = {}
    for cell in cells:
        means.setdefault(cell.model, []).append(cell.score)
    found = [
        ModelMean(
            model=row.model,
            responses=row.responses,
            failed=row.failed,
            mean=round(float(np.mean(means[row.model])), 12),
            cost_usd=None if row.cost_usd is None else number(row.cost_usd),
            latency_ms=None if row.latency_ms is None else number(row.latency_ms),
        )
        for row in models
        if row.model in means
    ]
    return ModelComparison(
        metric=question.metric,
        analysis_version=version,
        models=tuple(sorted(found, key=lambda mean: -mean.mean)),
        differences=differences,
    )


def _read(connection: Connection, question: ComparisonQuestion) -> tuple[str, list[ComparedCell], list[Any]]:
    values: dict[str, Any] = {
        "experiments": list(question.experiments),
        "models": list(question.models),
        "metric": question.metric,
        "since": question.since,
        "until": question.until,
        "today": VERSION,
    }
    version = question.analysis_version or connection.execute(_VERSIONS, values).scalar_one_or_none() or VERSION
    values["version"] = version
    rows = connection.execute(_CELLS, values)
    cells = [ComparedCell(row.model, row.prompt, row.combination, row.score) for row in rows]
    return version, cells, list(connection.execute(_MODELS, values).all())


def compare_cells(metric: str, cells: Sequence[ComparedCell]) -> tuple[PairedDifference, ...]:
    """Each pair of models, the better one of a pair first, p-values adjusted over all pairs."""
    by_model: dict[str | None, dict[tuple[str, str], float]] = {}
    for cell in cells:
        by_model.setdefault(cell.model, {})[cell.prompt, cell.combination] = cell.score
    found = [_compare(by_model, one, other) for one, other in combinations(by_model, 2)]
    p_values = np.array([np.nan if f.paired is None or f.paired.p_value is None else f.paired.p_value for f in found])
    adjusted = adjust_holm(p_values)
    return tuple(_told(metric, pair, p_adjusted) for pair, p_adjusted in zip(found, adjusted, strict=True))


@dataclass(frozen=True)
class _Pair:
    first: str | None
    second: str | None
    differences: np.ndarray
    paired: Paired | None


def _compare(by_model: dict[str | None, dict[tuple[str, str], float]], one: str | None, other: str | None) -> _Pair:
    shared = sorted(by_model[one].keys() & by_model[other].keys())
    differences = np.array([by_model[one][key] - by_model[other][key] for key in shared])
    if not shared:
        return _Pair(one, other, differences, None)
    if differences.mean() < 0:
        one, other, differences = other, one, -differences
    prompts = np.unique([prompt for prompt, _ in shared], return_inverse=True)[1]
    chosen = np.unique([combination for _, combination in shared], return_inverse=True)[1]
    return _Pair(one, other, differences, compare_pairs(differences, chosen, prompts))


def _told(metric: str, pair: _Pair, p_adjusted: float) -> PairedDifference:
    paired = pair.paired
    ends = paired.interval if paired else None
    made = PairedDifference(
        first=pair.first,
        second=pair.second,
        pairs=len(pair.differences),
        wins=int((pair.differences > 1e-12).sum()),
        losses=int((pair.differences < -1e-12).sum()),
        unit=paired.unit if paired else "cells",
        units=paired.units if paired else 0,
        difference=round(paired.difference, 12) if paired else 0.0,
        interval=interval_of(ends.low, ends.high) if ends else None,
        p_value=None if paired is None or paired.p_value is None else number(paired.p_value),
        p_adjusted=number(p_adjusted),
        significant=bool(p_adjusted <= LEVEL),
        sentence="",
    )
    return made.model_copy(update={"sentence": tell(metric, made)})


def tell(metric: str, found: PairedDifference) -> str:
    """The difference as a sentence."""
    first, second = found.first or "the unnamed model", found.second or "the unnamed model"
    if not found.pairs:
        return f"{first} and {second} were never asked the same with the same parameters."
    pairs = f"{found.pairs} pair{'s' if found.pairs > 1 else ''}, {found.wins} better, {found.losses} worse"
    if found.interval is None or found.p_adjusted is None:
        return f"{first} and {second}: one {found.unit.removesuffix('s')} says nothing ({pairs})."
    about = f"{points(found.difference)} ({between(found.interval)}, {p_text(found.p_adjusted)}; {pairs})"
    if found.significant:
        return f"{first} is better than {second} in {name_of(metric)} by {about}."
    return f"No difference between {first} and {second} can be shown in {name_of(metric)}: {about}."
