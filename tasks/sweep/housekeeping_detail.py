"""An experiment on one page: what was asked, what it cost, how good it was, what failed, what was concluded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from schemas.experiments import ExperimentDetail, MetricSummary, ResponseRecord
from schemas.sweep import PARAMETERS
from schemas.sweep_results import Best
from schemas.sweep_statistics import Level
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_experiment
from tasks.sweep.housekeeping_listing import read_record
from tasks.sweep.quality.scoring import OVERALL, VERSION

MOST_BEST = 5

_EXPERIMENT = text("SELECT * FROM experiments WHERE id = :id")
_USAGE = text("""
    SELECT count(*) FILTER (WHERE replayed) AS replayed, sum(input_tokens) AS input_tokens,
           sum(output_tokens) AS output_tokens, avg(latency_ms)::float8 AS latency_ms
    FROM responses WHERE experiment_id = :id
""")
VERSION_OF = f"""
    SELECT analysis_version FROM quality_metrics JOIN responses ON responses.id = response_id
    WHERE experiment_id = ANY(:ids)
    GROUP BY analysis_version ORDER BY (analysis_version = '{VERSION}') DESC, count(*) DESC, analysis_version LIMIT 1
"""
_METRICS = text(f"""
    SELECT metric, count(*) AS responses, avg(score) AS mean, min(score) AS lowest, max(score) AS highest
    FROM quality_metrics JOIN responses ON responses.id = response_id
    WHERE experiment_id = :id AND analysis_version = :version
    GROUP BY metric ORDER BY (metric = '{OVERALL}') DESC, metric
""")
_SCORED = f"""
    FROM responses JOIN quality_metrics
        ON response_id = responses.id AND metric = '{OVERALL}' AND analysis_version = :version
    WHERE experiment_id = :id
"""
_SETTINGS = ", ".join(("responses.model", *(f"responses.{name}" for name in PARAMETERS)))
_BEST = text(f"""
    SELECT {_SETTINGS}, system_prompt, avg(score) AS score, count(*) AS responses {_SCORED}
    GROUP BY {_SETTINGS}, system_prompt ORDER BY score DESC, {_SETTINGS}, system_prompt LIMIT {MOST_BEST}
""")
_ENDS = text(f"""
    (SELECT responses.id, {_SETTINGS}, repetition, score {_SCORED} ORDER BY score DESC, responses.id LIMIT 1)
    UNION ALL
    (SELECT responses.id, {_SETTINGS}, repetition, score {_SCORED} ORDER BY score, responses.id DESC LIMIT 1)
""")
_FAILURES = text("""
    SELECT error_class, count(*) AS count FROM responses WHERE experiment_id = :id AND status = 'failed'
    GROUP BY error_class ORDER BY count DESC, error_class
""")
_CONCLUSIONS = text("""
    SELECT analysis -> 'sentences' FROM sweep_analyses WHERE experiment_id = :id AND analysis_version = :version
""")
_OLDER_COLUMNS = (
    *("prompt", "model", "temperature_min", "temperature_max", "temperature_step", "top_p_min", "top_p_max"),
    *("top_p_step", "frequency_penalty_min", "frequency_penalty_max", "presence_penalty_min", "presence_penalty_max"),
    *("max_tokens", "response_count"),
)


async def show_experiment(experiment: str) -> ExperimentDetail:
    """The experiment with this id or name, and what came of it.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(read_detail, experiment)


def read_detail(connection: Connection, experiment: str) -> ExperimentDetail:
    """As `show_experiment`, on a connection."""
    found = find_experiment(connection, experiment)
    version = connection.execute(text(VERSION_OF), {"ids": [found]}).scalar_one_or_none() or VERSION
    values = {"id": found, "version": version}
    row = connection.execute(_EXPERIMENT, values).one()
    usage = connection.execute(_USAGE, values).one()
    ends = [response_record(each) for each in connection.execute(_ENDS, values)]
    return ExperimentDetail(
        experiment=read_record(connection, found),
        spec=row.spec or {name: row._mapping[name] for name in _OLDER_COLUMNS if row._mapping[name] is not None},
        error_message=row.error_message,
        total_combinations=row.total_combinations,
        total_calls=row.total_calls,
        **usage._mapping,
        analysis_version=version,
        metrics=tuple(MetricSummary(**each._mapping) for each in connection.execute(_METRICS, values)),
        best=tuple(_best(each) for each in connection.execute(_BEST, values)),
        best_response=ends[0] if ends else None,
        worst_response=ends[-1] if ends else None,
        failures={each.error_class: each.count for each in connection.execute(_FAILURES, values)},
        conclusions=tuple(connection.execute(_CONCLUSIONS, values).scalar_one_or_none() or ()),
    )


def parameters_of(row: Row[Any]) -> dict[str, Level]:
    """Those that the response was asked with."""
    return {name: row._mapping[name] for name in PARAMETERS if row._mapping[name] is not None}


def response_record(row: Row[Any]) -> ResponseRecord:
    """Of a row with the columns of `responses`, and `score`."""
    return ResponseRecord(
        id=row.id, model=row.model, parameters=parameters_of(row), repetition=row.repetition, score=row.score
    )


def _best(row: Row[Any]) -> Best:
    parameters: dict[str, float] = {name: row._mapping[name] for name in PARAMETERS if row._mapping[name] is not None}
    return Best(
        model=row.model,
        system_prompt=row.system_prompt,
        parameters=parameters,
        score=row.score,
        responses=row.responses,
    )
