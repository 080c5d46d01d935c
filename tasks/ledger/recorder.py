"""The recorder: concurrent durable writes share transactions.

While one transaction is on its way, whatever else is to be recorded gathers; the next transaction takes it all: a
thousand at once cost a few commits (group commit). A lone write waits for nobody: a few calls pass a few others by a
second connection, as each would else wait for both to be written to disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import DatabaseUnavailable, HeadraceError
from tasks.ledger.lane import Lane, are_apart
from tasks.ledger.large_bodies import LargeBodies, has_large_bodies
from tasks.ledger.operations import BeginStep, EndRun, EndStep, Operation, Outcome, Reserve, Settle
from tasks.ledger.transaction import BatchWriter

log = logging.getLogger(__name__)

MOST_IN_A_BATCH = 500
IDLE_TURNS = 4
"""Turns of the event loop that bring nothing before a transaction begins. With 8 documents at once they make batches
larger and save a tenth to a quarter of the CPU of a call (`benchmarks/analysis.py`)."""

FEW = 3
"""So many calls at most pass so many others; more than that wait, as they share a transaction."""

_Entry = tuple[Operation, asyncio.Future[Outcome]]


class Recorder:
    """Writes operations in the order they were handed in, but for calls that have nothing to do with each other, as few
    transactions.

    Args:
        engine: of the running event loop.
        patience_seconds: how long an unreachable Postgres is waited for before callers are told; an
            answer that was paid for is worth waiting to record.
    """

    def __init__(self, engine: AsyncEngine, *, patience_seconds: float = 60.0) -> None:
        batches = BatchWriter()
        self._lanes = [Lane(engine, batches, patience_seconds=patience_seconds) for _ in range(2)]
        self._waiting: deque[_Entry] = deque()
        self._large_bodies = LargeBodies(engine.url)
        self._storing: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def transactions(self) -> int:
        """How many were tried."""
        return sum(lane.transactions for lane in self._lanes)

    async def record(self, operation: Operation, *, otherwise: Callable[[], Operation] | None = None) -> Outcome:
        """`operation` is durable; returns its outcome.

        A caller that is cancelled meanwhile does not undo the write.

        Args:
            otherwise: makes what is recorded next when the caller does not learn the outcome: it was
                cancelled, or the write failed, perhaps after it was made.

        Raises:
            DatabaseUnavailable: Postgres stayed away longer than the recorder's patience.
            HeadraceError: the outcome is a refusal (`LeaseLost`).
        """
        if isinstance(operation, Settle) and has_large_bodies(operation):
            future = self._enqueue_after(self._large_bodies.store(operation), operation)
        elif isinstance(operation, EndRun) and self._storing:
            future = self._enqueue_after(_all_of(set(self._storing)), operation)  # which sums up what the calls cost
        else:
            future = self._enqueue(operation)
        try:
            outcome = await asyncio.shield(future)
        except BaseException:
            if isinstance(operation, Reserve) and self._withdraw(future):
                raise
            if otherwise is not None:
                following = otherwise()
                future.add_done_callback(lambda _: self.record_soon(following))
            raise
        if isinstance(outcome, HeadraceError):
            raise outcome
        return outcome

    def record_soon(self, operation: Operation) -> None:
        """`operation` will be written no later than anything recorded after it."""
        self._enqueue(operation).add_done_callback(_retrieve)

    def _withdraw(self, future: asyncio.Future[Outcome]) -> bool:
        """True when what `future` stands for had not been begun, and now never will be."""
        waiting = next((entry for entry in self._waiting if entry[1] is future), None)
        if waiting is not None:
            self._waiting.remove(waiting)
        return waiting is not None

    async def close(self) -> None:
        """Everything handed in is written; what Postgres stays away for too long is lost, and logged."""
        self._closing = True
        while self._storing:
            await asyncio.wait(self._storing)
        while writers := [lane.writer for lane in self._lanes if lane.writer is not None and not lane.is_free]:
            await asyncio.wait(writers)
        await self._large_bodies.close()
        for lane in self._lanes:
            await lane.close()

    def _enqueue(self, operation: Operation) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._append(operation, future)
        return future

    def _enqueue_after(self, first: Awaitable[Settle | None], operation: Operation) -> asyncio.Future[Outcome]:
        """As `_enqueue`, once `first` is done, which may say what is left of `operation`."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        async def await_and_append() -> None:
            left: Operation | None = None
            try:
                left = await first
            finally:
                self._append(left or operation, future)

        task = asyncio.create_task(await_and_append(), name="ledger-bodies")
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        return future

    def _append(self, operation: Operation, future: asyncio.Future[Outcome]) -> None:
        self._waiting.append((operation, future))
        free = [lane for lane in self._lanes if lane.is_free]
        none_writes = len(free) == len(self._lanes)
        if none_writes or (free and any(lane.on_its_way for lane in self._lanes) and self._may_go()):
            free[0].writer = asyncio.create_task(self._write_all(free[0]), name="ledger-recorder")

    def _may_go(self) -> bool:
        """Whether what is waiting need not wait for what is on its way."""
        ahead = [operation for lane in self._lanes for operation in lane.on_its_way]
        if not ahead:
            return True
        if len(self._waiting) > FEW or len(ahead) > FEW:
            return False
        return are_apart([operation for operation, _ in self._waiting], ahead)

    async def _write_all(self, lane: Lane) -> None:
        """Until nothing waits but for the other lane, whose writer then goes on."""
        while self._waiting:
            await self._gather()
            if not (self._waiting and self._may_go()):
                return
            size = min(len(self._waiting), MOST_IN_A_BATCH)
            batch = [self._waiting.popleft() for _ in range(size)]
            lane.on_its_way = [operation for operation, _ in batch]
            try:
                await self._write(lane, batch)
            finally:
                lane.on_its_way = ()

    async def _gather(self) -> None:
        """Whoever was about to hand something in has done so; an idle loop passes these turns in microseconds."""
        idle_turns = 0
        while idle_turns < IDLE_TURNS:
            before = len(self._waiting)
            await asyncio.sleep(0)
            idle_turns = idle_turns + 1 if len(self._waiting) == before else 0

    async def _write(self, lane: Lane, batch: Sequence[_Entry]) -> None:
        try:
            outcomes = await lane.commit([operation for operation, _ in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
            self._keep_what_happened(batch)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2  # one of them is at fault: only its caller shall hear of it
            await self._write(lane, batch[:middle])
            await self._write(lane, batch[middle:])
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    def _keep_what_happened(self, batch: Sequence[_Entry]) -> None:
        """Callers were told, but money moved and steps went on: that is written before anything that comes later."""
        owed = [(item, future) for item, future in batch if isinstance(item, Settle | BeginStep | EndStep)]
        count = len({item.row["id"] for item, _ in owed})
        if owed and self._closing:
            log.error("Postgres stayed away: what became of %d calls or steps is not on record", count)
        elif owed:
            log.warning("Postgres is away: what became of %d calls or steps waits to be recorded", count)
            self._waiting.extendleft(reversed(owed))


async def _all_of(storing: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(storing)


def _fail(batch: Sequence[_Entry], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _retrieve(future: asyncio.Future[Outcome]) -> None:
    """Look at the result of a write nobody awaits; what Postgres was away for is kept by the recorder."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("a record was not written (%s)", type(error).__name__)
