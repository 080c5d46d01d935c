"""Two responses compared metric by metric, with what each was asked and what it cost."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.experiments import ComparedResponse, ResponseComparison, ScorePair
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_response
from tasks.sweep.housekeeping_detail import parameters_of
from tasks.sweep.quality.scoring import OVERALL, VERSION

_RESPONSE = text("""
    SELECT responses.*, experiments.name AS experiment, coalesce(responses.prompt, experiments.prompt) AS asked,
           coalesce(responses.model, experiments.model) AS answered_by,
           CASE WHEN replayed THEN (SELECT saved_usd FROM llm_requests WHERE llm_requests.id = request_id)
                ELSE cost_usd END AS paid_usd
    FROM responses JOIN experiments ON experiments.id = experiment_id WHERE responses.id = :id
""")
_SCORES = text("SELECT response_id, analysis_version, metric, score FROM quality_metrics WHERE response_id = ANY(:ids)")


async def compare_responses(first: str, second: str, *, analysis_version: str = "") -> ResponseComparison:
    """Two responses by each metric that either has, the second less the first.

    Args:
        first, second: ids, or beginnings of ids of at least eight characters.
        analysis_version: of the scores; those of today, or else the version that both have most of.

    Raises:
        NotFound: there is no such response.
        BadInput: they are the same, or neither has scores of `analysis_version`.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(_compare, first, second, analysis_version)


def _compare(connection: Connection, first: str, second: str, analysis_version: str) -> ResponseComparison:
    ids = [find_response(connection, said) for said in (first, second)]
    if ids[0] == ids[1]:
        raise BadInput(f"{first} and {second} are one response: there is nothing to compare")
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in connection.execute(_SCORES, {"ids": ids}):
        scores.setdefault(row.analysis_version, {}).setdefault(row.metric, {})[row.response_id] = row.score
    version = _chosen(scores, analysis_version)
    metrics = sorted(scores.get(version, {}), key=lambda metric: (metric != OVERALL, metric))
    one, other = (_told(connection.execute(_RESPONSE, {"id": each}).one()) for each in ids)
    return ResponseComparison(
        first=one,
        second=other,
        analysis_version=version,
        metrics=tuple(_pair(metric, *(scores[version][metric].get(each) for each in ids)) for metric in metrics),
    )


def _chosen(scores: dict[str, dict[str, dict[str, float]]], analysis_version: str) -> str:
    if analysis_version and analysis_version not in scores:
        known = ", ".join(sorted(scores)) or "none"
        raise BadInput(f"the responses have no scores of {analysis_version}; of these they have: {known}")
    most = max(sorted(scores), key=lambda version: sum(map(len, scores[version].values())), default=VERSION)
    return analysis_version or (VERSION if VERSION in scores else most)


def _pair(metric: str, first: float | None, second: float | None) -> ScorePair:
    difference = None if first is None or second is None else round(second - first, 12)
    return ScorePair(metric=metric, first=first, second=second, difference=difference)


def _told(row: Row[Any]) -> ComparedResponse:
    return ComparedResponse(
        id=row.id,
        experiment_id=row.experiment_id,
        experiment=row.experiment,
        status=row.status,
        model=row.answered_by,
        prompt=row.asked,
        system_prompt=row.system_prompt,
        parameters=parameters_of(row),
        repetition=row.repetition,
        content=row.content,
        error_message=row.error_message,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.paid_usd,
        latency_ms=row.latency_ms,
        finish_reason=row.finish_reason,
        created_at=row.created_at,
    )
