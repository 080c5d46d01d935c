"""Workers: the processes that write, each with a lease that says it is alive.

One lease covers all a process holds: the runs it works on and the keys it is answering. It is
renewed every few seconds; only when it has run out, or its process is known to be dead, may others
take over what it held.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors
from blocks.processes import ProcessIdentity, is_dead, this_process
from blocks.scripts import Script
from schemas.errors import DatabaseUnavailable
from schemas.identifiers import new_id
from tasks.ledger.alerts import BudgetAlert, announce
from tasks.ledger.budgets import Reservation, lock_usage, write_usage
from tasks.ledger.rows import REQUESTS_BY_ID, by_id

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""While waiting for others: how often to see whether they still live."""

_REGISTER = text("""
    INSERT INTO workers (id, host, pid, process_started, lease_until)
    VALUES (:id, :host, :pid, :started, clock_timestamp() + make_interval(secs => :lease))
""")
_RENEW = text("""
    UPDATE workers SET lease_until = clock_timestamp() + make_interval(secs => :lease) WHERE id = :id
""")
_END_LEASES = text("UPDATE workers SET lease_until = '-infinity' WHERE id = ANY(:ids)")
_END_DEAD_LEASES = text("""
    UPDATE workers SET lease_until = '-infinity'
    WHERE id IN (SELECT id FROM workers WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
""")
_HOLDING = text("""
    SELECT id, host, pid, process_started FROM workers
    WHERE lease_until >= clock_timestamp() AND host = :host AND id <> :me
""")


class Worker:
    """This process in the ledger, for as long as it is entered."""

    def __init__(self, engine: AsyncEngine, *, lease_seconds: float, renewal_seconds: float) -> None:
        self.id: UUID = new_id()
        self._engine = engine
        self._lease_seconds = lease_seconds
        self._renewal_seconds = renewal_seconds
        self._heartbeat: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._looked = 0.0

    async def start(self) -> None:
        """The worker is on record, its lease renewed from now on."""
        me = this_process()
        row = {"id": self.id, "host": me.host, "pid": me.pid, "started": me.started, "lease": self._lease_seconds}
        with database_errors():
            async with self._engine.begin() as connection:
                await connection.execute(_REGISTER, row)
        self._heartbeat = asyncio.create_task(self._renew(), name="ledger-heartbeat")

    async def stop(self) -> None:
        """The lease is over: whatever is left may be taken over at once."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._heartbeat
        with contextlib.suppress(DatabaseUnavailable), database_errors():
            async with self._engine.begin() as connection:
                await connection.execute(_END_LEASES, {"ids": [self.id]})

    async def look_for_dead(self, *, at_once: bool = False) -> None:
        """Dead workers are buried, if Postgres is there; however many wait for them, one looks, and not too often.

        Args:
            at_once: somebody's lease is known to be over.
        """
        if self._looking.locked():
            return
        async with self._looking:
            if at_once or time.monotonic() - self._looked > LOOK_SECONDS:
                with contextlib.suppress(DatabaseUnavailable):  # whoever waits will ask it for more, and meet that
                    await bury_dead_workers(self._engine, self.id)
                self._looked = time.monotonic()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renewal_seconds)
            try:
                with database_errors():
                    async with self._engine.begin() as connection:
                        await connection.execute(_RENEW, {"id": self.id, "lease": self._lease_seconds})
            except (DatabaseUnavailable, SQLAlchemyError) as error:  # it may work the next time; nobody else renews
                log.warning("the lease was not renewed (%s)", type(error).__name__)


async def bury_dead_workers(engine: AsyncEngine, me: UUID) -> int:
    """Leases of processes of this host that no longer exist are over; returns how many requests were given up.

    What a dead worker had in flight becomes `unknown`: the provider may have charged for it, so its
    worst case counts as spent. Its claims are free.
    """
    host = this_process().host
    with database_errors():
        async with engine.begin() as connection:
            holding = (await connection.execute(_HOLDING, {"host": host, "me": me})).all()
            gone = [row.id for row in holding if is_dead(ProcessIdentity(row.host, row.pid, row.process_started))]
            if gone:
                await connection.execute(_END_DEAD_LEASES, {"ids": gone})
        alerts: list[BudgetAlert] = []
        async with engine.begin() as connection:
            given_up = await connection.run_sync(give_up_abandoned, me, alerts)
    announce(alerts)
    return given_up


_ABANDONED = text("""
    SELECT llm_requests.id, llm_requests.reserved_usd, llm_requests.budget_scopes FROM llm_requests
    JOIN workers ON workers.id = llm_requests.worker_id AND workers.lease_until < clock_timestamp()
    WHERE llm_requests.status = 'reserved' AND workers.id <> :me
""")
_GIVE_UP = text(f"""
    UPDATE llm_requests SET status = 'unknown', completed_at = clock_timestamp(),
        error_class = 'WorkerLost', error_message = 'the calling process ended before the outcome was recorded'
    WHERE id IN (SELECT id FROM llm_requests WHERE {REQUESTS_BY_ID} AND status = 'reserved' ORDER BY id FOR UPDATE)
    RETURNING id
""")
# Whoever holds one of these rows is freeing or answering it.
_FREE_CLAIMS = text("""
    DELETE FROM answers WHERE key IN (
        SELECT answers.key FROM answers
        JOIN workers ON workers.id = answers.worker_id AND workers.lease_until < clock_timestamp()
        WHERE answers.status = 'claimed' AND workers.id <> :me FOR UPDATE OF answers SKIP LOCKED
    )
""")


def give_up_abandoned(connection: Connection, me: UUID, alerts: list[BudgetAlert] | None = None) -> int:
    """Requests in flight of workers whose lease is over are `unknown`, their claims free; returns how many.

    Not those of worker `me`, who asks and so lives, even if its lease was renewed too late.

    Args:
        alerts: takes what is to be announced once the transaction is committed.
    """
    script = Script(connection)
    found = script.add(_ABANDONED, {"me": me}).rows
    held: dict[UUID, Reservation] = {}
    if found:
        given_up = {row.id for row in script.add(_GIVE_UP, by_id([row.id for row in found])).rows}
        held = {row.id: Reservation.of(row.reserved_usd, row.budget_scopes) for row in found if row.id in given_up}
    if held:  # budget rows after requests: the order of every transaction of the ledger
        usage = lock_usage(script, {key for reservation in held.values() for key in reservation.keys}, {})
        for reservation in held.values():
            reservation.settle("reserved", None, usage)
        reached = write_usage(script, usage)
        if alerts is not None:
            alerts.extend(reached)
    script.add(_FREE_CLAIMS, {"me": me})  # last: it waits for nobody, but others may wait for it
    script.send()
    return len(held)
