"""One ledger for each event loop, opened by the first who asks and closed by the last who leaves."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from blocks.database import create_database, schema_revision
from blocks.embedded.stack import EmbeddedStack
from schemas.errors import ConfigurationError, DatabaseUnavailable
from schemas.settings import Settings
from schemas.tables import SCHEMA_REVISION
from tasks.ledger.calls import complete
from tasks.ledger.flights import Flights
from tasks.ledger.session import open_ledger, ready_database
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"


async def test_whoever_asks_within_gets_the_same_ledger(settings: Settings, look: Look) -> None:
    async with open_ledger() as outer:
        async with open_ledger() as inner, open_ledger(settings) as third:
            assert inner is outer
            assert third is outer
        assert look("SELECT count(*) FROM workers WHERE lease_until > now()") == [(1,)]
    assert look("SELECT count(*) FROM workers WHERE lease_until > now()") == [(0,)]


async def test_the_last_who_leaves_closes_it(settings: Settings, look: Look) -> None:
    first_left, second_came = asyncio.Event(), asyncio.Event()

    async def first() -> object:
        async with open_ledger() as ledger:
            await second_came.wait()
        first_left.set()
        return ledger

    async def second() -> object:
        async with open_ledger() as ledger:
            second_came.set()
            await first_left.wait()
            await complete("Why?", model=MODEL)
            return ledger

    ledgers = await asyncio.gather(first(), second())
    assert ledgers[0] is ledgers[1]
    assert look("SELECT count(*), bool_and(lease_until < now()) AS over FROM workers") == [(1, True)]


async def test_after_it_was_closed_another_is_opened(settings: Settings, look: Look) -> None:
    async with open_ledger() as first:
        pass
    async with open_ledger() as second:
        assert second is not first
    assert look("SELECT count(*) FROM workers") == [(2,)]


async def test_a_task_that_outlives_the_ledger_it_was_born_in_opens_its_own(settings: Settings) -> None:
    closed = asyncio.Event()

    async def later() -> object:
        await closed.wait()
        async with open_ledger() as ledger:
            await complete("Why?", model=MODEL)
            return ledger

    async with open_ledger() as ledger:
        task = asyncio.create_task(later())
    closed.set()
    assert await task is not ledger


async def test_other_settings_are_another_ledger(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    async with open_ledger() as outer:
        other = environment(HEADRACE_PROJECT="another")
        async with open_ledger(other) as inner:
            assert inner is not outer
            assert inner.settings.project == "another"
            async with open_ledger() as innermost:
                assert innermost is inner
        async with open_ledger() as again:
            assert again is outer


def test_each_event_loop_has_its_own(settings: Settings, look: Look) -> None:
    together = threading.Barrier(3)

    async def work() -> int:
        async with open_ledger() as ledger:
            await asyncio.to_thread(together.wait, 30)
            await complete("Why?", model=MODEL)
            return id(ledger)

    with ThreadPoolExecutor(3) as threads:
        ledgers = {done.result() for done in [threads.submit(asyncio.run, work()) for _ in range(3)]}
    assert len(ledgers) == 3
    assert look("SELECT count(*) FROM workers") == [(3,)]
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1") == [
        ("replayed", 2),
        ("succeeded", 1),
    ]


async def test_whoever_stops_waiting_for_it_to_open_stops_nobody_else(settings: Settings) -> None:
    async def use() -> str:
        async with open_ledger():
            return (await complete("Why?", model=MODEL)).text

    impatient, patient = asyncio.create_task(use()), asyncio.create_task(use())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient
    assert impatient.cancelled()


async def test_a_ledger_that_nobody_waited_for_is_closed(settings: Settings, look: Look) -> None:
    async def use() -> None:
        async with open_ledger():
            raise AssertionError("it was waited for")

    impatient = asyncio.create_task(use())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    assert impatient.cancelled()
    assert look("SELECT FROM workers WHERE lease_until > now()") == []


async def test_a_database_with_an_old_schema_is_not_migrated_silently(
    settings: Settings, database: Engine, look: Look
) -> None:
    look("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(ConfigurationError, match="run `headrace db upgrade`"):
        async with open_ledger():
            raise AssertionError("it opened")
    assert schema_revision(database) == "0000"


async def test_a_database_that_cannot_be_reached_is_unavailable_to_all_who_ask(
    environment: Environment, provider: ScriptedProvider
) -> None:
    environment(DATABASE_URL="postgresql://user:secret@127.0.0.1:1/ledger", OPENAI_BASE_URL=provider.url)
    calls = (complete("Why?", model=MODEL) for _ in range(5))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 5
    assert not any("secret" in str(outcome) for outcome in outcomes)
    assert provider.log == []


def test_only_the_embedded_database_is_migrated_without_being_asked(
    environment: Environment, postgres_stack: EmbeddedStack
) -> None:
    settings = environment()
    assert settings.database_url is None
    for _ in range(2):
        engine = create_database(ready_database(settings, postgres_stack))
        assert schema_revision(engine) == SCHEMA_REVISION
        engine.dispose()


async def test_a_turn_is_taken_by_one_at_a_time_and_forgotten_afterwards() -> None:
    flights, inside, most = Flights(1), 0, 0

    async def take(key: str) -> None:
        nonlocal inside, most
        async with flights.turn(key):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    waiting = [asyncio.create_task(take("a")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.wait(waiting)
    assert most == 1
    assert [task.cancelled() for task in waiting] == [False, False, True, False, False]
    assert flights._turns == {}


async def test_a_settlement_wakes_all_who_wait_for_one() -> None:
    flights = Flights(1)
    waiting = [asyncio.create_task(flights.settlement(60)) for _ in range(3)]
    await asyncio.sleep(0)
    flights.note_settlement()
    done, _ = await asyncio.wait(waiting, timeout=30)
    assert len(done) == 3
    await flights.settlement(0)  # nobody settles: the time is over
