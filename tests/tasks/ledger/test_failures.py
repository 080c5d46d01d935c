"""Calls that fail: what is retried, what is on record, and what counts as spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.calls import Message
from schemas.errors import (
    BadInput,
    ConfigurationError,
    ContentRefused,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RetriesExhausted,
)
from schemas.settings import Settings
from tasks.ledger.calls import complete, estimate_cost
from tasks.ledger.operations import Operation, Settle
from tasks.ledger.retries import RetryPolicy
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Fault, Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
ATTEMPTS = "SELECT attempt, status, error_class FROM llm_requests ORDER BY id"
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"


async def worst_case() -> Decimal:
    """What the question of these tests can cost at worst."""
    usd = (await estimate_cost("Why?", model=MODEL)).usd
    assert usd
    return usd


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={1: "429", 2: "500", 3: "reset", 4: "503"})
async def test_each_attempt_is_a_row_and_the_last_one_answers(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    answer = await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [
        (1, "failed", "RateLimited"),
        (2, "failed", "ProviderUnavailable"),
        (3, "unknown", "ProviderTimeout"),
        (4, "failed", "ProviderUnavailable"),
        (5, "succeeded", None),
    ]
    assert [served.number for served in provider.log] == [1, 2, 3, 4, 5]
    assert look("SELECT request_id FROM answers") == [(answer.request_id,)]
    assert look(DAY) == [(0, answer.cost_usd + await worst_case())], "the lost connection may have cost as well"


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={"500": 1.0})
async def test_retries_are_bounded_in_number(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    environment(HEADRACE_RETRY_ATTEMPTS=3)
    with pytest.raises(RetriesExhausted, match=r"gpt-4o-mini failed 3 times, last: .*status 500") as failure:
        await complete("Why?", model=MODEL)
    assert isinstance(failure.value.__cause__, ProviderUnavailable)
    assert failure.value.details == {"attempts": 3, "last": "provider_unavailable"}
    assert len(provider.log) == 3
    assert look("SELECT count(*) FROM answers") == [(0,)]
    assert look(DAY) == [(0, 0)]


@pytest.mark.scripted(faults={1: Fault("status", status=429, retry_after=3600)})
async def test_a_pause_longer_than_the_bound_in_seconds_is_not_begun(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    environment(HEADRACE_RETRY_SECONDS=60)
    with pytest.raises(RetriesExhausted, match="failed 1 times") as failure:
        await complete("Why?", model=MODEL)
    assert isinstance(failure.value.__cause__, RateLimited)
    assert failure.value.__cause__.retry_after == 3600
    assert len(provider.log) == 1


@pytest.mark.parametrize("error", [RateLimited("wait", retry_after=7), ProviderUnavailable("wait", retry_after=7)])
def test_the_pause_a_provider_asks_for_is_honoured_and_hardly_prolonged(error: Any) -> None:
    pauses = [RetryPolicy(5, 300).pause(1, 0, error) for _ in range(200)]
    assert all(pause is not None and 7 <= pause <= 7.7 for pause in pauses)
    assert len(set(pauses)) > 1, "callers must not return in step"


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (20, 30.0)])
def test_other_pauses_grow_to_a_bound_with_full_jitter(attempt: int, ceiling: float) -> None:
    pauses = [RetryPolicy(99, 300).pause(attempt, 0, ProviderTimeout("late")) for _ in range(500)]
    assert all(pause is not None and 0 <= pause <= ceiling for pause in pauses)
    assert max(pause or 0 for pause in pauses) > 0.8 * ceiling
    assert min(pause or 0 for pause in pauses) < 0.2 * ceiling


def test_no_pause_ends_beyond_the_bound_in_seconds() -> None:
    error = RateLimited("wait", retry_after=10)
    assert RetryPolicy(5, 300).pause(1, 288, error) is not None
    assert RetryPolicy(5, 300).pause(1, 291, error) is None


def test_the_last_attempt_is_followed_by_no_pause() -> None:
    error = ProviderUnavailable("down")
    assert RetryPolicy(2, 300).pause(1, 0, error) is not None
    assert RetryPolicy(2, 300).pause(2, 0, error) is None


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={1: "hang"})
async def test_a_call_without_an_answer_in_time_may_have_cost_its_worst_case(
    environment: Environment, settings: Settings, look: Look
) -> None:
    environment(HEADRACE_CALL_TIMEOUT_SECONDS=0.3)
    answer = await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [(1, "unknown", "ProviderTimeout"), (2, "succeeded", None)]
    assert look("SELECT cost_usd FROM llm_requests ORDER BY id")[0].cost_usd is None
    assert look(DAY) == [(0, await worst_case() + answer.cost_usd)]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", ["broken_json", "no_choices"])
async def test_an_unreadable_answer_may_have_cost_its_worst_case(
    environment: Environment, database_url: str, look: Look, fault: str
) -> None:
    with ScriptedProvider(faults={1: fault}) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="key", OPENAI_BASE_URL=provider.url)
        answer = await complete("Why?", model=MODEL)
        assert look(ATTEMPTS) == [(1, "unknown", "ProviderUnavailable"), (2, "succeeded", None)]
        assert look(DAY) == [(0, await worst_case() + answer.cost_usd)]


WITHHELD = {"prompt_tokens": 20, "completion_tokens": 10}


@pytest.mark.scripted(respond=lambda _: Reply(None, refusal="I will not", usage=WITHHELD))
async def test_a_withheld_answer_keeps_its_cost_and_is_not_replayed(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    for _ in range(2):
        with pytest.raises(ContentRefused, match="withheld the answer"):
            await complete("Why?", model=MODEL)
    assert provider.paid == 2
    cost = 20 * Decimal("0.15e-6") + 10 * Decimal("0.60e-6")
    assert look("SELECT status, cost_usd, output_tokens FROM llm_requests") == [("failed", cost, 10)] * 2
    assert look(DAY) == [(0, 2 * cost)]
    assert look("SELECT count(*) FROM answers") == [(0,)]


@pytest.mark.scripted(api_key="the right one")
async def test_a_wrong_key_is_a_matter_of_configuration(ledger: Ledger, provider: ScriptedProvider, look: Look) -> None:
    with pytest.raises(ConfigurationError, match="does not accept the key in OPENAI_API_KEY"):
        await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [(1, "failed", "AuthenticationFailed")]
    assert look(DAY) == [(0, 0)]
    assert len(provider.log) == 1


@pytest.mark.scripted(models=["gpt-4o"])
async def test_an_unknown_model_is_a_matter_of_configuration(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    with pytest.raises(ConfigurationError, match="has no model gpt-4o-mini"):
        await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [(1, "failed", "ModelNotFound")]
    assert len(provider.log) == 1


async def test_a_local_model_that_does_not_exist_leaves_no_row(ledger: Ledger, look: Look) -> None:
    with pytest.raises(ConfigurationError, match="no local model local/nothing"):
        await complete("Why?", model="local/nothing")
    assert look(ATTEMPTS) == []


@pytest.mark.scripted(context_window=100)
async def test_bad_input_is_not_tried_again(ledger: Ledger, provider: ScriptedProvider, look: Look) -> None:
    with pytest.raises(BadInput, match="does not fit the context window"):
        await complete([Message(role="user", content="word " * 500)], model=MODEL)
    assert look(ATTEMPTS) == [(1, "failed", "ContextLengthExceeded")]
    assert len(provider.log) == 1
    assert look(DAY) == [(0, 0)]


async def test_a_call_cancelled_in_the_middle_may_have_cost_its_worst_case_and_frees_its_key(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    provider.release()
    answer = await complete("Why?", model=MODEL)
    assert not answer.replayed
    assert look(ATTEMPTS) == [(1, "unknown", "CancelledError"), (1, "succeeded", None)]
    assert look(DAY) == [(0, await worst_case() + answer.cost_usd)]


async def test_a_call_cancelled_while_it_reserves_leaves_no_reservation(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    with_lock = "SELECT pg_backend_pid() FROM budget_usage WHERE period = 'day' FOR UPDATE"
    first = await complete("First?", model=MODEL)
    async with ledger.engine.connect() as blocker:
        await blocker.exec_driver_sql(with_lock)  # the reservation waits for the budget's row
        call = asyncio.create_task(complete("Why?", model=MODEL))
        waiting = "SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"
        while (await asyncio.to_thread(look, waiting)) == [(0,)]:
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert look("SELECT count(*) FROM answers WHERE status = 'claimed'") == [(0,)]
        await blocker.rollback()
    second = await complete("Why?", model=MODEL)  # its key was claimed for a moment and is free again
    assert look(ATTEMPTS) == [(1, "succeeded", None), (1, "failed", "Withdrawn"), (1, "succeeded", None)]
    assert look(DAY) == [(0, first.cost_usd + second.cost_usd)]
    assert len(provider.log) == 2


async def test_a_defect_below_us_is_settled_too(ledger: Ledger, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    async def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ledger.providers, "chat", defect)
    with pytest.raises(ZeroDivisionError):
        await complete("Why?", model=MODEL)
    monkeypatch.undo()
    assert not (await complete("Why?", model=MODEL)).replayed
    assert look(ATTEMPTS) == [(1, "unknown", "ZeroDivisionError"), (1, "succeeded", None)]
    assert look("SELECT error_message FROM llm_requests ORDER BY id")[0] == ("interrupted",)


async def test_an_answer_that_cannot_be_stored_counts_as_unknown_and_holds_nothing(ledger: Ledger, look: Look) -> None:
    look("ALTER TABLE llm_bodies ADD CONSTRAINT small CHECK (length(response) < 10)")
    with pytest.raises(Exception, match="CheckViolation"):
        await complete("Why?", model=MODEL)
    look("ALTER TABLE llm_bodies DROP CONSTRAINT small")
    answer = await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [(1, "unknown", "OutcomeLost"), (1, "succeeded", None)]
    assert look(DAY) == [(0, await worst_case() + answer.cost_usd)]


TROUBLE = {"429": 0.3, "500": 0.1, "hang": 0.05, "broken_json": 0.05, "reset": 0.05, "lost_answer": 0.05}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults=TROUBLE, seed=3)
async def test_with_a_provider_in_trouble_rows_and_money_agree_with_what_it_did(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    environment(HEADRACE_CALL_TIMEOUT_SECONDS=2, HEADRACE_RETRY_ATTEMPTS=4)
    async with open_ledger():
        calls = (complete(f"Question {n:03d}?", model=MODEL) for n in range(150))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert all(isinstance(outcome, RetriesExhausted) for outcome in outcomes if outcome not in answered)
    assert 100 < len(answered) < 150
    totals = (
        "SELECT status, count(*) AS made, sum(cost_usd) AS usd, sum(reserved_usd) AS held FROM llm_requests GROUP BY 1"
    )
    rows = {row.status: row for row in look(totals)}
    assert sum(row.made for row in rows.values()) == len(provider.log), "each attempt is a row"
    assert rows["succeeded"].made == len(answered)
    assert 0 < provider.paid - len(answered) <= rows["unknown"].made, "what was paid and did not arrive is not known"
    assert look(DAY) == [(0, rows["succeeded"].usd + rows["unknown"].held)]
    assert look("SELECT status, count(*) FROM answers GROUP BY 1") == [("answered", len(answered))]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(faults={2: "500"})
async def test_the_wait_for_a_turn_is_not_counted_against_the_provider(
    environment: Environment,
    settings: Settings,
    provider: ScriptedProvider,
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("tasks.ledger.gateway.time", SimpleNamespace(monotonic=lambda: clock.now))
    environment(HEADRACE_PARALLEL_CALLS=1, HEADRACE_RETRY_SECONDS=60)
    async with open_ledger():
        provider.hold()
        calls = [asyncio.create_task(complete(f"Question {n}?", model=MODEL)) for n in range(2)]
        await provider.held(1)
        clock.now = 1000.0  # the second call has waited longer than it may be retried
        provider.release()
        await asyncio.gather(*calls)
    assert [row.status for row in look(ATTEMPTS)] == ["succeeded", "failed", "succeeded"]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 12.5},
        {"cost": "free"},
        {"prompt_tokens_details": []},
        {"completion_tokens": "many", "total_tokens": 9},
    ],
)
async def test_an_answer_whose_usage_cannot_be_read_is_an_answer_that_may_have_cost_its_worst_case(
    environment: Environment, database_url: str, look: Look, usage: dict[str, Any]
) -> None:
    with ScriptedProvider(lambda _: Reply("Because.", usage=usage)) as provider:
        environment(DATABASE_URL=database_url, OPENAI_API_KEY="key", OPENAI_BASE_URL=provider.url)
        answer = await complete("Why?", model=MODEL)
        assert (answer.text, answer.usage, answer.cost_usd) == ("Because.", None, None)
        assert look(ATTEMPTS) == [(1, "succeeded", None)]
        assert look(DAY) == [(0, await worst_case())]
        assert provider.paid == 1


@pytest.mark.scripted(
    respond=lambda _: Reply("Yes.", usage={"prompt_tokens_details": {"cache_write_tokens": -(10**9)}})
)
async def test_a_count_below_zero_gives_no_money_back(ledger: Ledger, look: Look) -> None:
    answer = await complete("Why?", model=MODEL)
    assert answer.cost_usd is None
    assert look(DAY) == [(0, await worst_case())]


async def test_a_call_cancelled_before_its_reservation_is_begun_leaves_no_row(ledger: Ledger, look: Look) -> None:
    async with ledger.engine.connect() as blocker:
        await complete("First?", model=MODEL)
        await blocker.exec_driver_sql("SELECT FROM budget_usage FOR UPDATE")
        waiting = "SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"
        begun = []
        for number in (1, 2):  # one in each lane of the recorder
            begun.append(asyncio.create_task(complete(f"Begun {number}?", model=MODEL)))
            while (await asyncio.to_thread(look, waiting)) != [(number,)]:
                assert not begun[-1].done()
        queued = asyncio.create_task(complete("Queued?", model=MODEL))
        for _ in range(20):  # it comes as far as the recorder, which is busy
            await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        await blocker.rollback()
        await asyncio.gather(*begun)
    assert look(ATTEMPTS) == [(1, "succeeded", None)] * 3


@pytest.mark.scripted(faults={1: "hang"})
async def test_that_an_outcome_was_lost_does_not_hide_what_it_was(
    environment: Environment, settings: Settings, look: Look
) -> None:
    environment(HEADRACE_CALL_TIMEOUT_SECONDS=0.05, HEADRACE_RETRY_ATTEMPTS=1)
    async with open_ledger() as ledger:
        record = ledger.recorder.record

        async def unheard(operation: Operation, *, otherwise: Callable[[], Operation] | None = None) -> Any:
            outcome = await record(operation)
            if isinstance(operation, Settle) and otherwise is not None:
                ledger.recorder.record_soon(otherwise())  # as when the caller is cancelled just then
            return outcome

        ledger.recorder.record = unheard  # type: ignore[method-assign]
        with pytest.raises(RetriesExhausted):
            await complete("Why?", model=MODEL)
    assert look(ATTEMPTS) == [(1, "unknown", "ProviderTimeout")]


@pytest.mark.parametrize("name", ["project", "user", "purpose", "model"])
@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_a_name_that_cannot_be_stored_is_bad_input(ledger: Ledger, look: Look, name: str, text: str) -> None:
    named: dict[str, Any] = {"model": MODEL, name: text}
    with pytest.raises(BadInput, match=f"the {name} .* has a NUL or half a character in it"):
        await complete("Why?", **named)
    assert look(ATTEMPTS) == []
