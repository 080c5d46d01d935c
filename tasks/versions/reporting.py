"""What a test has shown so far: quality by the users' ratings, with cost and latency beside it.

Users are what was divided at random, so that they are what is counted: the comparison rests on the first rating of
each, one for a user however often they come back; rates of all ratings and means of calls have intervals that know
that those of one user belong together. A user counts for the variant they were given, also where a fallback answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.ab_reports import Comparison, Reading, TestReport, VariantReport, Verdict
from schemas.versions import AbTestRecord, Variant
from tasks.ledger.session import open_ledger
from tasks.versions.ab_tests import read_test
from tasks.versions.confidence import (
    allocation_p,
    anytime_p,
    anytime_radius,
    is_decided,
    is_enough,
    rated_users_needed,
    variance_of_difference,
)
from tasks.versions.intervals import Sums, clustered_mean, clustered_rate, wilson

SUSPICIOUS = 0.001
"""A division of users less likely than this, at any reading, is no accident."""
POWER = 0.8

Arms = tuple[Any, Any, Any, Any]
"""First ratings by the end of each day: positive and all of the control, positive and all of the variant."""

_EXPOSED = """
    WITH exposed AS MATERIALIZED (
        SELECT id, coalesce(replayed_from, id) AS response_id, user_id, status, cost_usd, latency_ms,
               context #>> ARRAY['ab_tests', CAST(:test AS text)] AS variant
        FROM llm_requests
        WHERE context ? 'ab_tests' AND jsonb_exists(context -> 'ab_tests', CAST(:test AS text)) AND user_id IS NOT NULL
            AND created_at BETWEEN :since AND :until
    ), rated AS MATERIALIZED (
        SELECT DISTINCT feedback.id, variant, exposed.user_id, rating = 'positive' AS positive, feedback.created_at
        FROM exposed JOIN feedback ON feedback.response_id = exposed.response_id
            AND feedback.user_id = exposed.user_id
        WHERE feedback.created_at BETWEEN :since AND :until
    )
"""
_CALLS = text(f"""{_EXPOSED}, users AS (
        SELECT variant, user_id, count(*) FILTER (WHERE status <> 'replayed') AS calls,
               count(*) FILTER (WHERE status IN ('failed', 'unknown')) AS failed,
               count(cost_usd) FILTER (WHERE status <> 'replayed')::float8 AS priced,
               sum(cost_usd) FILTER (WHERE status <> 'replayed') AS cost,
               coalesce(sum(cost_usd) FILTER (WHERE status <> 'replayed'), 0)::float8 AS usd,
               count(latency_ms) FILTER (WHERE status = 'succeeded')::float8 AS timed,
               coalesce(sum(latency_ms) FILTER (WHERE status = 'succeeded'), 0)::float8 AS ms
        FROM exposed GROUP BY variant, user_id
    )
    SELECT variant, count(*) AS users, sum(calls)::bigint AS calls, sum(failed)::bigint AS failed,
           sum(cost) AS cost_usd, sum(priced)::bigint AS priced,
           ARRAY[count(*) FILTER (WHERE priced > 0), sum(priced), sum(usd), sum(priced * priced), sum(usd * usd),
                 sum(usd * priced)] AS cost_sums,
           ARRAY[count(*) FILTER (WHERE timed > 0), sum(timed), sum(ms), sum(timed * timed), sum(ms * ms),
                 sum(ms * timed)] AS latency_sums
    FROM users GROUP BY variant
""")
_LATENCIES = text(f"""{_EXPOSED}
    SELECT variant, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY latency_ms) AS quantiles
    FROM exposed WHERE status = 'succeeded' AND latency_ms IS NOT NULL GROUP BY variant
""")
_RATINGS = text(f"""{_EXPOSED}, users AS (
        SELECT variant, user_id, count(*)::float8 AS n, count(*) FILTER (WHERE positive)::float8 AS s
        FROM rated GROUP BY variant, user_id
    )
    SELECT variant, ARRAY[count(*), sum(n), sum(s), sum(n * n), sum(s * s), sum(s * n)] AS sums
    FROM users GROUP BY variant
""")
_DAYS = text(f"""{_EXPOSED}, firsts AS (
        SELECT DISTINCT ON (user_id) variant, positive, created_at FROM rated ORDER BY user_id, created_at, id
    )
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, variant, count(*) AS n,
           count(*) FILTER (WHERE positive) AS positive
    FROM firsts GROUP BY 1, 2 ORDER BY 1
""")


class _Counts(BaseModel):
    """First ratings by the end of each day: arrays of as many rows as days, a column for each variant."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    days: list[date]
    n: Any
    positive: Any


async def report_test(name: str) -> TestReport:
    """The test as it stands now; as it stood when it was stopped, where it was.

    Raises:
        NotFound: there is no such test.
    """
    async with open_ledger() as ledger:
        test = await read_test(name)
        until = test.stopped_at or datetime.now(UTC)
        with database_errors():
            async with ledger.engine.connect() as connection:
                # One picture of the ledger for all of it.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                variants, counts = await connection.run_sync(_read, test, until)
    comparisons = tuple(_compare(test, counts, place, until) for place in range(1, len(test.variants)))
    users = [variant.users for variant in variants]
    division = allocation_p(users, [variant.weight for variant in variants]) if sum(users) else None
    return TestReport(
        test=test,
        read_at=until,
        variants=tuple(variants),
        comparisons=comparisons,
        division_p=division,
        warnings=tuple(_warnings(variants, division)),
    )


def _read(connection: Connection, test: AbTestRecord, until: datetime) -> tuple[list[VariantReport], _Counts]:
    values = {"test": test.name, "since": test.started_at, "until": until}

    def by_variant(statement: Any) -> dict[str, Any]:
        return {row.variant: row for row in connection.execute(statement, values)}

    days = connection.execute(_DAYS, values).all()
    counts = _cumulated(days, test.variants)
    calls, latencies, ratings = by_variant(_CALLS), by_variant(_LATENCIES), by_variant(_RATINGS)
    reports = []
    for place, variant in enumerate(test.variants):
        rated = int(counts.n[-1, place]) if counts.days else 0
        positive = int(counts.positive[-1, place]) if counts.days else 0
        found = calls.get(variant.name), latencies.get(variant.name), ratings.get(variant.name)
        reports.append(_describe(variant, rated, positive, *found))
    return reports, counts


def _cumulated(rows: Sequence[Any], variants: Sequence[Variant]) -> _Counts:
    days = sorted({row.day for row in rows})
    places = {variant.name: place for place, variant in enumerate(variants)}
    n, positive = np.zeros((len(days), len(places))), np.zeros((len(days), len(places)))
    for row in rows:
        if row.variant in places:
            n[days.index(row.day), places[row.variant]] = row.n
            positive[days.index(row.day), places[row.variant]] = row.positive
    return _Counts(days=days, n=n.cumsum(axis=0), positive=positive.cumsum(axis=0))


def _sums(found: Any, name: str) -> Sums:
    clusters, *rest = getattr(found, name) if found else [0] * 6
    return Sums(int(clusters), *(float(each or 0) for each in rest))


def _describe(variant: Variant, rated: int, positive: int, calls: Any, latency: Any, ratings: Any) -> VariantReport:
    of_all = _sums(ratings, "sums")
    p50, p95 = latency.quantiles if latency else (None, None)
    made = {"users": calls.users, "calls": calls.calls, "failed": calls.failed, "priced": calls.priced} if calls else {}
    return VariantReport(
        **variant.model_dump(),
        **made,
        rated=rated,
        first_positive=positive,
        rate=wilson(positive, rated),
        ratings=int(of_all.n),
        positive=int(of_all.s),
        rate_of_all=clustered_rate(of_all),
        cost_usd=calls.cost_usd if calls else None,
        cost_per_call=clustered_mean(_sums(calls, "cost_sums")),
        latency=clustered_mean(_sums(calls, "latency_sums")),
        latency_p50=p50,
        latency_p95=p95,
    )


def _compare(test: AbTestRecord, counts: _Counts, place: int, until: datetime) -> Comparison:
    """The variant at `place` beside the control; the error rate is shared among all comparisons (Bonferroni)."""
    error_rate = test.error_rate / (len(test.variants) - 1)
    arms = (counts.positive[:, 0], counts.n[:, 0], counts.positive[:, place], counts.n[:, place])
    by_day = _readings(counts.days, arms, test.minimum_effect, error_rate)
    decided = next((reading for reading in by_day if reading.decided), None)
    verdict: Verdict = "open"
    if decided is not None and decided.difference is not None:
        verdict = "better" if decided.difference > 0 else "worse"
    last = by_day[-1] if by_day else None
    rated = last.rated if last else 0
    needed = _needed(test, arms, place, error_rate)
    missing = 0 if decided else max(needed - rated, 0)
    pace = rated / max((until - test.started_at).total_seconds() / 86400, 1.0)
    return Comparison(
        control=test.variants[0].name,
        variant=test.variants[place].name,
        error_rate=error_rate,
        difference=last.difference if last else None,
        lower=last.lower if last else None,
        upper=last.upper if last else None,
        p=_p(arms, test.minimum_effect) if last and last.difference is not None else None,
        verdict=verdict,
        decided_on=decided.day if decided else None,
        needed=needed,
        still_needed=missing,
        days_needed=math.ceil(missing / pace) if pace else None,
        by_day=by_day,
    )


def _readings(days: Sequence[date], arms: Arms, effect: float, error_rate: float) -> tuple[Reading, ...]:
    if not days:
        return ()
    positive_a, n_a, positive_b, n_b = arms
    difference = positive_b / np.maximum(n_b, 1) - positive_a / np.maximum(n_a, 1)
    radius = anytime_radius(variance_of_difference(*arms), effect, error_rate)
    enough, decided = is_enough(*arms), is_decided(*arms, effect, error_rate)
    return tuple(
        Reading(
            day=day,
            rated=int(n_a[place] + n_b[place]),
            difference=float(difference[place]) if enough[place] else None,
            lower=max(float(difference[place] - radius[place]), -1.0) if enough[place] else None,
            upper=min(float(difference[place] + radius[place]), 1.0) if enough[place] else None,
            decided=bool(decided[place]),
        )
        for place, day in enumerate(days)
    )


def _p(arms: Arms, effect: float) -> float:
    """The least of all readings: once reached, it stands."""
    positive_a, n_a, positive_b, n_b = arms
    difference = positive_b / np.maximum(n_b, 1) - positive_a / np.maximum(n_a, 1)
    values = anytime_p(difference, variance_of_difference(*arms), effect)
    return float(values[is_enough(*arms)].min())


def _needed(test: AbTestRecord, arms: Arms, place: int, error_rate: float) -> int:
    """With the rate of the control so far, or a half, where the spread is largest; users as the weights divide them."""
    positive, n = arms[0], arms[1]
    rate = float((positive[-1] + 0.5) / (n[-1] + 1)) if len(n) else 0.5
    shares = test.variants[0].weight, test.variants[place].weight
    return rated_users_needed(rate, test.minimum_effect, error_rate, *shares, power=POWER)


def _warnings(variants: Sequence[VariantReport], division: float | None) -> list[str]:
    said = []
    if division is not None and division < SUSPICIOUS:
        counts = ", ".join(f"{variant.name} {variant.users}" for variant in variants)
        said.append(f"users are not divided as the weights say ({counts}): something decides who is counted")
    if unpriced := sum(variant.calls - variant.priced for variant in variants):
        said.append(f"no cost is known of {unpriced} calls")
    return said
