"""How satisfied users are over time, by model and insight type, with intervals.

A rating belongs to the answer it is of: to the day, model and insight type of that call. Replays are uses of an
answer, so that feedback on one is feedback on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from blocks.database import database_errors
from schemas.ab_reports import Estimate
from schemas.errors import BadInput
from tasks.ledger.session import open_ledger
from tasks.versions.intervals import Sums, clustered_rate

Period = Literal["day", "week", "month", "all"]


class SatisfactionLine(BaseModel):
    """The ratings of the answers of one model, for one insight type, in one period.

    Attributes:
        period: its first day, in UTC; None where all are one.
        model: as the provider names it.
        answers: given in the period, whether rated or not.
        users: with a rating; ratings of nobody in particular are one user.
        rate: share of positive ratings among all, neutral ones too; the interval knows that ratings of one user
            belong together.
    """

    model_config = ConfigDict(frozen=True)

    period: date | None
    model: str
    version: str | None
    insight_type: str | None
    answers: int
    users: int
    ratings: int
    positive: int
    negative: int
    neutral: int
    rate: Estimate


class Satisfaction(BaseModel):
    """Lines by period, model and insight type, in this order."""

    model_config = ConfigDict(frozen=True)

    since: date | None
    until: date | None
    project: str | None
    period: Period
    lines: tuple[SatisfactionLine, ...]


_LINES = text("""
    WITH answers AS (
        SELECT id, user_id, coalesce(answered_model, model) AS model, model_version, insight_type,
               CASE WHEN :period <> 'all' THEN date_trunc(:period, created_at AT TIME ZONE 'UTC')::date END AS period
        FROM llm_requests
        WHERE kind = 'chat' AND status = 'succeeded' AND (CAST(:project AS text) IS NULL OR project = :project)
            AND (CAST(:since AS date) IS NULL OR created_at >= (CAST(:since AS date))::timestamp AT TIME ZONE 'UTC')
            AND (CAST(:until AS date) IS NULL
                 OR created_at < (CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC')
    ), said AS (
        SELECT coalesce(uses.replayed_from, uses.id) AS response_id, feedback.user_id, feedback.rating
        FROM feedback JOIN llm_requests AS uses ON uses.id = feedback.response_id
    ), given AS (
        SELECT period, model, model_version, insight_type, count(*) AS answers FROM answers GROUP BY 1, 2, 3, 4
    ), users AS (
        SELECT period, model, model_version, insight_type, said.user_id, count(*)::float8 AS n,
               count(*) FILTER (WHERE rating = 'positive')::float8 AS positive,
               count(*) FILTER (WHERE rating = 'negative')::float8 AS negative
        FROM answers JOIN said ON said.response_id = answers.id GROUP BY 1, 2, 3, 4, 5
    ), rated AS (
        SELECT period, model, model_version, insight_type, sum(negative)::bigint AS negative,
               ARRAY[count(*), sum(n), sum(positive), sum(n * n), sum(positive * positive), sum(positive * n)] AS sums
        FROM users GROUP BY 1, 2, 3, 4
    )
    SELECT given.*, coalesce(rated.negative, 0) AS negative, coalesce(rated.sums, '{0, 0, 0, 0, 0, 0}') AS sums
    FROM given LEFT JOIN rated ON (rated.model, rated.period, rated.model_version, rated.insight_type)
        IS NOT DISTINCT FROM (given.model, given.period, given.model_version, given.insight_type)
    WHERE :unrated OR rated.model IS NOT NULL
    ORDER BY given.period, given.model, given.model_version NULLS FIRST, given.insight_type NULLS FIRST
""")


async def read_satisfaction(
    *,
    since: date | None = None,
    until: date | None = None,
    period: Period = "week",
    project: str | None = None,
    unrated: bool = False,
) -> Satisfaction:
    """Satisfaction with the answers from `since` to `until`, both included, as days in UTC.

    Args:
        period: what is added up; weeks begin on Monday.
        unrated: also lines without a rating.

    Raises:
        BadInput: `until` is before `since`.
    """
    if since and until and until < since:
        raise BadInput(f"--until {until} is before --since {since}")
    values = {"since": since, "until": until, "period": period, "project": project, "unrated": unrated}
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows: Sequence[Any] = (await connection.execute(_LINES, values)).all()
    lines = tuple(map(_line, rows))
    return Satisfaction(since=since, until=until, project=project, period=period, lines=lines)


def _line(row: Any) -> SatisfactionLine:
    users, n, positive, *squares = row.sums
    return SatisfactionLine(
        period=row.period,
        model=row.model,
        version=row.model_version,
        insight_type=row.insight_type,
        answers=row.answers,
        users=int(users),
        ratings=int(n),
        positive=int(positive),
        negative=row.negative,
        neutral=int(n - positive) - row.negative,
        rate=clustered_rate(Sums(int(users), n, positive, *squares)),
    )
