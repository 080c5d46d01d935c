"""Chunks of a sweep that are asked elsewhere: in a thread, a process or a machine of their own.

What travels there are ids and the spec; what comes back are counts, for the answers are stored where they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from blocks.database import database_errors
from blocks.settings import get_settings
from schemas.calls import ModelInfo
from schemas.errors import DatabaseUnavailable, HeadraceError, LeaseLost
from schemas.rate_limits import effective_limits
from schemas.settings import Settings
from schemas.sweep import SweepSpec
from schemas.task_runners import RunnerChoice
from tasks.ledger.joining import RunTicket, join_run
from tasks.ledger.runs import Run
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.task_runners import ChunkRunner
from tasks.sweep.cells import Cell
from tasks.sweep.grid import Grid
from tasks.sweep.progress import Progress

if TYPE_CHECKING:
    from tasks.sweep.sweeping import Sweep

LOOK_SECONDS = 1.0
"""From one look at the record to the next."""


class ChunkOrder(BaseModel):
    """Cells to be asked.

    Attributes:
        cells: number of the combination, and repetition.
        at_once: calls on their way at any time.
        share: processes that share the limits on calls.
    """

    model_config = ConfigDict(frozen=True)

    ticket: RunTicket
    experiment_id: str
    spec: SweepSpec
    cells: tuple[tuple[int, int], ...]
    at_once: int
    share: int


class ChunkOutcome(BaseModel):
    """What a chunk came to.

    Attributes:
        scored: by combination key and repetition, for strategies that want to know.
        error: class, message and details of what ended it.
    """

    model_config = ConfigDict(frozen=True)

    answered: int
    failed: int
    scored: tuple[tuple[str, int, float], ...] = ()
    error: tuple[str, str, dict[str, Any]] | None = None

    def raise_error(self) -> None:
        """What ended the chunk is raised here."""
        if self.error is not None:
            name, message, details = self.error
            raise _kinds(HeadraceError)[name](message, **details)


def _kinds(kind: type[HeadraceError]) -> dict[str, type[HeadraceError]]:
    """Our errors by name."""
    found = {kind.__name__: kind}
    for below in kind.__subclasses__():
        found |= _kinds(below)
    return found


class Elsewhere:
    """Where the chunks of a sweep are asked, if not here.

    Args:
        workers: as many as the limits of every model have room for.
    """

    def __init__(self, runner: ChunkRunner, workers: int, settings: Settings) -> None:
        self.workers = workers
        self._runner = runner
        self._at_once = max(1, settings.parallel_calls // workers)
        self._share = 1 if runner.choice.in_this_process else workers

    async def ask(self, run: Run, experiment_id: str, spec: SweepSpec, cells: Sequence[Cell]) -> ChunkOutcome:
        """The cells have their responses.

        Raises:
            DatabaseUnavailable: also after Prefect tried again.
        """
        order = ChunkOrder(
            ticket=RunTicket.of(run),
            experiment_id=experiment_id,
            spec=spec,
            cells=tuple((cell.combination.number, cell.repetition) for cell in cells),
            at_once=self._at_once,
            share=self._share,
        )
        return await self._runner.run("ask", ask_chunk, order)


async def find_elsewhere(ledger: Ledger, runner: ChunkRunner, spec: SweepSpec) -> Elsewhere:
    """Where `runner` asks, with no more workers than every one can have a call of each model's limits."""
    workers = _workers(
        runner.choice, ledger.settings, [await ledger.providers.describe(str(model)) for model in spec.models]
    )
    return Elsewhere(runner, workers, ledger.settings)


def _workers(choice: RunnerChoice, settings: Settings, models: Sequence[ModelInfo]) -> int:
    rooms = [choice.workers, settings.parallel_calls]
    if not choice.in_this_process:
        for model in models:
            limits = effective_limits(model, settings)
            rooms += [limit for limit in (limits.parallel_calls, limits.requests_per_minute) if limit]
    return max(1, min(rooms))


def ask_chunk(order: BaseModel) -> ChunkOutcome:
    """The cells of a `ChunkOrder` are asked, in an event loop of their own.

    Raises:
        DatabaseUnavailable: what is stored is not asked again.
    """
    assert isinstance(order, ChunkOrder)
    return asyncio.run(_ask(order))


async def _ask(order: ChunkOrder) -> ChunkOutcome:
    from tasks.sweep.sweeping import Sweep  # which asks elsewhere by this module

    async with open_ledger(shared_settings(get_settings(), order.share)) as ledger:
        with join_run(ledger, order.ticket) as run:
            grid = Grid(order.spec)
            sweep = Sweep(run, order.experiment_id, grid, Progress(), at_once=order.at_once)
            cells = [Cell(grid[number], repetition) for number, repetition in order.cells]
            watching = asyncio.create_task(_stop_with(run, order.experiment_id, sweep), name="sweep-watch")
            try:
                done = await sweep.ask_cells(cells)
            except DatabaseUnavailable:
                raise
            except HeadraceError as error:
                told = (type(error).__name__, str(error), error.details)
                return ChunkOutcome(answered=0, failed=0, error=told)
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            scored = tuple((*cell, score) for cell, score in sweep.scored.items())
            return ChunkOutcome(answered=done.answered, failed=done.failed, scored=scored)


def shared_settings(settings: Settings, share: int) -> Settings:
    """`settings` for one of `share` processes that keep to the limits together."""
    if share == 1:
        return settings
    parallel = max(1, settings.parallel_calls // share)
    return settings.model_copy(update={"parallel_calls": parallel, "limit_share": settings.limit_share * share})


_GOES_ON = text("""
    SELECT 1 FROM runs JOIN experiments ON experiments.id = :experiment
    WHERE runs.id = :run AND attempt_id = :attempt AND experiments.status = 'running'
""")


async def _stop_with(run: Run, experiment_id: str, sweep: Sweep) -> None:
    """The chunk begins no more calls once the sweep was ended, or another attempt has taken it over."""
    values = {"run": run.id, "attempt": run.attempt.id, "experiment": experiment_id}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            with database_errors():
                async with run.ledger.engine.connect() as connection:
                    goes_on = (await connection.execute(_GOES_ON, values)).first()
        except DatabaseUnavailable:
            continue  # whoever stores an answer meets that
        if goes_on is None:
            sweep.end(LeaseLost("the sweep was ended; what is on its way is kept"))


_COUNTS = text("""
    SELECT count(*) AS done, count(*) FILTER (WHERE responses.status = 'failed') AS failed,
           count(*) FILTER (WHERE replayed) AS replayed, max(score) AS best, count(score) AS scored,
           coalesce(sum(score), 0) AS total, coalesce(sum(cost_usd), 0) AS cost_usd
    FROM responses LEFT JOIN quality_metrics
        ON response_id = responses.id AND metric = 'overall' AND analysis_version = :version
    WHERE experiment_id = :experiment
""")


async def follow_record(ledger: Ledger, experiment_id: str, version: str, progress: Progress) -> None:
    """The progress is that on record, for as long as this goes on."""
    values: dict[str, str | UUID] = {"experiment": experiment_id, "version": version}
    while True:
        with suppress(DatabaseUnavailable), database_errors():  # of which those tell who ask
            async with ledger.engine.connect() as connection:
                counts = (await connection.execute(_COUNTS, values)).one()
            progress.take(counts.done, counts.failed, counts.replayed, counts.cost_usd)
            progress.take_scores(counts.scored, counts.total, counts.best)
        await asyncio.sleep(LOOK_SECONDS)
