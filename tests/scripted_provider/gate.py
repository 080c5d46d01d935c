"""A gate at which answers wait, opened and closed from any thread."""

from __future__ import annotations

import asyncio
import threading


class Gate:
    """Open at first. Waiting is counted, so that a test can know how many requests are in flight."""

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._open = True
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def close(self) -> None:
        """Whoever comes now waits."""
        with self._state:
            self._open = False

    def open(self) -> None:
        """All who wait go on."""
        with self._state:
            self._open, waiters, self._waiters = True, self._waiters, []
        for loop, event in waiters:
            loop.call_soon_threadsafe(event.set)

    def let_one_pass(self) -> None:
        """Who has waited longest goes on; the others wait."""
        with self._state:
            loop, event = self._waiters.pop(0)
        loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Returns once the gate is open."""
        event = asyncio.Event()
        with self._state:
            if self._open:
                return
            self._waiters.append((asyncio.get_running_loop(), event))
            self._state.notify_all()
        await event.wait()

    def wait_for(self, count: int, timeout: float) -> None:
        """Blocks until `count` wait at the gate; TimeoutError after `timeout` seconds."""
        with self._state:
            if not self._state.wait_for(lambda: len(self._waiters) >= count, timeout):
                raise TimeoutError(f"{len(self._waiters)} of {count} requests arrived in {timeout} s")
