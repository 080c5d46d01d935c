"""`headrace up`: the embedded stack, a Prefect server with its UI, a worker and the deployments."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from blocks.prefect_server import HOST, PrefectProcesses, asyncpg_url, free_port
from blocks.settings import get_settings
from flows.maintenance import database_address, embedded_stack
from flows.presentation import write_json
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from tasks.ledger.session import ready_database

PROJECT = Path(__file__).parents[1]
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Running:
    """What is up and where to look at it."""

    ui: str
    api: str
    processes: PrefectProcesses


@contextmanager
def running_stack(*, port: int, limit: int) -> Iterator[Running]:
    """Inside, database, Prefect server, worker and deployments are up; afterwards they are stopped.

    With `DATABASE_URL` the ledger is there, and Prefect's own tables stay in the embedded Postgres.

    Raises:
        ConfigurationError: the schema of `DATABASE_URL` is old, or the deployments are not to be found.
        ServerFailed: Prefect does not start; the message names its log.
    """
    settings = get_settings()
    if not (PROJECT / "prefect.yaml").exists():
        raise ConfigurationError(f"there is no prefect.yaml in {PROJECT}: run `headrace up` from a checkout")
    with embedded_stack(settings) as stack:
        ready_database(settings, stack)
        prefect_database = asyncpg_url(stack.database_url("prefect"))
        with PrefectProcesses(settings.home, _environment(settings)) as processes:
            chosen = free_port(port)
            api = processes.start_server(prefect_database, chosen)
            processes.start_worker(api, limit, PROJECT)
            processes.deploy(api, PROJECT)
            yield Running(f"http://{HOST}:{chosen}", api, processes)


def _environment(settings: Settings) -> dict[str, str]:
    """What worker and flow runs must share with this process."""
    return {"HEADRACE_HOME": str(settings.home.resolve()), "HEADRACE_CACHE": str(settings.cache.resolve())}


class Addresses(BaseModel):
    """Where a person or a program can look."""

    run_id: None = None
    status: str = "running"
    ui: str
    api: str
    deployments: str
    database: str


def addresses(running: Running) -> Addresses:
    """Of what is up."""
    ui = running.ui
    return Addresses(ui=ui, api=running.api, deployments=f"{ui}/deployments", database=database_address())


def serve_until_interrupted(*, port: int, limit: int, as_json: bool) -> int:
    """Everything is up until Ctrl-C; returns 0 after an orderly stop."""
    print("Starting Postgres, the Prefect server, a worker and the deployments …", file=sys.stderr)
    try:
        with running_stack(port=port, limit=limit) as running:
            if as_json:
                write_json(addresses(running))
            else:
                show_addresses(running)
                print("Ctrl-C stops it all.", flush=True)
            wait_until_interrupted(running)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


def show_addresses(running: Running) -> None:
    """Where a person can look."""
    found = addresses(running)
    print(f"Prefect UI   {found.ui}")
    print(f"Deployments  {found.deployments}")
    print(f"Database     {found.database}", flush=True)


def wait_until_interrupted(running: Running) -> None:
    """Ends by KeyboardInterrupt, or with an error when one of the processes ends by itself."""
    while True:
        running.processes.keep_running()
        time.sleep(LOOK_SECONDS)
