"""Satisfaction over time, by model and insight type; and the older service's statistics of feedback."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.errors import BadInput
from tasks.ledger import as_user, complete_structured
from tasks.ledger.session import Ledger
from tasks.versions import read_satisfaction
from tasks.versions.intervals import wilson
from tests.tasks.versions.conftest import Look
from tests.tasks.versions.rows import call, rating, store

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def several() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two weeks, two models, two insight types; a replay that is rated, a failure, ratings of one user twice."""
    first, second = call(MONDAY, "ada"), call(MONDAY + 6 * DAY, "bob")
    later = call(MONDAY + WEEK, "ada", model="gpt-4o", model_version="radar/2")
    risk = call(MONDAY, "ada", insight_type="risk")
    replay = call(MONDAY + WEEK, "ada", status="replayed", replayed_from=first["id"])
    failed = call(MONDAY, "ada", status="failed")
    calls = [first, second, later, risk, replay, failed, call(MONDAY, "eve", insight_type=None)]
    ratings = [
        rating(replay, "negative", MONDAY + WEEK), rating(first, "positive", MONDAY, user="eve"),
        rating(second, "positive", MONDAY + WEEK), rating(later, "neutral", MONDAY + WEEK),
        rating(risk, "positive", MONDAY),
    ]  # fmt: skip
    return calls, ratings


async def test_ratings_belong_to_the_period_model_and_type_of_the_answer(ledger: Ledger, database: Engine) -> None:
    store(database, *several())
    lines = (await read_satisfaction()).lines
    assert [
        (line.period, line.model, line.version, line.insight_type, line.answers, line.users, line.ratings,
         line.positive, line.negative, line.neutral) for line in lines
    ] == [
        (date(2026, 3, 2), "gpt-4o-mini", None, "radar", 2, 3, 3, 2, 1, 0),
        (date(2026, 3, 2), "gpt-4o-mini", None, "risk", 1, 1, 1, 1, 0, 0),
        (date(2026, 3, 9), "gpt-4o", "radar/2", "radar", 1, 1, 1, 0, 0, 1),
    ]  # fmt: skip
    assert lines[0].rate.value == pytest.approx(2 / 3)
    assert lines[1].rate == wilson(1, 1)
    unrated = (await read_satisfaction(unrated=True)).lines
    assert [(line.insight_type, line.answers, line.rate.value) for line in unrated if not line.ratings] == [
        (None, 1, None)
    ]


async def test_a_window_holds_both_its_days_and_periods_can_be_one(ledger: Ledger, database: Engine) -> None:
    store(database, *several())
    monday, sunday = MONDAY.date(), (MONDAY + 6 * DAY).date()
    first = (await read_satisfaction(since=monday, until=sunday, period="all")).lines
    assert [(line.period, line.ratings) for line in first] == [(None, 3), (None, 1)]
    last = (await read_satisfaction(since=sunday, until=sunday, period="day")).lines
    assert [(line.period, line.ratings) for line in last] == [(sunday, 1)]
    assert (await read_satisfaction(project="other")).lines == ()
    with pytest.raises(BadInput, match="--until 2026-03-02 is before --since 2026-03-08"):
        await read_satisfaction(since=sunday, until=monday)


async def test_many_ratings_of_one_user_do_not_narrow_the_interval_as_those_of_many_do(
    ledger: Ledger, database: Engine
) -> None:
    one = [call(MONDAY, f"user-{number % 4}") for number in range(80)]
    many = [call(MONDAY, f"user-{number}", model="gpt-4o") for number in range(80)]
    ratings = [
        rating(each, "positive" if number % 4 < 2 else "negative", MONDAY)
        for calls in (one, many)
        for number, each in enumerate(calls)
    ]
    store(database, [*one, *many], ratings)
    of_many, of_few = (await read_satisfaction()).lines
    assert (of_few.users, of_many.users, of_few.rate.value, of_many.rate.value) == (4, 80, 0.5, 0.5)
    widths = [line.rate.upper - line.rate.lower for line in (of_few, of_many)]  # type: ignore[operator]
    assert widths[0] > 3 * widths[1]


TRAINING = "SELECT response_id, feedback FROM lexybrain_training_data ORDER BY response_id"


async def test_a_response_is_one_training_row_whoever_and_however_many_have_rated_it(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    """The old view had a row for each opinion."""
    now = datetime.now(UTC)
    mine, theirs, nobody_s, silent = (call(now, user) for user in ("ada", "ada", None, "bob"))
    ratings = [
        rating(mine, "positive", now - DAY), rating(mine, "negative", now, user="eve"),
        rating(theirs, "negative", now - DAY, user="bob"), rating(theirs, "neutral", now, user="eve"),
        rating(nobody_s, "negative", now - DAY, user="eve"),
    ]  # fmt: skip
    store(database, [mine, theirs, nobody_s, silent], ratings)
    ids = [each["id"] for each in (mine, theirs, nobody_s, silent)]
    rows = [(str(row.response_id), row.feedback) for row in look(TRAINING)]
    assert rows == list(zip(ids, ["positive", "neutral", "negative", None], strict=True))


async def test_a_user_reads_no_training_row_nor_number_of_somebody_else(
    ledger: Ledger, database: Engine, look: Look
) -> None:
    """The old view and function went past row-level security, and latencies were weighed by opinions."""
    now = datetime.now(UTC)
    mine, other = call(now - DAY, "ada", latency_ms=1000), call(now - DAY, "bob", latency_ms=2000)
    store(database, [mine, other], [rating(mine, "positive", now), rating(mine, "positive", now, user="eve")])
    numbers = "SELECT total_requests, total_feedback, avg_latency_ms FROM get_lexybrain_feedback_stats()"
    assert look(numbers) == [(2, 2, Decimal(1500))]
    async with ledger.engine.connect() as connection, as_user(connection, "ada"):
        seen = (await connection.execute(text(TRAINING))).all()
        counted = (await connection.execute(text(numbers))).all()
    assert [(str(row.response_id), row.feedback) for row in seen] == [(mine["id"], "positive")]
    assert [tuple(row) for row in counted] == [(1, 1, Decimal(1000))]


@pytest.mark.parametrize("table", ["llm_requests", "lexybrain_requests", "lexybrain_responses"])
async def test_an_application_s_user_inserts_no_training_row(ledger: Ledger, table: str) -> None:
    async with ledger.engine.connect() as connection:
        with pytest.raises(DBAPIError, match=r"permission denied|cannot insert into view"):
            async with as_user(connection, "ada"):
                await connection.execute(text(f"INSERT INTO {table} (id) VALUES (gen_random_uuid())"))


class Word(BaseModel):
    word: str


@pytest.mark.scripted(replies=["no", '{"word": "yes"}'])
async def test_an_answer_to_a_repeated_question_stands_under_the_prompt_that_brought_it(
    ledger: Ledger, look: Look
) -> None:
    """The old log had the first prompt with the answer to the second."""
    await complete_structured("Say yes.", Word, model="gpt-4o-mini", project="lexybrain", insight_type="radar")
    rows = look("SELECT prompt, output_json FROM lexybrain_training_data ORDER BY requested_at")
    assert [row.output_json for row in rows] == [{"text": "no"}, {"word": "yes"}]
    assert rows[0].prompt == "Say yes."
    assert rows[1].prompt.startswith("Say yes.\n\nno\n\nThat does not fit the schema")
