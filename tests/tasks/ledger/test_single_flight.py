"""Equal calls in flight: one is paid for, the others wait for it, whoever they belong to."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

import pytest

from schemas.identifiers import new_id
from schemas.settings import Settings
from tasks.ledger.calls import complete, estimate_cost
from tasks.ledger.session import Ledger
from tasks.ledger.workers import bury_dead_workers
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

MODEL = "gpt-4o-mini"
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"


async def worst_case() -> Decimal:
    """What the question of these tests can cost at worst."""
    usd = (await estimate_cost("Why?", model=MODEL)).usd
    assert usd
    return usd


async def test_64_equal_calls_of_one_process_are_paid_once(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    answers = await asyncio.gather(*(complete("Why?", model=MODEL) for _ in range(64)))
    assert provider.paid == 1
    assert len({answer.text for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 63
    assert len({answer.request_id for answer in answers}) == 64, "each use is on record"
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1") == [
        ("replayed", 63),
        ("succeeded", 1),
    ]


async def test_equal_calls_of_four_processes_are_paid_once(
    settings: Settings, provider: ScriptedProvider, look: Look, start_process: StartProcess
) -> None:
    provider.hold()
    workers = [start_process("ask_one", prompt="Why?", times=4) for _ in range(4)]
    for worker in workers:
        assert worker.line()["worker"]
    await provider.held(1)
    provider.release()
    said = [worker.line() for worker in workers]
    assert len({text for each in said for text in each["texts"]}) == 1
    assert sum(each["replayed"] for each in said) == 15
    assert provider.paid == 1
    assert len(provider.log) == 1
    assert look("SELECT count(*) FROM llm_requests WHERE status = 'succeeded'") == [(1,)]


async def test_what_a_killed_process_had_in_flight_is_unknown_counts_as_spent_and_is_answered_anew(
    settings: Settings, provider: ScriptedProvider, look: Look, start_process: StartProcess
) -> None:
    provider.hold()
    doomed = start_process("ask_one", prompt="Why?")
    doomed.line()
    await provider.held(1)
    doomed.kill()
    assert look("SELECT status FROM llm_requests") == [("reserved",)]
    assert look("SELECT lease_until > now() AS leased FROM workers") == [(True,)]
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(2)
    assert look("SELECT status, error_class FROM llm_requests ORDER BY id") == [
        ("unknown", "WorkerLost"),
        ("reserved", None),
    ]
    assert look(DAY) == [(await worst_case(), await worst_case())]
    provider.release()
    answer = await call
    assert not answer.replayed
    assert look(DAY) == [(0, await worst_case() + answer.cost_usd)]
    assert look("SELECT status, request_id FROM answers") == [("answered", answer.request_id)]


async def test_a_late_answer_of_a_worker_thought_dead_still_settles_and_corrects_the_budget(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    look("UPDATE workers SET lease_until = now() - interval '1 second'")  # as after a pause longer than the lease
    assert await bury_dead_workers(ledger.engine, new_id()) == 1
    assert look("SELECT status FROM llm_requests") == [("unknown",)]
    assert look("SELECT count(*) FROM answers") == [(0,)]
    assert look(DAY) == [(0, await worst_case())]
    provider.release()
    answer = await call
    assert look("SELECT status, cost_usd FROM llm_requests") == [("succeeded", answer.cost_usd)]
    assert look(DAY) == [(0, answer.cost_usd)]
    assert (await complete("Why?", model=MODEL)).replayed
    assert provider.paid == 1


@pytest.mark.parametrize("status", [200, 500])
async def test_a_late_outcome_does_not_disturb_whoever_took_the_claim_over(
    environment: Environment, database_url: str, look: Look, start_process: StartProcess, status: int
) -> None:
    second_may_answer = threading.Event()
    answers = iter(["first", "second"])

    async def respond(_: object) -> Reply | str:
        text = next(answers)
        if text == "second":
            await asyncio.to_thread(second_may_answer.wait, 30)
        elif status == 500:
            return Reply(status=500, body=b"{}")
        return text

    with ScriptedProvider(respond) as provider:
        environment(
            DATABASE_URL=database_url, OPENAI_API_KEY="k", OPENAI_BASE_URL=provider.url, HEADRACE_RETRY_ATTEMPTS=1
        )
        provider.hold()
        slow = asyncio.create_task(complete("Why?", model=MODEL))
        await provider.held(1)
        look("UPDATE workers SET host = 'another host', lease_until = now() - interval '1 second'")
        heir = start_process("ask_one", prompt="Why?")
        await provider.held(2)
        provider.release()
        await asyncio.wait([slow])
        claims = look("SELECT answers.status, request_id = (SELECT max(id::text)::uuid FROM llm_requests) FROM answers")
        assert claims == ([("claimed", True)] if status == 500 else [("answered", False)])
        second_may_answer.set()
        heir.line()
        assert heir.line() == {"texts": ["second"], "replayed": 0}
        assert (await complete("Why?", model=MODEL)).text == ("second" if status == 500 else "first")
    assert look("SELECT count(*) FROM answers") == [(1,)]
    assert look("SELECT reserved_usd FROM budget_usage WHERE reserved_usd <> 0") == []


async def test_a_claim_is_waited_for_as_long_as_its_worker_lives(
    settings: Settings, provider: ScriptedProvider, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.ledger.workers.LOOK_SECONDS", 0.0)
    provider.hold()
    first = start_process("ask_one", prompt="Why?")
    await provider.held(1)
    waiting = asyncio.create_task(complete("Why?", model=MODEL))
    done, _ = await asyncio.wait([waiting], timeout=0.5)  # it looks for the dead meanwhile
    assert not done
    provider.release()
    assert (await waiting).replayed
    first.line()
    assert first.line()["replayed"] == 0
    assert provider.paid == 1
