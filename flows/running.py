"""How every flow is started from the command line and from Python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from blocks.prefect_api import HEARTBEAT_SECONDS, find_api
from blocks.settings import environment_settings, get_settings
from schemas.errors import BadInput
from schemas.settings import Settings
from tasks.ledger.runs import Run, resuming
from tasks.ledger.session import open_ledger

log = logging.getLogger("headrace")

begun_runs: list[UUID] = []
"""Runs of the flow started last, for whoever must say what was interrupted."""


async def run_flow(flow: Any, parameters: Mapping[str, Any], *, resume: UUID | None = None, bare: bool = False) -> Any:
    """The flow's result, run under Prefect where there is an API to report to, else by itself.

    Prefect's ephemeral server is never used: it takes seconds to start and loses records. The rows in
    the ledger are the same either way.

    Args:
        flow: a Prefect flow of an async function.
        resume: the run that the flow continues instead of beginning a new one.
        bare: without Prefect even where an API is set.

    Raises:
        BadInput: a parameter has a value that the flow does not take.
        ConfigurationError: `PREFECT_API_URL` is set and does not answer.
    """
    settings = settings_for(bare)
    url = None if bare else await asyncio.to_thread(find_api, settings.home)
    checked = _checked(flow, parameters)
    begun_runs.clear()
    resuming.set(resume)
    if url is None:
        log.info("%s runs without Prefect (`headrace up` starts a server with a UI)", flow.name)
        async with open_ledger(settings):
            return await flow.fn(**checked)
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: HEARTBEAT_SECONDS}):
        try:
            return await flow.with_options(on_running=[_show_page])(**checked)
        finally:
            await APILogHandler.aflush()  # while the server is there: it may be stopped right after


def settings_for(bare: bool) -> Settings:
    """What is set; bare, what a Prefect block would add is left out."""
    return environment_settings() if bare else get_settings()


def _checked(flow: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`parameters` as the flow's types want them."""
    from prefect.exceptions import ParameterTypeError
    from prefect.logging.loggers import disable_logger

    try:
        with disable_logger("prefect.flows"):  # it would log what is raised
            checked: dict[str, Any] = flow.validate_parameters(dict(parameters))
    except ParameterTypeError as error:
        faults = "; ".join(line.removeprefix(" - ") for line in str(error).splitlines()[1:])
        raise BadInput(f"{flow.name} cannot run with these parameters: {faults}") from None
    return checked


def _show_page(_: Any, flow_run: Any, __: Any) -> None:
    """Where a person can watch the flow run."""
    from prefect.utilities.urls import url_for

    log.info("%s: %s", flow_run.name, url_for(flow_run))


def prefect_flow_run_id() -> UUID | None:
    """The Prefect flow run in progress, if there is one."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def note_run(run: Run) -> None:
    """The run is known to have begun, in the log of the Prefect flow run in progress too."""
    begun_runs.append(run.id)
    if prefect_flow_run_id() is not None:
        from prefect.logging import get_run_logger

        get_run_logger().info("Run %s: %s", run.id, run.subject)
