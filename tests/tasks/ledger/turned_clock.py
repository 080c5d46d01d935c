"""A clock that tests turn by hand."""

from __future__ import annotations

import asyncio


class TurnedClock:
    """Stands still until it is turned; whoever waits is woken in the order of their times."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._alarms: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        """The time it shows."""
        return self._now

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._alarms)

    async def wait(self, woken: asyncio.Event, seconds: float) -> None:
        """Returns once `woken` is set or the clock was turned far enough."""
        alarm = (self._now + seconds, woken)
        self._alarms.append(alarm)
        try:
            await woken.wait()
        finally:
            self._alarms.remove(alarm)

    async def turn(self, seconds: float) -> None:
        """So many seconds have passed, and everybody woken by that has done what they can."""
        self._now += seconds
        for time, woken in sorted(self._alarms, key=lambda alarm: alarm[0]):
            if time <= self._now:
                woken.set()
        await settle()


async def settle() -> None:
    """Everything that can go on without time or the outside world has gone on."""
    for _ in range(50):
        await asyncio.sleep(0)
