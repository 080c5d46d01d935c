"""Parameters swept: every combination asked, scored and stored.

from flows.sweep import sweep_parameters
from flows.running import run_flow

report = await run_flow(sweep_parameters, {"spec": {"name": "tone", "prompt": "…", "parameter_ranges": {…}}})
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from prefect import flow
from sqlalchemy import Connection

from blocks.database import database_errors
from flows.artifacts import publish_page
from flows.migration_progress import showing
from flows.running import note_run, prefect_flow_run_id
from flows.sweep_passes import publish_agreement
from flows.sweep_presentation import as_markdown
from schemas.errors import HeadraceError
from schemas.settings import Settings
from schemas.sweep_results import ExperimentStatus, SweepReport
from schemas.task_runners import parse_task_runner
from tasks.ledger.runs import Run, RunRequest, open_run
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.task_runners import ChunkRunner
from tasks.sweep.analysis import analyze_experiment
from tasks.sweep.chunks import Elsewhere, find_elsewhere
from tasks.sweep.experiments import begin_experiment, end_experiment
from tasks.sweep.grid import Grid
from tasks.sweep.outcome import read_report
from tasks.sweep.passes import look_back
from tasks.sweep.planning import with_models
from tasks.sweep.progress import Progress
from tasks.sweep.quality.scoring import weights_of
from tasks.sweep.reading_specs import parse_spec
from tasks.sweep.sweeping import Sweep

SWEEP = "sweep-parameters"

log = logging.getLogger("headrace")

T = TypeVar("T")


@flow(name=SWEEP, flow_run_name="sweep {spec[name]}", persist_result=False)
async def sweep_parameters(spec: dict[str, Any], project: str = "", fresh: bool = False) -> SweepReport:
    """Ask every combination of a spec, score each answer and store it as it comes.

    Args:
        spec: As in a spec file, e.g. {"name": "tone", "prompt": "Hi!", "parameter_ranges": {"temperature": [0, 1]}}
        project: Whose budget pays; empty: HEADRACE_PROJECT
        fresh: Ask anew what the ledger has answers to

    Raises:
        BadInput: the spec cannot be asked.
        BudgetExceeded: `max_cost_usd` or another budget has no room; resume when it has.
        RetriesExhausted, ConfigurationError: the provider answers nobody; the run can be resumed.
    """
    wanted = parse_spec(spec)
    if wanted.weights:
        weights_of(wanted.weights)
    async with open_ledger() as ledger:
        runner = _chosen_runner(ledger.settings)
        grid = Grid(with_models(wanted, ledger.settings))
        request = RunRequest(
            flow=SWEEP,
            subject=wanted.name,
            project=project or ledger.settings.project,
            parameters={"spec": grid.spec.model_dump(mode="json"), "project": project, "fresh": fresh},
            fresh=fresh,
            prefect_flow_run_id=prefect_flow_run_id(),
            budget_usd=wanted.max_cost_usd,
        )
        async with open_run(request) as run:
            note_run(run)
            with runner or nullcontext():
                elsewhere = await find_elsewhere(ledger, runner, grid.spec) if runner else None
                report = await _sweep(ledger, run, grid, elsewhere)
            report = await _concluded(report)
            run.result = report.model_dump(mode="json")
    await publish_page(as_markdown(report), report.run_id, "sweep", report.name)
    await publish_agreement(report)
    return report


def _chosen_runner(settings: Settings) -> ChunkRunner | None:
    """The task runner that is set, where there is a flow run whose tasks it can run.

    Raises:
        ConfigurationError: there is no such runner, or what it needs is not installed.
    """
    choice = parse_task_runner(settings.task_runner)
    if choice is None:
        return None
    runner = ChunkRunner(choice)
    if prefect_flow_run_id() is None:
        log.warning("HEADRACE_TASK_RUNNER is not used without Prefect (`headrace up`): this process asks by itself")
        return None
    return runner


async def _sweep(ledger: Ledger, run: Run, grid: Grid, elsewhere: Elsewhere | None) -> SweepReport:
    """The experiment is asked and ended, well or not."""
    began = time.monotonic()
    experiment_id = await _in_transaction(ledger, lambda connection: begin_experiment(connection, run, grid))
    progress = Progress()
    at_once = ledger.settings.parallel_calls
    sweep = Sweep(run, experiment_id, grid, progress, at_once=at_once, elsewhere=elsewhere)
    try:
        async with showing(progress):
            asked = await sweep.ask()
            await look_back(run, experiment_id, grid.spec, progress)
    except BaseException as error:
        await asyncio.shield(_note_end(ledger, run, error))
        raise
    seconds = time.monotonic() - began
    await _note_end(ledger, run, None)
    return await _in_transaction(
        ledger, lambda connection: read_report(connection, run.id, grid, asked=asked.cells, seconds=seconds)
    )


async def _concluded(report: SweepReport) -> SweepReport:
    """The report with what the statistics say, where there is anything to say."""
    if report.mean_score is None:
        return report
    analysis = await analyze_experiment(report.experiment_id)
    return report.model_copy(update={"conclusions": tuple(analysis.sentences)})


async def _note_end(ledger: Ledger, run: Run, error: BaseException | None) -> None:
    status: ExperimentStatus = "completed" if error is None else "failed"
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        status, error = "cancelled", None
    try:
        await _in_transaction(ledger, lambda connection: end_experiment(connection, run, status, error))
    except HeadraceError:
        if error is None:
            raise  # else why it ended matters more


async def _in_transaction(ledger: Ledger, work: Callable[[Connection], T]) -> T:
    with database_errors():
        async with ledger.engine.begin() as connection:
            return await connection.run_sync(work)
