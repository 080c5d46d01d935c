"""The recorder: concurrent durable writes share transactions.

While one transaction is on its way, whatever else is to be recorded gathers; the next transaction
takes it all. A lone write waits for nobody, a thousand at once cost a few commits (group commit).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from blocks.database import database_errors
from schemas.errors import DatabaseUnavailable, HeadraceError, TransientError
from tasks.ledger.batch import apply_batch
from tasks.ledger.operations import Operation, Outcome

MOST_IN_A_BATCH = 500
SERIALIZATION_STATES = {"40001", "40P01"}
"""SQLSTATE: serialization failure, deadlock detected; the transaction may simply be run again."""


class _Conflict(TransientError):
    """Two batches met in Postgres; the loser is applied again."""

    code = "conflict"


class Recorder:
    """Writes operations in the order they were handed in, as few transactions.

    Args:
        engine: of the running event loop.
        patience_seconds: how long an unreachable Postgres is waited for before callers are told; an
            answer that was paid for is worth waiting to record.
    """

    def __init__(self, engine: AsyncEngine, *, patience_seconds: float = 60.0) -> None:
        self._engine = engine
        self._patience_seconds = patience_seconds
        self._waiting: deque[tuple[Operation, asyncio.Future[Outcome]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.transactions = 0

    async def record(self, operation: Operation) -> Outcome:
        """`operation` is durable; returns its outcome.

        A caller that is cancelled meanwhile does not undo the write.

        Raises:
            DatabaseUnavailable: Postgres stayed away longer than the recorder's patience.
            HeadraceError: the outcome is a refusal (`LeaseLost`).
        """
        outcome = await asyncio.shield(self._enqueue(operation))
        if isinstance(outcome, HeadraceError):
            raise outcome
        return outcome

    def record_soon(self, operation: Operation) -> None:
        """`operation` will be written no later than anything recorded after it."""
        self._enqueue(operation).add_done_callback(_retrieve)

    async def close(self) -> None:
        """Everything handed in is written."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    def _enqueue(self, operation: Operation) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="ledger-recorder")
        return future

    async def _write_all(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), MOST_IN_A_BATCH)
            await self._write([self._waiting.popleft() for _ in range(size)])

    async def _write(self, batch: list[tuple[Operation, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes: Sequence[Any] = await self._commit([operation for operation, _ in batch])
        except DatabaseUnavailable as error:
            outcomes = [error] * len(batch)
        except BaseException as error:
            if len(batch) > 1:  # one of them is at fault: only its caller shall hear of it
                for pair in batch:
                    await self._write([pair])
                return
            batch[0][1].set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    async def _commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((DatabaseUnavailable, _Conflict)),
            stop=stop_after_delay(self._patience_seconds),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._transact(operations)
        raise AssertionError("unreachable: tenacity returns or raises")

    async def _transact(self, operations: Sequence[Operation]) -> list[Outcome]:
        self.transactions += 1
        try:
            with database_errors():
                async with self._engine.begin() as connection:
                    return await connection.run_sync(apply_batch, operations)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in SERIALIZATION_STATES:
                raise _Conflict("a concurrent transaction came first") from error
            raise


def _retrieve(future: asyncio.Future[Outcome]) -> None:
    """Look at the result of a write nobody awaits: the next awaited write meets the same trouble."""
    if not future.cancelled():
        future.exception()
