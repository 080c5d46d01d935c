"""The ledger's one transaction: a batch of operations, applied.

It takes two round trips: one that locks, reads and claims (`open_batch`), one that writes and commits. Rows are
locked in a fixed order, each kind sorted: runs, budget rows, windows of users, requests, answers, searches. Every
operation may be applied twice, so that a batch whose commit was cut off by a lost connection is simply applied again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from blocks.scripts import Script
from tasks.ledger.alerts import BudgetAlert
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import Found, look
from tasks.ledger.budgets import write_usage
from tasks.ledger.job_writes import store_jobs
from tasks.ledger.operations import Operation, Outcome
from tasks.ledger.reserve_writes import reserve
from tasks.ledger.run_writes import begin_runs, begin_steps, end_runs, end_steps
from tasks.ledger.search_cache import write_search_cache
from tasks.ledger.settle_writes import settle
from tasks.ledger.user_windows import write_windows


@dataclass(frozen=True)
class OpenBatch:
    """A batch whose rows are locked and read."""

    batch: Batch
    found: Found


def open_batch(script: Script, operations: Sequence[Operation]) -> OpenBatch:
    """The rows of `operations` are locked, what stands there is read, and keys are claimed."""
    batch = Batch(operations)
    begin_runs(script, batch)
    return OpenBatch(batch, look(script, batch))


def write_batch(script: Script, opened: OpenBatch, alerts: list[BudgetAlert] | None = None) -> list[Outcome]:
    """All of the batch will be written once `script` is sent; one outcome for each operation, in order.

    Args:
        script: what it commits, or the transaction it is part of, is what the outcomes are true in.
        alerts: takes what is to be announced once the transaction is committed.
    """
    batch, found = opened.batch, opened.found
    begin_steps(script, batch)
    store_jobs(script, batch)
    settle(script, batch, found)
    reserve(script, batch, found)
    write_search_cache(script, batch)
    reached = write_usage(script, batch.usage)
    if alerts is not None:
        alerts.extend(reached)
    write_windows(script, batch.windows)
    end_steps(script, batch)
    end_runs(script, batch)
    return [batch.outcomes.get(place) for place in range(len(batch.operations))]


def apply_batch(script: Script, operations: Sequence[Operation]) -> list[Outcome]:
    """All of `operations` will be written once `script` is sent; one outcome each, in order."""
    return write_batch(script, open_batch(script, operations))


class Lane:
    """A connection of its own, kept, so that its statements stay prepared on it; one transaction at a time.

    Args:
        engine: of the running event loop.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def open(self, operations: Sequence[Operation]) -> LaneTransaction:
        """The first round trip of the transaction of `operations` is made.

        Raises:
            SQLAlchemyError: the transaction is over, the connection given up.
        """
        if self._connection is None:
            connection = await self._engine.connect()
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            return await self._connection.run_sync(_open, self, operations)
        except BaseException:
            await self.abandon()
            raise

    async def commit(self, transaction: LaneTransaction, alerts: list[BudgetAlert]) -> list[Outcome]:
        """`transaction` is written and durable; returns the outcomes of its operations.

        Args:
            alerts: takes what is to be announced now.

        Raises:
            SQLAlchemyError: as `open`; whether it is durable is open where the connection was lost.
        """
        assert self._connection is not None
        try:
            return await self._connection.run_sync(_commit, transaction, alerts)
        except BaseException:
            await self.abandon()
            raise

    async def abandon(self) -> None:
        """The connection is given up with whatever transaction is open on it."""
        if self._connection is not None:
            await self._connection.invalidate()
        await self.close()

    async def close(self) -> None:
        """The connection is back in the engine's pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


@dataclass(frozen=True)
class LaneTransaction:
    """A transaction that was opened on a lane and holds its locks."""

    lane: Lane
    script: Script
    opened: OpenBatch


def _open(connection: Connection, lane: Lane, operations: Sequence[Operation]) -> LaneTransaction:
    script = Script(connection)
    return LaneTransaction(lane, script, open_batch(script, operations))


def _commit(_: Connection, transaction: LaneTransaction, alerts: list[BudgetAlert]) -> list[Outcome]:
    outcomes = write_batch(transaction.script, transaction.opened, alerts)
    transaction.script.commit()
    return outcomes
