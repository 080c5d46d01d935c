"""The clock that limits go by, so that tests can turn it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never go back, and waiting for them to pass."""

    def now(self) -> float:
        """Seconds since some moment of this process; the same for all its event loops."""
        ...

    async def wait(self, woken: asyncio.Event, seconds: float) -> None:
        """Returns once `woken` is set or `seconds` are over."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

    async def wait(self, woken: asyncio.Event, seconds: float) -> None:
        """Returns once `woken` is set or `seconds` are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()
