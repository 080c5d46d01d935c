"""Experiments listed: filtered, in an order, page by page."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from schemas.errors import BadInput
from schemas.experiments import ExperimentOrder, ExperimentPage, ExperimentQuestion
from schemas.sweep_results import ExperimentRecord
from tasks.ledger.session import open_ledger
from tasks.sweep.experiments import STATUS_NOW, WHO_ASKS
from tasks.sweep.finding import find_experiment
from tasks.sweep.quality.scoring import OVERALL, VERSION

_SUMS = f"""
    CROSS JOIN LATERAL (
        SELECT count(*) AS responses, count(*) FILTER (WHERE responses.status = 'failed') AS failed,
               max(score) AS best_score, avg(score) AS mean_score,
               CASE WHEN bool_or(responses.status = 'succeeded' AND cost_usd IS NULL) THEN NULL
                    ELSE coalesce(sum(cost_usd), 0) END AS cost_usd
        FROM responses LEFT JOIN quality_metrics
            ON response_id = responses.id AND metric = '{OVERALL}' AND analysis_version = '{VERSION}'
        WHERE experiment_id = {{experiment}}.id
    ) AS sums
"""
_RECORDS = f"""
    SELECT chosen.*, sums.*, spec #>> '{{{{strategy,name}}}}' AS strategy FROM ({{chosen}}) AS chosen
    {_SUMS.format(experiment="chosen")} {{order}}
"""
_CHOSEN = f"""
    SELECT experiments.*, {STATUS_NOW} AS status_now, {{key}} AS sort_key
    FROM experiments {WHO_ASKS} {{sums}}
    WHERE (experiments.archived_at IS NOT NULL) = :archived
      AND (:name = '' OR strpos(lower(experiments.name), lower(:name)) > 0)
      AND experiments.tags @> CAST(:tags AS text[])
      AND (CAST(:status AS text) IS NULL OR {STATUS_NOW} = :status)
      AND (CAST(:since AS date) IS NULL
           OR experiments.created_at >= CAST(:since AS date)::timestamp AT TIME ZONE 'UTC')
      AND (CAST(:until AS date) IS NULL
           OR experiments.created_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC')
      AND (:model = '' OR experiments.model = :model
           OR experiments.spec -> 'models' @> to_jsonb(CAST(:model AS text)))
      AND (experiments.is_favourite OR NOT :favourite)
      AND (:after = '' OR ({{key}}, experiments.id) {{beyond}}
           (SELECT {{key}}, experiments.id FROM experiments {{sums}} WHERE experiments.id = :after))
    ORDER BY sort_key {{direction}}, experiments.id {{direction}} LIMIT :limit + 1
"""
_ONE = text(
    _RECORDS.format(
        chosen=f"""SELECT experiments.*, {STATUS_NOW} AS status_now FROM experiments {WHO_ASKS}
                   WHERE experiments.id = :id""",
        order="",
    )
)


class _Order(NamedTuple):
    key: str
    ascending: bool = False
    summed: bool = True


_ORDERS: dict[ExperimentOrder, _Order] = {
    "created": _Order("experiments.created_at", summed=False),
    "name": _Order("lower(experiments.name)", ascending=True, summed=False),
    # Rounded: a mean taken twice may differ in its last digit, and a page would begin in the wrong place.
    "score": _Order("round(coalesce(sums.mean_score, -1)::numeric, 9)"),
    "cost": _Order("coalesce(sums.cost_usd, -1)"),
    "responses": _Order("sums.responses"),
}


async def list_experiments(question: ExperimentQuestion | None = None) -> ExperimentPage:
    """The experiments asked for, by default the latest that are not archived; scores are those of today's version.

    Raises:
        BadInput: the days are in the wrong order.
        NotFound: there is no experiment `after` which to go on.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(read_page, question or ExperimentQuestion())


def read_page(connection: Connection, question: ExperimentQuestion) -> ExperimentPage:
    """As `list_experiments`, on a connection."""
    if question.since and question.until and question.since > question.until:
        raise BadInput(f"--since {question.since} is after --until {question.until}")
    values: dict[str, Any] = question.model_dump(exclude={"order"})
    values["tags"] = list(question.tags)
    values["after"] = find_experiment(connection, question.after) if question.after else ""
    rows = connection.execute(text(_page_of(_ORDERS[question.order])), values).all()
    shown = tuple(_record(row) for row in rows[: question.limit])
    return ExperimentPage(experiments=shown, next_after=shown[-1].id if len(rows) > question.limit else None)


def _page_of(order: _Order) -> str:
    direction, beyond = ("ASC", ">") if order.ascending else ("DESC", "<")
    sums = _SUMS.format(experiment="experiments") if order.summed else ""
    chosen = _CHOSEN.format(key=order.key, sums=sums, beyond=beyond, direction=direction)
    return _RECORDS.format(chosen=chosen, order=f"ORDER BY sort_key {direction}, chosen.id {direction}")


def read_record(connection: Connection, experiment_id: str) -> ExperimentRecord:
    """The experiment with this id, which there is."""
    return _record(connection.execute(_ONE, {"id": experiment_id}).one())


def _record(row: Row[Any]) -> ExperimentRecord:
    models = (row.spec or {}).get("models") or ([row.model] if row.model else [])
    return ExperimentRecord(
        id=row.id,
        name=row.name,
        description=row.description,
        status=row.status_now,
        strategy=row.strategy,
        models=tuple(str(model) for model in models if model),
        responses=row.responses,
        failed=row.failed,
        best_score=row.best_score,
        mean_score=row.mean_score,
        cost_usd=row.cost_usd,
        tags=tuple(row.tags),
        is_favourite=row.is_favourite,
        archived_at=row.archived_at,
        created_at=row.created_at,
        completed_at=row.completed_at,
        run_id=row.run_id,
    )
