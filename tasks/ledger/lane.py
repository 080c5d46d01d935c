"""A lane: the recorder's own connection to Postgres, over which one batch after the other is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from blocks.database import database_errors
from schemas.errors import DatabaseUnavailable
from tasks.ledger.alerts import BudgetAlert, announce
from tasks.ledger.operations import Operation, Outcome, Reserve, Settle
from tasks.ledger.transaction import BatchWriter


class Lane:
    """Commits batches; its connection is kept, so that statements stay prepared on it.

    Args:
        patience_seconds: how long an unreachable Postgres is waited for.

    Attributes:
        writer: who writes batches by this lane.
        on_its_way: the operations of the batch that is being committed.
        transactions: how many were tried.
    """

    def __init__(self, engine: AsyncEngine, batches: BatchWriter, *, patience_seconds: float) -> None:
        self.writer: asyncio.Task[None] | None = None
        self.on_its_way: Sequence[Operation] = ()
        self.transactions = 0
        self._engine = engine
        self._batches = batches
        self._patience_seconds = patience_seconds
        self._connection: AsyncConnection | None = None

    @property
    def is_free(self) -> bool:
        """Nobody writes by this lane."""
        return self.writer is None or self.writer.done()

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """All of `operations` are durable; one outcome each, in order.

        Raises:
            DatabaseUnavailable: Postgres stayed away for too long.
        """
        began = time.monotonic()
        try:
            return await self._transact(operations)
        except DatabaseUnavailable:
            return await self._commit_again(operations, self._patience_seconds - (time.monotonic() - began))

    async def close(self) -> None:
        """Its connection is given back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _commit_again(self, operations: Sequence[Operation], seconds: float) -> list[Outcome]:
        """For as long as `seconds`; apart from the first try, as setting retries up takes a fifth of a transaction."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            stop=stop_after_delay(seconds),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            reraise=True,
        )
        return await retrying(self._transact, operations)

    async def _transact(self, operations: Sequence[Operation]) -> list[Outcome]:
        self.transactions += 1
        alerts: list[BudgetAlert] = []
        with database_errors():
            connection = await self._connect()
            try:
                outcomes = await connection.run_sync(self._batches.commit, operations, alerts)
            except BaseException:
                await connection.invalidate()  # the transaction may be open, and rows locked
                await self.close()
                raise
        announce(alerts)
        return outcomes

    async def _connect(self) -> AsyncConnection:
        if self._connection is None:
            connection = await self._engine.connect()
            self._connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        return self._connection


def are_apart(some: Sequence[Operation], others: Sequence[Operation]) -> bool:
    """Whether it is all the same which are committed first: all are reservations and settlements, of different calls.

    Runs, steps and jobs keep their order among themselves and with the calls that are made for them.
    """
    ids = [{item.row["id"] for item in side if isinstance(item, Reserve | Settle)} for side in (some, others)]
    return len(ids[0]) + len(ids[1]) == len(some) + len(others) and ids[0].isdisjoint(ids[1])
