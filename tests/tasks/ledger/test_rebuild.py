"""The counters of budgets are what the calls come to, and are made so again where they are not."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tasks.ledger.calls import complete
from tasks.ledger.rebuild import rebuild_usage
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
# gpt-4o-mini: 0.15 USD for a million tokens of input, 0.60 for a million of output.
CALL_USD = 10 * Decimal("0.15e-6") + 100 * Decimal("0.60e-6")
COUNTERS = "SELECT * FROM budget_usage ORDER BY 1, 2, 3, 4"
SPOIL = "UPDATE budget_usage SET spent_usd = spent_usd + 7 WHERE scope_kind = 'project' AND period = 'day'"
cheap = pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 10, "completion_tokens": 100}))


async def ask(number: int, user: str | None = None) -> None:
    """A question of its own."""
    await complete(f"Question {number}?", model=MODEL, user=user)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(
    faults={1: "500", 2: "reset"}, respond=lambda _: Reply("yes", usage={"prompt_tokens": 10, "completion_tokens": 100})
)
async def test_counters_that_are_right_stay_as_they_are(ledger: Ledger, look: Look) -> None:
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})):
        await ask(0, "ada")  # fails, is lost, is answered
        await ask(0, "ada")  # a replay
        await ask(1)
    before = look(COUNTERS)
    rebuilt = await rebuild_usage()
    assert (rebuilt.counters, rebuilt.differences) == (5, ())
    assert look(COUNTERS) == before
    assert {(row.scope_kind, row.period) for row in before} == {
        ("project", "day"), ("project", "month"), ("run", "total"), ("user", "day"), ("user", "month"),
    }  # fmt: skip


@cheap
async def test_counters_that_are_wrong_or_lost_are_made_anew_with_calls_in_flight(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await ask(0, "ada")
    provider.hold()
    in_flight = asyncio.create_task(ask(1, "ada"))
    await provider.held(1)
    right = look(COUNTERS)
    reserved = look("SELECT reserved_usd FROM llm_requests WHERE status = 'reserved'")[0].reserved_usd
    look("UPDATE budget_usage SET spent_usd = 7, reserved_usd = 1 WHERE scope_kind = 'project' AND period = 'day'")
    look("DELETE FROM budget_usage WHERE scope_kind = 'user' AND period = 'month'")
    look("INSERT INTO budget_usage VALUES ('project', 'nobody', 'day', '2026-01-01', 2, 3)")
    rebuilt = await rebuild_usage()
    (wrong, stray, lost) = rebuilt.differences
    assert (wrong.scope_id, wrong.spent_before_usd, wrong.reserved_before_usd) == ("default", 7, 1)
    assert (wrong.spent_usd, wrong.reserved_usd) == (CALL_USD, reserved)
    assert (stray.scope_id, stray.spent_usd, stray.reserved_usd) == ("nobody", 0, 0)
    assert (lost.scope_kind, lost.period, lost.spent_before_usd, lost.spent_usd) == ("user", "month", 0, CALL_USD)
    assert look("SELECT * FROM budget_usage WHERE scope_id <> 'nobody' ORDER BY 1, 2, 3, 4") == right
    provider.release()
    await in_flight
    assert look("SELECT DISTINCT reserved_usd, spent_usd FROM budget_usage WHERE scope_id <> 'nobody'") == [
        (0, 2 * CALL_USD)
    ]
    assert (await rebuild_usage()).differences == ()


@cheap
async def test_a_rebuild_amid_calls_finds_what_is_wrong_and_nothing_else(ledger: Ledger, look: Look) -> None:
    calls = [asyncio.create_task(ask(number, f"user {number % 20}")) for number in range(300)]
    while not all(task.done() for task in calls):
        assert (await rebuild_usage()).differences == ()
        await asyncio.to_thread(look, SPOIL)  # the calls go on, and may hold that row
        put_right = (await rebuild_usage()).differences
        assert {item.spent_before_usd - item.spent_usd for item in put_right} <= {7}
        assert {item.reserved_before_usd - item.reserved_usd for item in put_right} <= {0}
    await asyncio.gather(*calls)
    assert look("SELECT period, reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' ORDER BY 1") == [
        ("day", 0, 300 * CALL_USD),
        ("month", 0, 300 * CALL_USD),
    ]
    assert (await rebuild_usage()).differences == ()


@cheap
async def test_of_rebuilds_at_once_one_puts_a_counter_right(ledger: Ledger, look: Look) -> None:
    await ask(0)
    look("UPDATE budget_usage SET reserved_usd = 3 WHERE period = 'month'")
    rebuilds = await asyncio.gather(*(rebuild_usage() for _ in range(3)))
    assert sorted(len(item.differences) for item in rebuilds) == [0, 0, 1]
    assert look("SELECT DISTINCT reserved_usd, spent_usd FROM budget_usage") == [(0, CALL_USD)]


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 2**40, "completion_tokens": 1}))
async def test_what_was_answered_without_a_credible_usage_keeps_its_worst_case(ledger: Ledger, look: Look) -> None:
    await ask(0)
    (row,) = look("SELECT cost_usd, reserved_usd FROM llm_requests")
    assert row.cost_usd is None
    assert look("SELECT DISTINCT spent_usd FROM budget_usage") == [(row.reserved_usd,)]
    assert (await rebuild_usage()).differences == ()
