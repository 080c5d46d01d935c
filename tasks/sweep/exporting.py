"""Responses exported to a file by filter: one row each, with what was asked, what came, its scores and its cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from blocks.row_files import Column, Kind, RowFile, open_row_file, require_format
from schemas.errors import BadInput
from schemas.experiments import ResponseExport
from schemas.sweep import PARAMETERS
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_experiments
from tasks.sweep.quality.judging import JUDGE_VERSION
from tasks.sweep.quality.metrics import METRICS
from tasks.sweep.quality.scoring import OVERALL, VERSION
from tasks.sweep.response_filter import ResponseFilter, conditions_in_sql

AT_ONCE = 500
"""Rows that are held at a time: answers of 100 kB among them take 50 MB."""

_FROM = "FROM responses JOIN experiments ON experiments.id = experiment_id"
_WHERE = """
    WHERE (cardinality(CAST(:experiments AS text[])) = 0 OR experiment_id = ANY(:experiments))
      AND (:archived OR experiments.archived_at IS NULL)
      AND experiments.tags @> CAST(:tags AS text[])
      AND (cardinality(CAST(:models AS text[])) = 0 OR coalesce(responses.model, experiments.model) = ANY(:models))
      AND (CAST(:since AS date) IS NULL OR responses.created_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC')
      AND (CAST(:until AS date) IS NULL
           OR responses.created_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC')
"""
_SCORES = text(f"""
    SELECT analysis_version, metric, count(*) AS scores
    FROM quality_metrics JOIN (SELECT responses.id {_FROM} {_WHERE}) AS chosen ON chosen.id = response_id
    GROUP BY analysis_version, metric
""")
_JOIN_SCORES = """
    CROSS JOIN LATERAL (
        SELECT {} FROM quality_metrics WHERE response_id = responses.id AND analysis_version = ANY(:versions)
    ) AS scores
"""
_BEFORE_SCORES: dict[str, tuple[str, Kind]] = {
    "experiment_id": ("experiments.id", "text"),
    "experiment": ("experiments.name", "text"),
    "tags": ("experiments.tags", "texts"),
    "response_id": ("responses.id", "text"),
    "status": ("responses.status", "text"),
    "model": ("coalesce(responses.model, experiments.model)", "text"),
    "prompt": ("coalesce(responses.prompt, experiments.prompt)", "text"),
    "system_prompt": ("responses.system_prompt", "text"),
    **{name: (f"responses.{name}", "integer" if name == "max_tokens" else "number") for name in PARAMETERS},
    "repetition": ("responses.repetition", "integer"),
    "content": ("responses.content", "text"),
}
_AFTER_SCORES: dict[str, tuple[str, Kind]] = {
    "input_tokens": ("responses.input_tokens", "integer"),
    "output_tokens": ("responses.output_tokens", "integer"),
    "total_tokens": ("responses.total_tokens", "integer"),
    "cost_usd": ("responses.cost_usd", "money"),
    "latency_ms": ("responses.latency_ms", "integer"),
    "replayed": ("responses.replayed", "boolean"),
    "finish_reason": ("responses.finish_reason", "text"),
    "error_class": ("responses.error_class", "text"),
    "error_message": ("responses.error_message", "text"),
    "request_id": ("responses.request_id::text", "text"),
    "created_at": ("responses.created_at", "time"),
}


async def export_experiments(path: Path, chosen: ResponseFilter | None = None) -> ResponseExport:
    """The responses meant are in the file, one row each, in the order of experiments and answers.

    They are read from a cursor of the server and written a few at a time, as they were at one moment. Scores are 0 to 1
    as stored, in a column for each metric that the responses have of the version; beside today's stand those of the
    passes, by the model as well where several have judged or measured them.

    Args:
        path: its ending says the format: .csv, .json, .jsonl, .xlsx or .parquet; what was there is replaced at the end.

    Raises:
        BadInput: a condition cannot be met by anything, there is no such format, or the file cannot be written.
        NotFound: there is no such experiment.
    """
    chosen = chosen or ResponseFilter()
    require_format(path)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                wanted = await _prepare(connection, chosen)
            with open_row_file(path, wanted.columns) as file:
                async with ledger.engine.connect() as connection:
                    experiments = await _write(connection, wanted, file)
    return ResponseExport(
        path=str(path),
        rows=file.rows,
        experiments=experiments,
        columns=tuple(column.name for column in wanted.columns),
        analysis_version=wanted.version,
        passes=tuple(sorted({score.version for score in wanted.scores} - {wanted.version})),
        shortened=file.shortened,
    )


@dataclass(frozen=True)
class _Score:
    """A score that has a column, by its name in conditions."""

    name: str
    metric: str
    version: str


@dataclass(frozen=True)
class _Wanted:
    query: TextClause
    values: dict[str, Any]
    columns: Sequence[Column]
    version: str
    scores: Sequence[_Score]


async def _prepare(connection: AsyncConnection, chosen: ResponseFilter) -> _Wanted:
    experiments = await connection.run_sync(find_experiments, chosen.experiments)
    values: dict[str, Any] = {
        "experiments": experiments,
        "archived": chosen.archived or bool(experiments),
        "tags": list(chosen.tags),
        "models": list(chosen.models),
        "since": chosen.since,
        "until": chosen.until,
    }
    version, scores = _version_of((await connection.execute(_SCORES, values)).all(), chosen.analysis_version)
    names = [score.name for score in scores]
    conditions, compared = conditions_in_sql(chosen.where, names)
    joined = _JOIN_SCORES.format(", ".join(map(_score_in_sql, range(len(scores))))) if scores else ""
    order = "ORDER BY experiments.created_at, experiments.id, responses.created_at, responses.id"
    query = text(f"SELECT {_listed(names)} {_FROM} {joined} {_WHERE} {conditions} {order}")
    if scores:
        compared["versions"] = sorted({score.version for score in scores})
    for place, score in enumerate(scores):
        compared |= {f"metric_{place}": score.metric, f"version_{place}": score.version}
    return _Wanted(query, {**values, **compared}, _columns(names), version, scores)


def _score_in_sql(place: int) -> str:
    wanted = f"metric = :metric_{place} AND analysis_version = :version_{place}"
    return f"max(score) FILTER (WHERE {wanted}) AS score_{place}"


def _version_of(rows: Sequence[Any], said: str) -> tuple[str, list[_Score]]:
    """The version asked for, else today's with its passes, else the one most used; and its scores, `overall` first.

    Raises:
        BadInput: nothing has scores of the version asked for.
    """
    scores: dict[str, dict[str, int]] = {}
    for row in rows:
        scores.setdefault(row.analysis_version, {})[row.metric] = row.scores
    if said and said not in scores:
        told = ", ".join(sorted(scores)) or "none"
        raise BadInput(f"these responses have no scores of {said}; of these they have: {told}")
    most = max(sorted(scores), key=lambda version: sum(scores[version].values()), default=VERSION)
    version = said or (VERSION if VERSION in scores else most)
    order = (OVERALL, *METRICS)
    known = [_Score(metric, metric, version) for metric in scores.get(version, {})]
    if not said and version == VERSION:
        known += _of_passes(scores)
    return version, sorted(
        known, key=lambda score: (order.index(score.metric) if score.metric in order else len(order), score.name)
    )


def _of_passes(scores: Mapping[str, Mapping[str, int]]) -> Iterator[_Score]:
    """What embeddings measured and a judge has said; scores by several models are not to be compared."""
    passes = [version for version in scores if version.startswith((f"{VERSION}+", f"{JUDGE_VERSION}+"))]
    for version in passes:
        for metric in scores[version]:
            alone = sum(metric in scores[other] for other in passes) == 1
            yield _Score(metric if alone else f"{metric}/{version.partition('+')[2]}", metric, version)


def _listed(metrics: Sequence[str]) -> str:
    before, after = ([sql for sql, _ in columns.values()] for columns in (_BEFORE_SCORES, _AFTER_SCORES))
    return ", ".join([*before, *(f"scores.score_{place}" for place in range(len(metrics))), *after])


def _columns(metrics: Sequence[str]) -> list[Column]:
    """A metric may be called as another column is; then it is called `score_…`."""
    taken = {*_BEFORE_SCORES, *_AFTER_SCORES}
    scores = [Column(f"score_{name}" if name in taken else name, "number") for name in metrics]
    before = [Column(name, kind) for name, (_, kind) in _BEFORE_SCORES.items()]
    return [*before, *scores, *(Column(name, kind) for name, (_, kind) in _AFTER_SCORES.items())]


async def _write(connection: AsyncConnection, wanted: _Wanted, file: RowFile) -> int:
    """All rows are in the file; returns of how many experiments they are."""
    streaming = await connection.execution_options(stream_results=True, max_row_buffer=AT_ONCE)
    experiments, last = 0, None
    async for rows in (await streaming.stream(wanted.query, wanted.values)).partitions(AT_ONCE):
        for row in rows:
            experiments, last = experiments + (row[0] != last), row[0]
        await asyncio.to_thread(file.add, rows)
    return experiments
