"""Soft limits: said once a period, kept on record, never in the way; and budgets of runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from schemas.errors import BadInput, BudgetExceeded, NotFound
from schemas.identifiers import new_id
from schemas.settings import Settings
from tasks.ledger.alerts import BudgetAlert, on_budget_alert
from tasks.ledger.calls import complete
from tasks.ledger.limits import list_budgets, set_budgets
from tasks.ledger.runs import RunRequest, open_run, resuming
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess
from tests.tasks.ledger.test_budgets import CALL_USD, clock, worst_case  # noqa: F401 - a fixture

MODEL = "gpt-4o-mini"
cheap = pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 10, "completion_tokens": 100}))
REQUEST = RunRequest(flow="f", subject="s", project="default", parameters={})


@pytest.fixture
def heard() -> Iterator[list[BudgetAlert]]:
    """The alerts of this process, as a channel would hear them."""
    alerts: list[BudgetAlert] = []
    stop = on_budget_alert(alerts.append)
    yield alerts
    stop()


async def ask(number: int, **more: object) -> Decimal | None:
    """A question of its own; returns its cost."""
    return (await complete(f"Question {number}?", model=MODEL, **more)).cost_usd  # type: ignore[arg-type]


# --- alerts ---


@cheap
async def test_a_soft_limit_is_said_once_when_it_is_reached_and_refuses_nothing(
    ledger: Ledger, look: Look, heard: list[BudgetAlert], caplog: pytest.LogCaptureFixture
) -> None:
    await set_budgets(warn_day=str(2 * CALL_USD))
    await ask(0)
    assert heard == []
    with caplog.at_level(logging.WARNING, logger="tasks.ledger.alerts"):
        await ask(1)
        await ask(2)
    (alert,) = heard
    today = datetime.now(UTC).date()
    assert (alert.scope_kind, alert.scope_id, alert.period, alert.period_start) == ("project", "default", "day", today)
    assert (alert.warn_usd, alert.spent_usd) == (2 * CALL_USD, 2 * CALL_USD)
    assert [record.getMessage() for record in caplog.records] == [
        f"soft limit reached: the project 'default' has spent 0.000123 USD in the day that began on {today}; "
        "it was to be said at 0.000123"
    ]
    (row,) = look("SELECT * FROM budget_alerts")
    assert (row.spent_usd, row.alerted_at.date()) == (2 * CALL_USD, today)
    (state,) = await list_budgets()
    assert (state.limit_usd, state.warn_usd, state.warned_at) == (None, 2 * CALL_USD, row.alerted_at)
    assert state.spent_usd == 3 * CALL_USD


@cheap
async def test_a_soft_limit_is_said_once_however_many_processes_reach_it(
    ledger: Ledger, look: Look, start_process: StartProcess
) -> None:
    await set_budgets(warn_day=str(20 * CALL_USD), warn_month=str(20 * CALL_USD))
    workers = [start_process("ask_many", first=20 * n, count=20, workers=4, max_tokens=200) for n in range(3)]
    assert [worker.line() for worker in workers] == [{"answered": 20}] * 3
    rows = look("SELECT period, spent_usd FROM budget_alerts ORDER BY 1")
    assert [row.period for row in rows] == ["day", "month"]
    assert all(20 * CALL_USD <= row.spent_usd <= 60 * CALL_USD for row in rows)


@cheap
async def test_a_new_day_is_said_anew(
    ledger: Ledger,
    heard: list[BudgetAlert],
    clock,  # type: ignore[no-untyped-def]  # noqa: F811
) -> None:
    await set_budgets(warn_day="0")
    clock(datetime(2026, 3, 31, 23, 59, tzinfo=UTC))
    await ask(0)
    await ask(1)
    clock(datetime(2026, 4, 1, 0, 1, tzinfo=UTC))
    await ask(2)
    assert [alert.period_start.isoformat() for alert in heard] == ["2026-03-31", "2026-04-01"]


@cheap
async def test_a_soft_limit_that_is_raised_is_said_again_when_that_is_reached(
    ledger: Ledger, heard: list[BudgetAlert]
) -> None:
    await set_budgets(user="ada", warn_month=str(CALL_USD))
    await ask(0, user="ada")
    await set_budgets(user="ada", warn_month=str(3 * CALL_USD))
    await ask(1, user="ada")
    await ask(2, user="ada")
    assert [(alert.scope_id, alert.spent_usd) for alert in heard] == [("ada", CALL_USD), ("ada", 3 * CALL_USD)]


@cheap
async def test_a_soft_limit_of_0_waits_for_something_to_be_spent(
    ledger: Ledger, provider: ScriptedProvider, heard: list[BudgetAlert]
) -> None:
    await set_budgets(warn_day="0")
    provider.hold()
    call = asyncio.create_task(ask(0))
    await provider.held(1)
    assert heard == []
    provider.release()
    await call
    assert [alert.spent_usd for alert in heard] == [CALL_USD]


@cheap
async def test_the_worst_case_of_a_lost_call_reaches_a_soft_limit(
    ledger: Ledger, provider: ScriptedProvider, look: Look, heard: list[BudgetAlert]
) -> None:
    await set_budgets(warn_day=str(await worst_case()))
    provider.hold()
    lost = asyncio.create_task(ask(0))
    await provider.held(1)
    dead = "00000000-0000-7000-8000-00000000000a"
    look("INSERT INTO workers VALUES (:id, 'another host', 1, 0, now() - interval '1 hour')", id=dead)
    look("UPDATE llm_requests SET worker_id = :id", id=dead)
    await ledger.worker.look_for_dead(at_once=True)
    assert [alert.spent_usd for alert in heard] == [await worst_case()]
    provider.release()
    await lost


@cheap
async def test_a_listener_that_fails_keeps_no_call_and_no_other_listener_from_its_work(
    ledger: Ledger, heard: list[BudgetAlert], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: BudgetAlert) -> None:
        raise OSError("the channel is down")

    await set_budgets(warn_day="0")
    stop = on_budget_alert(fail)
    again: list[BudgetAlert] = []
    stop_again = on_budget_alert(again.append)
    assert await ask(0) == CALL_USD
    stop()
    stop_again()
    assert len(heard) == len(again) == 1
    assert "a listener failed to pass on: the project 'default' has spent" in caplog.text


# --- what is set ---


async def test_hard_and_soft_limits_are_set_apart_from_each_other(ledger: Ledger) -> None:
    await set_budgets(day="5", warn_day="4")
    (state,) = await set_budgets(day="6")
    assert (state.limit_usd, state.warn_usd) == (6, 4)
    (state,) = await set_budgets(day="none")
    assert (state.limit_usd, state.warn_usd) == (None, 4)
    assert await set_budgets(warn_day="none") == []
    assert await set_budgets(day="none") == []


async def test_a_soft_limit_above_the_hard_one_is_bad_input_and_changes_nothing(ledger: Ledger) -> None:
    await set_budgets(day="5")
    with pytest.raises(BadInput, match=r"--warn-day of 6.* is above the limit of 5.* would never be reached"):
        await set_budgets(warn_day="6")
    (state,) = await list_budgets()
    assert (state.limit_usd, state.warn_usd) == (5, None)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"total": "5"}, "the budget of a project is for its day or month: --total does not go with it"),
        ({"run": new_id(), "day": "5"}, "the budget of a run is for its total: --day does not go with it"),
        ({"run": new_id(), "user": "ada", "day": "5"}, "not for both at once"),
        ({"run": new_id()}, "give --total, in US dollars"),
        ({"warn_month": "five"}, "--warn-month 'five' is no amount of US dollars"),
    ],
)
async def test_limits_that_cannot_be_are_bad_input(ledger: Ledger, said: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        await set_budgets(**said)  # type: ignore[arg-type]


async def test_a_run_that_does_not_exist_has_no_budget(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="there is no run"):
        await set_budgets(run=new_id(), total="5")
    assert await list_budgets() == []


@cheap
async def test_limits_that_are_not_set_are_listed_as_that(ledger: Ledger) -> None:
    await ask(0, project="spender")
    await set_budgets(user="ada", day="1")
    listed = [(item.scope_id, item.period, item.limit_usd) for item in await list_budgets(unset=True)]
    assert listed == [
        ("default", "day", None), ("default", "month", None), ("spender", "day", None), ("spender", "month", None),
        ("ada", "day", 1), ("ada", "month", None),
    ]  # fmt: skip


# --- runs ---


async def run_until_refused(first: int, resume: UUID | None = None) -> UUID:
    """A run, or one that goes on, which asks until a budget refuses."""
    resuming.set(resume)
    with pytest.raises(BudgetExceeded) as refusal:
        await ask_in_a_run(first)
    return UUID(refusal.value.details["run_id"])


async def ask_in_a_run(first: int) -> None:
    """Ten questions of a run."""
    async with open_run(REQUEST):
        for number in range(first, first + 10):
            await ask(number)


@cheap
async def test_every_new_run_may_be_given_a_budget(environment: Environment, settings: Settings, look: Look) -> None:
    limit = CALL_USD + await worst_case("Question 10?")
    environment(HEADRACE_RUN_BUDGET_USD=str(limit))
    async with open_ledger():
        first = await run_until_refused(0)
        second = await run_until_refused(10)
        assert {state.scope_id: state.spent_usd for state in await list_budgets()} == {
            str(first): 2 * CALL_USD,
            str(second): 2 * CALL_USD,
        }
    assert look("SELECT DISTINCT limit_usd FROM budgets") == [(limit,)]


@cheap
async def test_a_run_s_budget_counts_what_it_spent_before_the_budget_was_set(ledger: Ledger) -> None:
    await set_budgets(day=str(CALL_USD + await worst_case()))
    run = await run_until_refused(0)
    await set_budgets(day="none")
    worst = await worst_case("Question 10?")
    (state,) = await set_budgets(run=run, total=str(2 * CALL_USD + worst), warn_total=str(3 * CALL_USD))
    assert (state.scope_kind, state.period, state.spent_usd) == ("run", "total", 2 * CALL_USD)
    assert await run_until_refused(10, resume=run) == run
    (state,) = await list_budgets()
    assert (state.spent_usd, state.warned_at is not None) == (3 * CALL_USD, True)
