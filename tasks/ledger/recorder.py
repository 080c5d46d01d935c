"""The recorder: concurrent durable writes share transactions.

While one transaction is on its way, whatever else is to be recorded gathers; the next transaction
takes it all. A lone write waits for nobody, a thousand at once cost a few commits (group commit). While a small
transaction commits, the next is opened on a second connection: it waits in Postgres for the locks of the first,
and is written once the first is durable, so that operations stay in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from blocks.database import database_errors
from schemas.errors import DatabaseUnavailable, HeadraceError
from tasks.ledger.alerts import BudgetAlert, announce
from tasks.ledger.operations import BeginRun, BeginStep, EndStep, Operation, Outcome, Reserve, Settle
from tasks.ledger.transaction import Lane, LaneTransaction

log = logging.getLogger(__name__)

MOST_IN_A_BATCH = 500
IDLE_TURNS = 4
"""Turns of the event loop that bring nothing before a transaction begins. With 8 documents at once they make batches
larger and save a tenth to a quarter of the CPU of a call (`benchmarks/analysis.py`)."""

MOST_WITH_ONE_AHEAD = 16
"""Operations up to which the next transaction is opened early; under load it had better gather more of them."""

_Entry = tuple[Operation, asyncio.Future[Outcome]]


@dataclass(frozen=True)
class _Started:
    """A batch whose transaction is being opened."""

    entries: Sequence[_Entry]
    lane: Lane
    opening: asyncio.Task[LaneTransaction]

    @property
    def allows_one_ahead(self) -> bool:
        """The next may be opened before this is committed: it is small, and begins no run that the next must see."""
        return len(self.entries) <= MOST_WITH_ONE_AHEAD and not any(
            isinstance(operation, BeginRun) for operation, _ in self.entries
        )


class Recorder:
    """Writes operations in the order they were handed in, as few transactions.

    Args:
        engine: of the running event loop.
        patience_seconds: how long an unreachable Postgres is waited for before callers are told; an
            answer that was paid for is worth waiting to record.
    """

    def __init__(self, engine: AsyncEngine, *, patience_seconds: float = 60.0) -> None:
        self._lanes = deque([Lane(engine), Lane(engine)])
        self._patience_seconds = patience_seconds
        self._waiting: deque[_Entry] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._woken: asyncio.Future[None] | None = None
        self._closing = False
        self.transactions = 0

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
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])
        for lane in self._lanes:
            await lane.close()

    def _enqueue(self, operation: Operation) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        self._wake()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="ledger-recorder")
        return future

    async def _write_all(self) -> None:
        started: _Started | None = None
        while started is not None or self._waiting:
            if started is None:
                await self._gather()
                started = self._start()
            started = await self._complete(started)

    def _start(self) -> _Started:
        """What waits is taken, and a transaction for it is being opened on the lane that was used less recently."""
        size = min(len(self._waiting), MOST_IN_A_BATCH)
        entries = [self._waiting.popleft() for _ in range(size)]
        lane = self._lanes[0]
        self._lanes.rotate()
        self.transactions += 1
        return _Started(entries, lane, asyncio.create_task(lane.open([operation for operation, _ in entries])))

    async def _complete(self, started: _Started) -> _Started | None:
        """The batch is committed and its callers told; returns the next, where that has been started meanwhile."""
        following: _Started | None = None
        alerts: list[BudgetAlert] = []
        try:
            with database_errors():
                transaction = await started.opening
                committing = asyncio.ensure_future(started.lane.commit(transaction, alerts))
                if started.allows_one_ahead:
                    following = await self._start_ahead(committing)
                outcomes = await committing
        except Exception:
            await self._take_back(following)
            await self._write(started.entries)
            return None
        announce(alerts)
        _tell(started.entries, outcomes)
        return following

    async def _start_ahead(self, committing: asyncio.Future[list[Outcome]]) -> _Started | None:
        """What is handed in while a transaction commits is started; None where nothing is."""
        while not committing.done():
            if self._waiting:
                await self._gather()
                return self._start()
            self._woken = asyncio.get_running_loop().create_future()
            committing.add_done_callback(self._wake)
            await self._woken
        return None

    def _wake(self, _: object = None) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _take_back(self, started: _Started | None) -> None:
        """The transaction is given up before it wrote anything; its operations wait as before."""
        if started is None:
            return
        started.opening.cancel()
        await asyncio.wait([started.opening])
        if not started.opening.cancelled():
            started.opening.exception()  # opened or failed: it makes no difference
        await started.lane.abandon()
        self._waiting.extendleft(reversed(started.entries))

    async def _gather(self) -> None:
        """Whoever was about to hand something in has done so; an idle loop passes these turns in microseconds."""
        idle_turns = 0
        while idle_turns < IDLE_TURNS:
            before = len(self._waiting)
            await asyncio.sleep(0)
            idle_turns = idle_turns + 1 if len(self._waiting) == before else 0

    async def _write(self, batch: Sequence[_Entry]) -> None:
        """The batch, whose first try failed, is written for as long as that takes; nothing else is on its way."""
        try:
            outcomes = await self._commit([operation for operation, _ in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
            self._keep_what_happened(batch)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2  # one of them is at fault: only its caller shall hear of it
            await self._write(batch[:middle])
            await self._write(batch[middle:])
        else:
            _tell(batch, outcomes)

    async def _commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            stop=stop_after_delay(self._patience_seconds),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            reraise=True,
        )
        return await retrying(self._transact, operations)

    async def _transact(self, operations: Sequence[Operation]) -> list[Outcome]:
        self.transactions += 1
        alerts: list[BudgetAlert] = []
        lane = self._lanes[0]
        with database_errors():
            outcomes = await lane.commit(await lane.open(operations), alerts)
        announce(alerts)
        return outcomes

    def _keep_what_happened(self, batch: Sequence[_Entry]) -> None:
        """Callers were told, but money moved and steps went on: that is written before anything that comes later."""
        owed = [(item, future) for item, future in batch if isinstance(item, Settle | BeginStep | EndStep)]
        count = len({item.row["id"] for item, _ in owed})
        if owed and self._closing:
            log.error("Postgres stayed away: what became of %d calls or steps is not on record", count)
        elif owed:
            log.warning("Postgres is away: what became of %d calls or steps waits to be recorded", count)
            self._waiting.extendleft(reversed(owed))


def _tell(batch: Sequence[_Entry], outcomes: Sequence[Outcome]) -> None:
    for (_, future), outcome in zip(batch, outcomes, strict=True):
        if not future.done():
            future.set_result(outcome)


def _fail(batch: Sequence[_Entry], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _retrieve(future: asyncio.Future[Outcome]) -> None:
    """Look at the result of a write nobody awaits; what Postgres was away for is kept by the recorder."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("a record was not written (%s)", type(error).__name__)
