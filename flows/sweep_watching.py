"""A sweep watched from outside, in whatever process it runs."""

from __future__ import annotations

import asyncio
import sys
import time

from sqlalchemy import Connection

from blocks.database import database_errors
from flows.sweep_presentation import status_lines
from schemas.sweep_results import SweepStatus
from tasks.ledger.session import Ledger, open_ledger
from tasks.sweep.status import read_status

SECONDS = 1.0
"""From one look to the next: what is shown is never older than this and the look itself."""
UNDER_WAY = frozenset({"pending", "running"})


async def look_at_sweep(ledger: Ledger, experiment: str) -> SweepStatus:
    """How far the experiment with this id or name is.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """

    def look(connection: Connection) -> SweepStatus:
        return read_status(connection, experiment)

    with database_errors():
        async with ledger.engine.connect() as connection:
            return await connection.run_sync(look)


async def watch_sweep(experiment: str, *, quiet: bool = False) -> SweepStatus:
    """The sweep has ended; until then it was said on standard error how far it is, in place on a terminal.

    Args:
        quiet: say nothing.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    to = Console(stderr=True, highlight=False, quiet=quiet)
    with Live(console=to, auto_refresh=False, transient=True) as live:
        async with open_ledger() as ledger:
            status = await look_at_sweep(ledger, experiment)
            said = ""
            while status.status in UNDER_WAY:
                lines, began = status_lines(status), time.monotonic()
                if sys.stderr.isatty():
                    live.update(Group(*map(Text, lines)), refresh=True)
                elif (line := "; ".join(lines)) != said:
                    to.print(line, markup=False, soft_wrap=True)
                    said = line
                await asyncio.sleep(max(0.0, SECONDS - (time.monotonic() - began)))
                status = await look_at_sweep(ledger, status.experiment_id)
    return status
