"""Requests of one user, counted in Postgres by all processes together."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from schemas.errors import BudgetExceeded, RateLimited
from schemas.settings import Settings
from tasks.ledger.calls import complete, embed
from tasks.ledger.limits import set_budgets
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.user_windows import UserWindow
from tests.conftest import Environment
from tests.scripted_provider import Fault, ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess
from tests.tasks.ledger.turned_clock import TurnedClock, settle

MODEL = "gpt-4o-mini"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A_MINUTE_LATER = "UPDATE rate_windows SET admitted = ARRAY(SELECT unnest(admitted) - interval '60 s')"
ADMITTED = "SELECT user_id, cardinality(admitted) FROM rate_windows ORDER BY user_id"

WALL = """
    CREATE FUNCTION stay_below_the_limit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM unnest(NEW.admitted) AS moment,
                   LATERAL (SELECT count(*) AS n FROM unnest(NEW.admitted) AS other
                            WHERE other > moment - interval '60 s' AND other <= moment) AS minute
                   WHERE n > 20) THEN
            RAISE EXCEPTION '% made more than 20 requests in a minute', NEW.user_id;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER wall BEFORE INSERT OR UPDATE ON rate_windows
        FOR EACH ROW EXECUTE FUNCTION stay_below_the_limit();
"""


def seconds(*moments: float) -> list[datetime]:
    """Moments so many seconds before noon."""
    return [NOON - timedelta(seconds=moment) for moment in moments]


def test_there_is_room_again_when_the_oldest_request_that_matters_is_a_minute_old() -> None:
    window = UserWindow(seconds(70, 60, 59, 30, 10), NOON)
    assert [window.seconds_until_room(limit) for limit in (5, 4, 3, 2, 1)] == [0, 0, 1, 30, 50]
    window.added = 1
    assert [window.seconds_until_room(limit) for limit in (5, 4, 3, 2, 1)] == [0, 1, 30, 50, 60]


@pytest.mark.scripted(keep_bodies=False)
async def test_four_processes_together_make_as_many_requests_a_minute_as_one_user_may(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look, start_process: StartProcess
) -> None:
    environment(HEADRACE_LIMIT_WAIT_SECONDS=0)
    look(WALL)
    for minute in range(2):
        first = 1000 * minute
        workers = [start_process("ask_for", user="ada", first=first + 100 * n, count=40) for n in range(4)]
        outcomes: Counter[str] = Counter()
        for worker in workers:
            said = worker.line()
            outcomes.update(said["outcomes"])
            assert all(0 < wait <= 60 + 60 * 40 // 20 for wait in said["told"])
        assert outcomes == {"answered": 20, "rate_limited": 140}
        assert look(ADMITTED) == [("ada", 20)]
        look(A_MINUTE_LATER)
    assert provider.paid == 40
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("succeeded", 40)]
    assert look("SELECT sum(reserved_usd) FROM budget_usage") == [(0,)]
    assert look("SELECT count(*) FROM answers WHERE status = 'claimed'") == [(0,)]


@pytest.fixture
async def hurried(environment: Environment, settings: Settings) -> Settings:
    """Two requests a minute, and no waiting."""
    return environment(HEADRACE_USER_REQUESTS_PER_MINUTE=2, HEADRACE_LIMIT_WAIT_SECONDS=0)


async def ask(ledger: Ledger, name: str, user: str | None = "ada") -> str:
    """One question."""
    return (await complete(f"{name}?", model=MODEL, user=user)).text


async def test_a_request_too_many_is_refused_with_the_seconds_to_wait_and_leaves_nothing(
    hurried: Settings, provider: ScriptedProvider, look: Look
) -> None:
    async with open_ledger(hurried) as ledger:
        await ask(ledger, "a")
        await ask(ledger, "b")
        with pytest.raises(RateLimited, match=r"user 'ada' may make 2 requests a minute") as refused:
            await ask(ledger, "c")
        assert refused.value.retry_after is not None
        assert 1 <= refused.value.retry_after <= 60
        assert refused.value.details["limit"] == "user"
        assert look("SELECT count(*) FROM llm_requests") == [(2,)]
        assert look("SELECT count(*) FROM answers") == [(2,)]
        await ask(ledger, "c", user="bob")
        await ask(ledger, "d", user=None)
        look(A_MINUTE_LATER)
        await ask(ledger, "c")
    assert look(ADMITTED) == [("ada", 1), ("bob", 1)]
    assert provider.paid == 5


async def test_a_stored_answer_is_replayed_to_a_user_who_may_ask_no_more(
    hurried: Settings, provider: ScriptedProvider, look: Look
) -> None:
    async with open_ledger(hurried) as ledger:
        first = await ask(ledger, "a")
        await ask(ledger, "b")
        for _ in range(5):
            assert await ask(ledger, "a") == first
    assert look(ADMITTED) == [("ada", 2)]
    assert provider.paid == 2


async def test_embeddings_of_a_user_are_one_request_however_many_texts_and_replayed_for_that_user_alone(
    hurried: Settings, provider: ScriptedProvider, look: Look
) -> None:
    model = "text-embedding-3-small"
    async with open_ledger(hurried):
        first = await embed([f"text {n}" for n in range(50)], model=model, user="ada")
        again = await embed([f"text {n}" for n in range(50)], model=model, user="ada")
        assert (first.replayed, again.replayed) == (False, True)
        assert not (await embed([f"text {n}" for n in range(50)], model=model, user="bob")).replayed
        await embed(["another"], model=model, user="ada")
        with pytest.raises(RateLimited, match="user 'ada' may make 2 requests a minute"):
            await embed(["a third"], model=model, user="ada")
        await embed(["a third"], model=model)
    assert look(ADMITTED) == [("ada", 2), ("bob", 1)]
    assert look("SELECT user_id, status, count(*) FROM llm_requests GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("ada", "replayed", 1), ("ada", "succeeded", 2), ("bob", "succeeded", 1), (None, "succeeded", 1),
    ]  # fmt: skip
    assert len(provider.log) == 4


async def test_embeddings_of_a_user_are_paid_from_that_user_s_budget(
    settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    await set_budgets(user="ada", day="0.0000001")
    with pytest.raises(BudgetExceeded, match="day budget of user 'ada'"):
        await embed(["a text of several words"], model="text-embedding-3-small", user="ada")
    assert len(provider.log) == 0
    paid = await embed(["a text of several words"], model="text-embedding-3-small", user="bob")
    assert look(
        "SELECT scope_id, spent_usd FROM budget_usage WHERE scope_kind = 'user' AND period = 'day' AND spent_usd > 0"
    ) == [("bob", paid.cost_usd)]


@pytest.mark.scripted(faults={1: "429", 2: "500"})
async def test_embeddings_that_are_tried_again_are_one_request(hurried: Settings, look: Look, no_pauses: None) -> None:
    async with open_ledger(hurried):
        await embed(["a", "b"], model="text-embedding-3-small", user="ada")
    assert look("SELECT attempt, status, user_id FROM llm_requests ORDER BY id") == [
        (1, "failed", "ada"), (2, "failed", "ada"), (3, "succeeded", "ada"),
    ]  # fmt: skip
    assert look(ADMITTED) == [("ada", 1)]


async def test_zero_is_no_limit(environment: Environment, settings: Settings, look: Look) -> None:
    unlimited = environment(HEADRACE_USER_REQUESTS_PER_MINUTE=0)
    async with open_ledger(unlimited) as ledger:
        await asyncio.gather(*(ask(ledger, str(n)) for n in range(25)))
    assert look("SELECT FROM rate_windows") == []


def test_the_older_variable_is_understood(environment: Environment) -> None:
    assert environment().user_requests_per_minute == 20
    assert environment(MAX_REQUESTS_PER_MINUTE=7).user_requests_per_minute == 7
    assert environment(HEADRACE_USER_REQUESTS_PER_MINUTE=9).user_requests_per_minute == 9


@pytest.mark.scripted(faults={1: Fault("status", status=500), 2: Fault("status", status=500)})
async def test_a_request_that_is_tried_again_is_one_request(
    hurried: Settings, provider: ScriptedProvider, look: Look, no_pauses: None
) -> None:
    async with open_ledger(hurried) as ledger:
        await ask(ledger, "a")
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1") == [("failed", 2), ("succeeded", 1)]
    assert look(ADMITTED) == [("ada", 1)]


async def waiting(clock: TurnedClock, count: int) -> None:
    """So many calls wait for their turn."""
    while clock.waiting < count:
        await settle()


async def test_those_who_wait_are_served_in_order_and_hold_nothing_meanwhile(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    patient = environment(HEADRACE_USER_REQUESTS_PER_MINUTE=2, HEADRACE_PARALLEL_CALLS=1)
    async with open_ledger(patient) as ledger:
        clock = ledger.rate_limits.clock = TurnedClock()
        await ask(ledger, "a")
        await ask(ledger, "b")
        calls = []
        for number, name in enumerate("cdefg", start=1):
            calls.append(asyncio.create_task(ask(ledger, name)))
            await waiting(clock, number)
        assert look("SELECT sum(reserved_usd) FROM budget_usage") == [(0,)]
        assert look("SELECT count(*) FROM answers WHERE status = 'claimed'") == [(0,)]
        await ask(ledger, "somebody else's", user="bob")  # the one place in flight is free
        assert (await complete("a?", model=MODEL, user="ada")).replayed
        calls[2].cancel()
        for minute in range(2):
            look(A_MINUTE_LATER)
            await clock.turn(60)
            await asyncio.wait(calls[: 2 + 3 * minute])
        await asyncio.wait(calls)
    asked = [served.body["messages"][0]["content"] for served in provider.log]
    assert asked == ["a?", "b?", "somebody else's?", "c?", "d?", "f?", "g?"]
    assert calls[2].cancelled()
    assert clock.waiting == 0


async def test_the_bound_on_waiting_is_kept(environment: Environment, settings: Settings, look: Look) -> None:
    bounded = environment(HEADRACE_USER_REQUESTS_PER_MINUTE=1, HEADRACE_LIMIT_WAIT_SECONDS=10)
    async with open_ledger(bounded) as ledger:
        clock = ledger.rate_limits.clock = TurnedClock()
        await ask(ledger, "a")
        calls = []
        for number, name in enumerate("bc", start=1):
            calls.append(asyncio.create_task(ask(ledger, name)))
            await waiting(clock, number)
        await clock.turn(9.9)
        assert not any(call.done() for call in calls)
        await clock.turn(0.2)
        for call in calls:
            error = call.exception()
            assert isinstance(error, RateLimited)
            assert error.retry_after is not None
            assert 40 < error.retry_after <= 50
    assert look(ADMITTED) == [("ada", 1)]
