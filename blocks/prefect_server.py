"""A Prefect server, its worker and its deployments, as child processes of `headrace up`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy import make_url

from blocks.prefect_api import announce_api, is_answering
from schemas.errors import ConfigurationError, HeadraceError

WORK_POOL = "headrace"
START_SECONDS = 120.0
STOP_SECONDS = 15.0
HOST = "127.0.0.1"

# By default the server loses task-run records under load and at the end of a run: these batch sizes keep them.
SERVER_SETTINGS = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "500",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
WORKER_SETTINGS = {
    "PREFECT_RUNNER_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_LOGGING_LEVEL": "INFO",
}


class ServerFailed(HeadraceError):
    """The Prefect server or worker did not start; its log says why."""

    code = "prefect_failed"


def asyncpg_url(url: str) -> str:
    """`url` of a database as Prefect's server takes it."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def free_port(wanted: int) -> int:
    """`wanted` if nothing listens there, else the next free one.

    Raises:
        ConfigurationError: none of the next fifty is free.
    """
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise ConfigurationError(f"no free port from {wanted} to {wanted + 49}: give another one with --port")


class PrefectProcesses:
    """Server and worker of one HOME; entering starts nothing, leaving stops what was started."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        self._run = home / "run"
        self._environment = dict(os.environ) | dict(environment) | {"PREFECT_HOME": str(home / "prefect")}
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PrefectProcesses:
        self._run.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        return self

    def __exit__(self, *_: object) -> None:
        announce_api(self._home, None)
        for child in reversed(self._children):
            _stop(child)
        self._record()

    def start_server(self, database_url: str, port: int) -> str:
        """The server answers; returns the address of its API.

        Raises:
            ServerFailed: it ended or did not answer in time; the message names its log.
        """
        url = f"http://{HOST}:{port}/api"
        settings = SERVER_SETTINGS | {"PREFECT_API_DATABASE_CONNECTION_URL": database_url, "PREFECT_UI_API_URL": url}
        arguments = ["server", "start", "--host", HOST, "--port", str(port)]
        server = self._start("prefect-server", arguments, settings)
        self._until(lambda: is_answering(url), server, "prefect-server")
        announce_api(self._home, url)
        return url

    def deploy(self, url: str, project: Path) -> None:
        """Every deployment of `project`'s `prefect.yaml` is registered, in a work pool of ours.

        Raises:
            ServerFailed: Prefect refused one; the message names its log.
        """
        settings = {"PREFECT_API_URL": url, "PREFECT_LOGGING_LEVEL": "WARNING"}
        self._finish(["work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], settings, project)
        self._finish(["--no-prompt", "deploy", "--all"], settings, project)

    def start_worker(self, url: str, limit: int, project: Path) -> None:
        """A process worker takes the runs of our work pool, at most `limit` at once."""
        settings = WORKER_SETTINGS | {"PREFECT_API_URL": url}
        arguments = ["worker", "start", "--pool", WORK_POOL, "--type", "process", "--limit", str(limit)]
        self._start("prefect-worker", arguments, settings, cwd=project)

    def check(self) -> None:
        """Nothing, while all children live.

        Raises:
            ServerFailed: one has ended.
        """
        for child in self._children:
            if child.poll() is not None:
                raise ServerFailed(f"a Prefect process ended with code {child.returncode}; see {self._run}")

    def _start(
        self, name: str, arguments: list[str], settings: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with (self._run / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                env={**self._environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                start_new_session=True,
            )
        self._children.append(child)
        self._record()
        return child

    def _finish(self, arguments: list[str], settings: Mapping[str, str], cwd: Path) -> None:
        log = self._run / "prefect-deploy.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "prefect", *arguments],
                env={**self._environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                check=False,
            )
        if done.returncode != 0:
            raise ServerFailed(f"`prefect {' '.join(arguments)}` failed; see {log}")

    def _until(self, answers: Callable[[], bool], child: subprocess.Popen[bytes], name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{name} did not start; see {self._run / name}.log")
            time.sleep(0.1)

    @property
    def _children_file(self) -> Path:
        return self._run / "prefect-processes.json"

    def _record(self) -> None:
        """Who is running, so that the next `headrace up` can end what a killed one left behind."""
        living = [child.pid for child in self._children if child.poll() is None]
        known = []
        for pid in living:
            with suppress(psutil.NoSuchProcess):
                known.append({"pid": pid, "started": psutil.Process(pid).create_time()})
        self._children_file.write_text(json.dumps(known))

    def _end_leftovers(self) -> None:
        if not self._children_file.exists():
            return
        for process in leftover_processes(self._children_file):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
                with suppress(psutil.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                    continue
                process.kill()


def leftover_processes(recorded: Path) -> Iterator[psutil.Process]:
    """Processes of the file that still are the ones it means."""
    try:
        entries = json.loads(recorded.read_text())
    except ValueError:
        return
    for entry in entries:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry["pid"])
            if abs(process.create_time() - entry["started"]) < 1.0:
                yield process


def _stop(child: subprocess.Popen[bytes]) -> None:
    """The child and whatever it started has ended."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
