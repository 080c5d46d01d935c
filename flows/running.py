"""How every flow is started from the command line and from Python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from blocks.prefect_api import find_api
from schemas.settings import get_settings
from tasks.ledger.runs import resuming

log = logging.getLogger("headrace")


async def run_flow(flow: Any, parameters: Mapping[str, Any], *, resume: UUID | None = None, bare: bool = False) -> Any:
    """The flow's result, run under Prefect where there is an API to report to, else by itself.

    Prefect's ephemeral server is never used: it takes seconds to start and loses records. The rows in
    the ledger are the same either way.

    Args:
        flow: a Prefect flow of an async function.
        resume: the run that the flow continues instead of beginning a new one.
        bare: without Prefect even where an API is set.

    Raises:
        ConfigurationError: `PREFECT_API_URL` is set and does not answer.
    """
    url = None if bare else await asyncio.to_thread(find_api, get_settings().home)
    checked = flow.validate_parameters(dict(parameters))
    resuming.set(resume)
    if url is None:
        log.info("%s runs without Prefect (`headrace up` starts a server with a UI)", flow.name)
        return await flow.fn(**checked)
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        try:
            return await flow(**checked)
        finally:
            await APILogHandler.aflush()  # while the server is there: it may be stopped right after
