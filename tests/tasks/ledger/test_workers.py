"""Workers: leases, and what becomes of the dead."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from blocks.database import create_async_database, normal_url
from blocks.processes import this_process
from schemas.errors import DatabaseUnavailable
from schemas.identifiers import new_id
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.workers import Worker, bury_dead_workers
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

MODEL = "gpt-4o-mini"
LEASE = "SELECT lease_until FROM workers WHERE id = :id"


async def test_an_open_ledger_is_a_worker_with_a_lease_that_ends_with_it(settings: Settings, look: Look) -> None:
    async with open_ledger() as ledger:
        (row,) = look("SELECT id, host, pid, process_started, lease_until FROM workers")
        me = this_process()
        assert (row.id, row.host, row.pid, row.process_started) == (ledger.worker.id, me.host, me.pid, me.started)
        assert timedelta(seconds=20) < row.lease_until - datetime.now(UTC) <= timedelta(seconds=30)
    assert look("SELECT FROM workers WHERE lease_until > now()") == []


async def test_a_lease_is_renewed_while_the_worker_lives(
    environment: Environment, settings: Settings, look: Look
) -> None:
    environment(HEADRACE_LEASE_SECONDS=60, HEADRACE_LEASE_RENEWAL_SECONDS=0.02)
    async with open_ledger() as ledger:
        first = look(LEASE, id=ledger.worker.id)[0].lease_until
        renewed = "SELECT FROM workers, pg_sleep(0.01) WHERE lease_until > :first"
        while await asyncio.to_thread(look, renewed, first=first) == []:
            pass
        assert look(LEASE, id=ledger.worker.id)[0].lease_until > first


async def test_a_process_that_was_killed_is_buried_before_its_lease_is_over(
    ledger: Ledger, provider: ScriptedProvider, look: Look, start_process: StartProcess
) -> None:
    provider.hold()
    doomed = start_process("ask_one", prompt="Why?")
    worker_id = UUID(doomed.line()["worker"])
    await provider.held(1)
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 0
    assert look("SELECT status FROM llm_requests") == [("reserved",)]
    doomed.kill()
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 1
    assert look("SELECT lease_until = '-infinity' AS over FROM workers WHERE id = :id", id=worker_id) == [(True,)]
    assert look("SELECT status FROM llm_requests") == [("unknown",)]
    assert look("SELECT FROM answers") == []
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 0


async def test_workers_of_other_hosts_are_buried_when_their_lease_is_over_and_not_before(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    elsewhere = "00000000-0000-7000-8000-00000000000a"
    look("INSERT INTO workers VALUES (:id, 'another host', 1, 0, now() + interval '1 hour')", id=elsewhere)
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    look("UPDATE llm_requests SET worker_id = :id", id=elsewhere)
    look("UPDATE answers SET worker_id = :id", id=elsewhere)
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 0
    assert look("SELECT status FROM answers") == [("claimed",)]
    look("UPDATE workers SET lease_until = now() - interval '1 second' WHERE id = :id", id=elsewhere)
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 1
    assert look("SELECT FROM answers") == []
    provider.release()
    await call


async def test_however_many_wait_one_looks_for_the_dead(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[UUID] = []

    async def bury(_: object, me: UUID) -> int:
        looks.append(me)
        await asyncio.sleep(0)
        return 0

    monkeypatch.setattr("tasks.ledger.workers.bury_dead_workers", bury)
    await asyncio.gather(*(ledger.worker.look_for_dead() for _ in range(50)))
    assert looks == [ledger.worker.id]
    await asyncio.gather(*(ledger.worker.look_for_dead() for _ in range(50)))
    assert len(looks) == 1, "not so soon again"
    await asyncio.gather(*(ledger.worker.look_for_dead(at_once=True) for _ in range(50)))
    assert len(looks) == 2


async def test_a_look_for_the_dead_does_not_mind_that_postgres_is_away(settings: Settings) -> None:
    nowhere = create_async_database(normal_url("postgresql://user@127.0.0.1:1/ledger"))
    worker = Worker(nowhere, lease_seconds=30, renewal_seconds=10)
    await worker.look_for_dead()
    with pytest.raises(DatabaseUnavailable):
        await bury_dead_workers(nowhere, worker.id)


async def test_a_row_that_another_process_is_settling_is_not_waited_for(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    async with ledger.engine.connect() as other:
        await other.exec_driver_sql("SELECT FROM answers FOR UPDATE")
        assert await bury_dead_workers(ledger.engine, new_id()) == 1
        assert look("SELECT status FROM answers") == [("claimed",)]
        await other.rollback()
    assert await bury_dead_workers(ledger.engine, new_id()) == 0
    assert look("SELECT FROM answers") == []
    provider.release()
    await call


async def test_a_worker_whose_lease_was_renewed_too_late_does_not_bury_itself(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    provider.hold()
    call = asyncio.create_task(complete("Why?", model=MODEL))
    await provider.held(1)
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    assert await bury_dead_workers(ledger.engine, ledger.worker.id) == 0
    assert look("SELECT status FROM llm_requests") == [("reserved",)]
    assert look("SELECT status FROM answers") == [("claimed",)]
    provider.release()
    await call
