"""What recording and budgeting add to a call at a steady pace, beside a bare commit at the same pace.

    python -m benchmarks.pace '{"home": …}'

prints a `PaceMeasurement` as JSON on the last line. Calls begin by the clock, whether those before have ended or not.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.calls import MAX_TOKENS, MODEL, bare_caller
from benchmarks.ledger_environment import configure_ledger

PROJECT = "benchmark-pace"
WARM_UP_CALLS = 100
WAL_SEGMENTS = 5
"""As many as Postgres keeps to use again (`min_wal_size`, 80 MB)."""
TURN_SECONDS = 0.2
"""Of commits, then of calls, and so on."""


@dataclass
class _Taken:
    """Seconds that one call spent outside the provider, and of these with what is to be measured."""

    outside: float = 0.0
    recorded: float = 0.0


_Work = Callable[[int], Awaitable[_Taken]]
_taken: ContextVar[_Taken] = ContextVar("taken")


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
    """Milliseconds of a call and of the least that could be done, at the same pace.

    Attributes:
        added_median_ms: what recorder and budget add: the price estimated, the reservation and the outcome durable.
        outside_median_ms: all that a call takes outside the provider.
        commit_median_ms: one row committed.
    """

    model_config = ConfigDict(frozen=True)

    calls: int
    outside_median_ms: float
    outside_p99_ms: float
    added_median_ms: float
    added_p99_ms: float
    commit_median_ms: float
    commit_p99_ms: float


def main() -> None:
    """The trial of the first argument is run, its measurement printed."""
    trial = PaceTrial.model_validate_json(sys.argv[1])
    print(asyncio.run(measure(trial)).model_dump_json())


async def measure(trial: PaceTrial) -> PaceMeasurement:
    """Commits and calls by turns of a second, in this process and on the same Postgres.

    What else the machine does comes and goes by the second: in turns it falls on both.
    """
    commits: list[_Taken] = []
    calls: list[_Taken] = []
    async with _commits(trial) as commit, _calls(trial) as call:
        await _recycle_wal(trial)
        await asyncio.gather(*(work(-1 - number) for number in range(WARM_UP_CALLS) for work in (commit, call)))
        for work in (commit, call):  # at the pace, too: a burst does not open both connections of the recorder
            await _at_a_pace(trial.calls_a_second, work, range(-2 * WARM_UP_CALLS, -WARM_UP_CALLS))
        _freeze()
        each = max(1, int(trial.calls_a_second * TURN_SECONDS))
        for began in range(0, int(trial.calls_a_second * trial.seconds), each):
            for found, work in ((commits, commit), (calls, call)):
                found += await _at_a_pace(trial.calls_a_second, work, range(began, began + each))
    return PaceMeasurement(
        calls=len(calls),
        outside_median_ms=percentile([1000 * call.outside for call in calls], 50),
        outside_p99_ms=percentile([1000 * call.outside for call in calls], 99),
        added_median_ms=percentile([1000 * call.recorded for call in calls], 50),
        added_p99_ms=percentile([1000 * call.recorded for call in calls], 99),
        commit_median_ms=percentile([1000 * commit.recorded for commit in commits], 50),
        commit_p99_ms=percentile([1000 * commit.recorded for commit in commits], 99),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def _freeze() -> None:
    """What was imported so far is taken out of the garbage collector's sight, as in a service that is up.

    Looking through it stops the process for 80 ms, whatever it is doing.
    """
    gc.collect()
    gc.freeze()


async def _at_a_pace(a_second: float, work: _Work, numbers: range) -> list[_Taken]:
    """What `work` returned for each number, begun so many times a second."""
    began, running = time.perf_counter(), []
    for turn, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, began + turn / a_second - time.perf_counter()))
        running.append(asyncio.ensure_future(work(number)))
    return list(await asyncio.gather(*running))


async def _recycle_wal(trial: PaceTrial) -> None:
    """Postgres has segments of its log to use again, as one that is up: to make one stops all commits for 10 ms."""
    from psycopg import AsyncConnection

    async with await AsyncConnection.connect(_plain_url(trial), autocommit=True) as connection:
        for _ in range(WAL_SEGMENTS):
            await connection.execute("SELECT pg_logical_emit_message(false, 'benchmark', 'x'), pg_switch_wal()")
        await connection.execute("CHECKPOINT")


def _plain_url(trial: PaceTrial) -> str:
    return trial.ledger_database.replace("postgresql+psycopg://", "postgresql://")


@asynccontextmanager
async def _commits(trial: PaceTrial) -> AsyncIterator[_Work]:
    """Committing one row of the size of a call, after a bare call: the least that could be done."""
    from psycopg_pool import AsyncConnectionPool

    url = _plain_url(trial)
    async with (
        AsyncConnectionPool(url, min_size=8, max_size=8) as pool,
        bare_caller(trial.provider_url, at_once=64) as ask,
    ):
        async with pool.connection() as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS bare_commits (id bigserial PRIMARY KEY, body text)")

        async def commit(number: int) -> _Taken:
            answer = await ask(f"Bare pace {trial.label} {number}")
            began = time.perf_counter()
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO bare_commits (body) VALUES (%s)", (answer.ljust(1000, "x"),))
            return _Taken(recorded=time.perf_counter() - began)

        yield commit


@asynccontextmanager
async def _calls(trial: PaceTrial) -> AsyncIterator[_Work]:
    """Calls of the gateway."""
    configure_ledger(trial.home, trial.ledger_database, trial.provider_url, PROJECT)
    from schemas.calls import ChatParameters
    from tasks.ledger import complete, gateway, open_ledger
    from tasks.ledger.limits import set_budgets

    parameters = ChatParameters(max_tokens=MAX_TOKENS)
    async with open_ledger() as ledger:
        await set_budgets(project=PROJECT, day="1000", month="10000")
        _note(ledger.providers, "chat", outside=-1)
        _note(ledger.recorder, "record", recorded=1)
        _note(gateway, "estimate_call", recorded=1)

        async def call(number: int) -> _Taken:
            taken = _Taken()
            _taken.set(taken)
            began = time.perf_counter()
            await complete(f"Pace {trial.label} {number}", model=MODEL, parameters=parameters)
            taken.outside += time.perf_counter() - began
            return taken

        yield call


def _note(holder: Any, name: str, *, outside: int = 0, recorded: int = 0) -> None:
    """The seconds spent in an asynchronous function are counted, so many times, by the call that they are spent for."""
    function = getattr(holder, name)

    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return await function(*args, **kwargs)
        finally:
            seconds, taken = time.perf_counter() - began, _taken.get()
            taken.outside += outside * seconds
            taken.recorded += recorded * seconds

    setattr(holder, name, timed)


if __name__ == "__main__":
    main()
