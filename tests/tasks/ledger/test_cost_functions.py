"""The cost functions of the replaced applications, called as those called them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from schemas.identifiers import new_id
from tests.tasks.ledger.conftest import Look
from tests.tasks.ledger.cost_rows import call, store

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def calls(database: Engine) -> None:
    """Calls of two days: paid, failed, lost, replayed, in flight."""
    store(
        database,
        [
            call(NOON, "0.0000002", model="embedding", purpose="research"),
            call(NOON, "1.25", answered_model="m-1", purpose="generate"),
            call(NOON, "0.5", status="failed", model="m-1", purpose="review"),
            call(NOON, status="unknown", reserved_usd="2", model="m-2", purpose="generate", project="other"),
            call(NOON, "0", status="replayed", saved_usd="1.25", model="m-1", purpose="generate"),
            call(NOON, status="reserved", reserved_usd="64", model="m-1", purpose="generate"),
            call(datetime(2026, 3, 3, 0, 0, tzinfo=UTC), "8", model="m-1", purpose="generate"),
            call(datetime(2026, 4, 1, 0, 0, tzinfo=UTC), "16", model="m-1", purpose="generate"),
        ],
    )


def ask(database: Engine, query: str, zone: str = "UTC", **values: Any) -> Sequence[Any]:
    """The rows that a session of this time zone gets."""
    with database.begin() as connection:
        connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})
        return connection.execute(text(query), values).all()


DAILY = "SELECT total_cost FROM get_daily_cost(target_date => :day)"


@pytest.mark.usefixtures("calls")
def test_a_day_costs_what_was_paid_or_may_have_been_and_no_replay(database: Engine) -> None:
    assert ask(database, DAILY, day=date(2026, 3, 2)) == [(Decimal("3.7500002"),)]
    assert ask(database, DAILY, day=date(2026, 3, 1)) == [(0,)]


@pytest.mark.usefixtures("calls")
def test_a_day_is_that_of_the_session_s_time_zone(database: Engine) -> None:
    assert ask(database, DAILY, "America/New_York", day=date(2026, 3, 2)) == [(Decimal("11.7500002"),)]
    assert ask(database, DAILY, "America/New_York", day=date(2026, 3, 3)) == [(0,)]


@pytest.mark.usefixtures("calls")
def test_a_month_costs_what_its_days_do(database: Engine) -> None:
    monthly = "SELECT total_cost FROM get_monthly_cost(target_year => :year, target_month => :month)"
    assert ask(database, monthly, year=2026, month=3) == [(Decimal("11.7500002"),)]
    assert ask(database, monthly, year=2026, month=4) == [(16,)]
    assert ask(database, monthly, year=2025, month=12) == [(0,)]
    assert ask(database, monthly, "America/New_York", year=2026, month=3) == [(Decimal("27.7500002"),)]
    assert ask(database, "SELECT get_daily_cost('2026-04-01'), get_monthly_cost(2026, 4)") == [(16, 16)]


def test_a_day_of_which_no_price_is_known_does_not_cost_0(database: Engine) -> None:
    store(database, [call(NOON)])
    assert ask(database, DAILY, day=date(2026, 3, 2)) == [(None,)]
    store(database, [call(NOON, "1")])
    assert ask(database, DAILY, day=date(2026, 3, 2)) == [(1,)]


BREAKDOWN = """
    SELECT group_key, total_cost
    FROM get_cost_breakdown(start_date => '2026-03-02', end_date => '2026-03-03', group_by => :by)
"""


@pytest.mark.usefixtures("calls")
def test_costs_are_broken_down_by_model_step_or_project(database: Engine) -> None:
    small = Decimal("0.0000002")
    assert ask(database, BREAKDOWN, by="model") == [("m-1", Decimal("9.75")), ("m-2", 2), ("embedding", small)]
    assert ask(database, BREAKDOWN, by="step") == [
        ("generate", Decimal("11.25")), ("review", Decimal("0.5")), ("research", small),
    ]  # fmt: skip
    assert ask(database, BREAKDOWN, by="project") == [("default", Decimal("9.75") + small), ("other", 2)]


@pytest.mark.parametrize("by", ["user; DROP TABLE runs", None])
def test_an_unknown_way_to_break_costs_down_is_an_error_and_not_an_empty_answer(database: Engine, by: object) -> None:
    with pytest.raises(DBAPIError, match="but model, step or project is meant"):
        ask(database, BREAKDOWN, by=by)


@pytest.mark.usefixtures("calls")
def test_the_old_cost_table_has_every_digit_so_that_its_sum_is_that_of_the_day(database: Engine) -> None:
    rows = ask(database, "SELECT sum(cost_usd) FROM cost_tracking WHERE timestamp < '2026-03-03 00:00Z'")
    assert rows == ask(database, DAILY, day=date(2026, 3, 2))


# --- models side by side ---


def store_run(look: Look, models: str, quality: str, *, passed: bool, day: str, status: str = "completed") -> None:
    """A run of the analysis, by the models that its JSON names, with its quality."""
    bill, run = new_id(), new_id()
    look(
        """
        INSERT INTO bills (id, jurisdiction, bill_id, session, source, media_type, text, text_sha256)
        VALUES (:bill, 'US', 'HR 5', '118', 'bill.txt', 'text/plain', 'A bill.', :sha)
        """,
        bill=bill,
        sha=str(bill),
    )
    look(
        """
        INSERT INTO runs (id, flow, project, subject, status, parameters, started_at)
        VALUES (:run, 'analyze-bill', 'p', 's', :status, CAST(:parameters AS jsonb), CAST(:day AS timestamptz))
        """,
        run=run,
        status=status,
        parameters='{"models": ' + models + "}",
        day=day,
    )
    look(
        """
        INSERT INTO bill_analyses (id, run_id, bill_id, models, research, analysis, review, rounds, coverage,
                                   passed, quality_score, report)
        VALUES (:id, :run, :bill, '{}', '{}', '{}', '{}', '[]', '{}', :passed, CAST(:quality AS numeric), '')
        """,
        id=new_id(),
        run=run,
        bill=bill,
        passed=passed,
        quality=quality,
    )


COMPARED = """
    SELECT model, avg_quality, total_runs, pass_rate
    FROM compare_models(start_date => '2026-03-01', end_date => '2026-03-02', step => :step)
"""


def test_models_are_compared_by_the_runs_they_finished(database: Engine, look: Look) -> None:
    store_run(look, '{"generate": "a", "review": "r"}', "0.8", passed=True, day="2026-03-01 00:00Z")
    store_run(look, '{"generate": "a", "review": "r"}', "0.4", passed=False, day="2026-03-02 23:59Z")
    store_run(look, '{"generate": "b", "review": "r"}', "0.9", passed=True, day="2026-03-02 12:00Z")
    store_run(look, '{"generate": "b", "review": "r"}', "0.1", passed=False, day="2026-03-03 00:00Z")  # too late
    store_run(look, '{"generate": "b", "review": "r"}', "0.1", passed=False, day="2026-03-02 12:00Z", status="failed")
    assert ask(database, COMPARED, step="generate") == [
        ("b", Decimal("0.9"), 1, 1),
        ("a", Decimal("0.6"), 2, Decimal("0.5")),
    ]
    ((model, quality, runs, rate),) = ask(database, COMPARED, step="review")
    assert (model, quality, runs, round(rate, 4)) == ("r", Decimal("0.7"), 3, Decimal("0.6667"))
    assert ask(database, COMPARED, step="research") == [(None, Decimal("0.7"), 3, rate)]


def test_a_step_that_has_no_model_of_its_own_is_an_error(database: Engine) -> None:
    with pytest.raises(DBAPIError, match="but research, generate or review is meant"):
        ask(database, COMPARED, step="refine")
