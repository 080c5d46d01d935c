"""The commands that sweep parameters and say how far that is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import Bare, Fresh, Json

Flag = Annotated[bool, Parameter(negative="")]


def add_sweep_commands(app: App) -> None:
    """`app` has the commands of this module."""
    for command in (sweep, sweep_status):
        app.command(command)


def sweep(
    spec: Path,
    *,
    yes: Flag = False,
    estimate: Flag = False,
    probe: bool = True,
    project: str = "",
    fresh: Fresh = False,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Ask every combination of prompts, models and parameters of a spec; score and store each answer.

    Says first what that comes to, and asks. What is stored is not asked again: `headrace resume RUN` goes on after a
    crash, and a spec with more values or models pays only for what is new.

    Parameters
    ----------
    spec
        YAML, JSON or TOML: prompt, models, parameter_ranges (min, max and step, or lists), response_count and more.
    yes
        Do not ask.
    estimate
        Only say what it comes to.
    probe
        Ask each model once, to know how long its answers are; unless --fresh, the sweep uses that answer.
    project
        Whose budget pays; HEADRACE_PROJECT when not given.
    """
    from flows.asking import agreed, require_somebody
    from flows.sweep_presentation import show_plan
    from tasks.sweep.reading_specs import read_spec

    wanted = read_spec(spec)
    if not (yes or estimate):
        require_somebody()
    if estimate or not yes:
        from rich.console import Console

        from flows.presentation import console, write_json

        plan = asyncio.run(_plan(wanted, project, probe=probe, fresh=fresh, bare=bare))
        if estimate and json:
            write_json(plan)
            return 0
        show_plan(plan, console() if estimate else Console(stderr=True, highlight=False))
        if estimate or not agreed():
            return 0
    parameters = {"spec": wanted.model_dump(mode="json"), "project": project, "fresh": fresh}
    return go_on_with_sweep(parameters, None, bare=bare, as_json=json)


async def _plan(spec: Any, project: str, *, probe: bool, fresh: bool, bare: bool) -> Any:
    from flows.running import settings_for
    from tasks.ledger.session import open_ledger
    from tasks.sweep.planning import plan_sweep, with_models

    async with open_ledger(settings_for(bare)) as ledger:
        wanted = with_models(spec, ledger.settings)
        return await plan_sweep(ledger, wanted, project=project, probe=probe, fresh=fresh)


def go_on_with_sweep(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The sweep with `parameters`, begun or gone on with, is done and shown."""
    from flows.running import run_flow
    from flows.sweep import sweep_parameters
    from flows.sweep_presentation import show_sweep

    if run is not None:
        asyncio.run(_refuse_deleted(run, bare=bare))
    report = asyncio.run(run_flow(sweep_parameters, parameters, resume=run, bare=bare))
    return show_sweep(report, as_json=as_json)


async def _refuse_deleted(run: UUID, *, bare: bool) -> None:
    from flows.running import settings_for
    from tasks.ledger.session import open_ledger
    from tasks.sweep.housekeeping_deletion import refuse_deleted

    async with open_ledger(settings_for(bare)):
        await refuse_deleted(run)


def sweep_status(experiment: str, *, watch: Flag = False, json: Json = False) -> int:
    """Say how far a sweep is: answers, failures, cost, best and mean quality so far, and when it will be done.

    Parameters
    ----------
    experiment
        Id or name of the experiment.
    watch
        Go on saying so, every second, until the sweep has ended; Ctrl-C ends the watching, not the sweep.
    """
    from flows.sweep_presentation import show_status
    from flows.sweep_watching import watch_sweep

    if watch:
        return show_status(asyncio.run(watch_sweep(experiment, quiet=json)), as_json=json)
    return show_status(asyncio.run(_status(experiment)), as_json=json)


async def _status(experiment: str) -> Any:
    from flows.sweep_watching import look_at_sweep
    from tasks.ledger.session import open_ledger

    async with open_ledger() as ledger:
        return await look_at_sweep(ledger, experiment)
