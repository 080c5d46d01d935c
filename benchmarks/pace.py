"""What recording and budgeting add to a call at a steady pace, beside a bare commit at the same pace.

    python -m benchmarks.pace '{"home": …}'

prints a `PaceMeasurement` as JSON on the last line. Calls begin by the clock, whether those before have ended or not.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.calls import MAX_TOKENS, MODEL
from benchmarks.ledger_environment import configure_ledger

PROJECT = "benchmark-pace"
WARM_UP_CALLS = 100
_in_provider: ContextVar[list[float]] = ContextVar("in_provider")


class PaceTrial(BaseModel):
    """So many calls a second for so long."""

    model_config = ConfigDict(frozen=True)

    home: str
    provider_url: str
    ledger_database: str
    label: str
    calls_a_second: float
    seconds: float


class PaceMeasurement(BaseModel):
    """Milliseconds: of all that a call takes outside the provider, and of one committed row, at the same pace."""

    model_config = ConfigDict(frozen=True)

    calls: int
    added_median_ms: float
    added_p99_ms: float
    commit_median_ms: float
    commit_p99_ms: float


def main() -> None:
    """The trial of the first argument is run, its measurement printed."""
    trial = PaceTrial.model_validate_json(sys.argv[1])
    print(asyncio.run(measure(trial)).model_dump_json())


async def measure(trial: PaceTrial) -> PaceMeasurement:
    """First the commits, then the calls, in this process and on the same Postgres."""
    commits = await _commits(trial)
    added = await _calls(trial)
    return PaceMeasurement(
        calls=len(added),
        added_median_ms=percentile(added, 50),
        added_p99_ms=percentile(added, 99),
        commit_median_ms=percentile(commits, 50),
        commit_p99_ms=percentile(commits, 99),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


async def at_a_pace(trial: PaceTrial, work: Callable[[int], Awaitable[float]]) -> list[float]:
    """What `work` returned, begun `calls_a_second` times a second.

    What was imported so far is taken out of the garbage collector's sight, as in a service that is up: looking through
    it stops the process for 80 ms, whatever it is doing.
    """
    gc.collect()
    gc.freeze()
    count, began = int(trial.calls_a_second * trial.seconds), time.perf_counter()
    running = []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / trial.calls_a_second - time.perf_counter()))
        running.append(asyncio.ensure_future(work(number)))
    return list(await asyncio.gather(*running))


async def _commits(trial: PaceTrial) -> list[float]:
    """Milliseconds of inserting one row of the size of a call and committing it, on a connection of its own."""
    from psycopg_pool import AsyncConnectionPool

    url = trial.ledger_database.replace("postgresql+psycopg://", "postgresql://")
    async with AsyncConnectionPool(url, min_size=8, max_size=8) as pool:
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS bare_commits (id bigserial PRIMARY KEY, body text)")

        async def commit(_: int) -> float:
            began = time.perf_counter()
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO bare_commits (body) VALUES (%s)", ("x" * 1000,))
            return (time.perf_counter() - began) * 1000

        return await at_a_pace(trial, commit)


async def _calls(trial: PaceTrial) -> list[float]:
    """Milliseconds of each call that were not spent at the provider."""
    configure_ledger(trial.home, trial.ledger_database, trial.provider_url, PROJECT)
    from schemas.calls import ChatParameters
    from tasks.ledger import complete, open_ledger
    from tasks.ledger.limits import set_budgets

    parameters = ChatParameters(max_tokens=MAX_TOKENS)
    async with open_ledger() as ledger:
        await set_budgets(project=PROJECT, day="1000", month="10000")
        _time_provider(ledger.providers)

        async def call(prompt: str) -> float:
            spent: list[float] = []
            _in_provider.set(spent)
            began = time.perf_counter()
            await complete(prompt, model=MODEL, parameters=parameters)
            return (time.perf_counter() - began - sum(spent)) * 1000

        await asyncio.gather(*(call(f"Warm-up {trial.label} {number}") for number in range(WARM_UP_CALLS)))
        return await at_a_pace(trial, lambda number: call(f"Pace {trial.label} {number}"))


def _time_provider(providers: Any) -> None:
    """What each call spends at the provider is known to the task that makes it."""
    chat = providers.chat

    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return await chat(*args, **kwargs)
        finally:
            _in_provider.get().append(time.perf_counter() - began)

    providers.chat = timed


if __name__ == "__main__":
    main()
