"""A Prefect server, its worker and its deployments, as child processes of `headrace up`."""

from __future__ import annotations

import logging
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

from blocks.embedded.folders import read_json, write_json
from blocks.prefect_api import HEARTBEAT_SECONDS, announce_api, ensure_automation, ensure_work_pool, is_answering
from schemas.errors import ConfigurationError, HeadraceError

log = logging.getLogger(__name__)

WORK_POOL = "headrace"
SERVER, WORKER = "prefect-server", "prefect-worker"
START_SECONDS = 120.0
SHORT_LIFE_SECONDS = 10.0
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
SILENCE_SECONDS = 70
"""A flow run that was silent for longer, two heartbeats missed, is crashed."""

WORKER_SETTINGS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_LOGGING_LEVEL": "INFO",
}

# A process that is killed cannot say so: without this its flow run would stay "running" for ever.
SILENT_RUNS_ARE_CRASHED = {
    "name": "Silent flow runs are crashed",
    "description": f"A flow run without a heartbeat for {SILENCE_SECONDS} seconds has lost its process.",
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.heartbeat"],
        "expect": [
            f"prefect.flow-run.{event}" for event in ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")
        ],
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": SILENCE_SECONDS,
    },
    "actions": [
        {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "message": "Its process stopped answering; `headrace resume` goes on with its run.",
        }
    ],
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
        own = {"PREFECT_HOME": str(home / "prefect"), "DO_NOT_TRACK": "1"}
        self._environment = dict(os.environ) | dict(environment) | own
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._start_worker: Callable[[], object] | None = None
        self._worker_started = 0.0

    def __enter__(self) -> PrefectProcesses:
        self._run.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        return self

    def __exit__(self, *_: object) -> None:
        announce_api(self._home, None)
        for child in reversed(self._children.values()):
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
        server = self._start(SERVER, arguments, settings)
        self._until(lambda: is_answering(url), server, SERVER)
        announce_api(self._home, url)
        return url

    def deploy(self, url: str, project: Path) -> None:
        """Every deployment of `project`'s `prefect.yaml` is registered, and the type of the settings block.

        Raises:
            ServerFailed: Prefect refused one; the message names its log.
        """
        settings = {"PREFECT_API_URL": url, "PREFECT_LOGGING_LEVEL": "WARNING"}
        self._finish(["--no-prompt", "deploy", "--all"], settings, project)
        self._finish(["block", "register", "--module", "blocks.settings_block"], settings, project)

    def start_worker(self, url: str, limit: int, project: Path) -> None:
        """A process worker takes the runs of our work pool, at most `limit` at once; runs that fall silent are crashed.

        Raises:
            PrefectRefused: the server does not take our work pool or automation.
        """
        ensure_work_pool(url, WORK_POOL)
        ensure_automation(url, SILENT_RUNS_ARE_CRASHED)
        settings = WORKER_SETTINGS | {"PREFECT_API_URL": url}
        arguments = ["worker", "start", "--pool", WORK_POOL, "--type", "process", "--limit", str(limit)]
        self._start_worker = lambda: self._start(WORKER, arguments, settings, cwd=project)
        self._worker_started = time.monotonic()
        self._start_worker()

    def keep_running(self) -> None:
        """A worker that ended by itself is started anew: Prefect's ends when a run is retried before it is quite over.

        Raises:
            ServerFailed: the server has ended, or a worker soon after its start.
        """
        for name, child in list(self._children.items()):
            if child.poll() is None:
                continue
            lived = time.monotonic() - self._worker_started
            if name != WORKER or self._start_worker is None or lived < SHORT_LIFE_SECONDS:
                raise ServerFailed(f"{name} ended with code {child.returncode}; see {self._run / name}.log")
            log.warning("the Prefect worker ended with code %s and is started anew", child.returncode)
            self._worker_started = time.monotonic()
            self._start_worker()

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
        self._children[name] = child
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
        known = []
        for name, child in self._children.items():
            with suppress(psutil.NoSuchProcess):
                if child.poll() is None:
                    known.append({"name": name, "pid": child.pid, "started": psutil.Process(child.pid).create_time()})
        write_json(self._children_file, known)

    def _end_leftovers(self) -> None:
        for process in leftover_processes(self._children_file):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
                with suppress(psutil.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                    continue
                process.kill()


def leftover_processes(recorded: Path) -> Iterator[psutil.Process]:
    """Processes of the file that still are the ones it means."""
    for entry in read_json(recorded) or ():
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
