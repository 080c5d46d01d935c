"""Calls of this process in flight: how many at once, and one at a time for each key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Flights:
    """Bounds parallel calls and lets equal calls of one process wait for one another in memory.

    Across processes the `answers` table does the same; this spares it the polling.
    """

    def __init__(self, parallel: int) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._settled = asyncio.Event()

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Inside, no other coroutine of this process is answering `key`."""
        lock, waiting = self._turns.get(key, (asyncio.Lock(), 0))
        self._turns[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(key)
            if waiting > 1:
                self._turns[key] = (lock, waiting - 1)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Inside, the call is one of the few that may run at once."""
        async with self._slots:
            yield

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
