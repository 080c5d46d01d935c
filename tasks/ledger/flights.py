"""Calls of this process in flight: how many at once, and one at a time for each key."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType


class _Turn(AbstractAsyncContextManager[None]):
    """Waits for the lock of a key; who leaves last takes it away."""

    def __init__(self, turns: dict[str, tuple[asyncio.Lock, int]], key: str) -> None:
        self._turns = turns
        self._key = key

    async def __aenter__(self) -> None:
        lock, waiting = self._turns.get(self._key, (asyncio.Lock(), 0))
        self._turns[self._key] = (lock, waiting + 1)
        try:
            await lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns[self._key][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, waiting = self._turns.pop(self._key)
        if waiting > 1:
            self._turns[self._key] = (lock, waiting - 1)


class Flights:
    """Bounds parallel calls and lets equal calls of one process wait for one another in memory.

    Across processes the `answers` table does the same; this spares it the polling.
    """

    def __init__(self, parallel: int) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._settled = asyncio.Event()

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """Inside, no other coroutine of this process is answering `key`."""
        return _Turn(self._turns, key)

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Inside, the call is one of the few that may run at once."""
        return self._slots

    def note_settlement(self) -> None:
        """Wake those who wait for a reservation to come free."""
        self._settled.set()
        self._settled = asyncio.Event()

    async def settlement(self, within_seconds: float) -> None:
        """A call of this process has settled, or the time is over (another process may have settled one)."""
        try:
            await asyncio.wait_for(self._settled.wait(), within_seconds)
        except TimeoutError:
            return
