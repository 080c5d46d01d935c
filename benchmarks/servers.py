"""What the contestants share: the scripted provider, one Postgres, a Prefect server; and what each of these costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import make_url

from blocks.database import create_database, migrate, normal_url
from blocks.embedded.stack import EmbeddedStack
from blocks.prefect_server import PrefectProcesses, asyncpg_url, free_port, leftover_processes
from tests.scripted_provider.log import read_log

PROJECT = Path(__file__).parents[1]
PREFECT_PORT = 4290
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Provider:
    """A scripted provider in a process of its own, which takes `latency_ms` for each answer."""

    url: str
    log: Path

    def paid(self) -> int:
        """How many answers it has made that would be billed."""
        return sum(served.paid for served in read_log(self.log))


@dataclass(frozen=True)
class Servers:
    """Everything that runs while contestants take their turns.

    Attributes:
        checkpoint_database: libpq URL for LangGraph's checkpointer.
        ledger_database / prefect_database: SQLAlchemy URLs, on the same Postgres.
    """

    home: Path
    stack: EmbeddedStack
    checkpoint_database: str
    ledger_database: str
    prefect_database: str
    prefect_api: str | None

    def cpu_seconds(self) -> float:
        """Processor time that Postgres and the Prefect server have used so far."""
        postgres = [state.pid for state in self.stack.running() if state.name == "postgres" and state.pid]
        recorded = self.home / "run" / "prefect-processes.json"
        prefect = list(leftover_processes(recorded)) if recorded.exists() else []
        return sum(map(_tree_seconds, [*map(psutil.Process, postgres), *prefect]))


def _tree_seconds(root: psutil.Process) -> float:
    """Processor time of a process, its living children and those it has outlived."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def running_servers(*, with_prefect: bool) -> Iterator[Servers]:
    """Inside, Postgres with three databases runs in a HOME of its own, and a Prefect server where one is needed."""
    home = Path(tempfile.mkdtemp(prefix="headrace-bench-", dir="/tmp")).resolve()
    try:
        with EmbeddedStack(home, home / "cache", idle_minutes=0) as stack, ExitStack() as resources:
            resources.callback(stack.stop, force=True)
            ledger, checkpoints, prefect = map(stack.database_url, ("headrace", "langgraph", "prefect"))
            _migrate(ledger)
            api = resources.enter_context(_prefect_server(home, prefect)) if with_prefect else None
            plain = make_url(checkpoints).set(drivername="postgresql").render_as_string(hide_password=False)
            yield Servers(home, stack, plain, ledger, prefect, api)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _migrate(url: str) -> None:
    engine = create_database(normal_url(url))
    migrate(engine)
    engine.dispose()


@contextmanager
def _prefect_server(home: Path, database_url: str) -> Iterator[str]:
    environment = {"HEADRACE_HOME": str(home), "HEADRACE_CACHE": str(home / "cache")}
    with PrefectProcesses(home, environment) as processes:
        yield processes.start_server(asyncpg_url(database_url), free_port(PREFECT_PORT))


@contextmanager
def running_provider(home: Path, latency_ms: float, *, respond: str | None = None) -> Iterator[Provider]:
    """Inside, a scripted provider answers on loopback, with what the function `respond` (`module:name`) says.

    It stands for a machine elsewhere: where who is measured or Postgres wants the processor, they have it (`nice`).
    """
    log = home / f"provider-{latency_ms:g}.jsonl"
    command = ["nice", "-n", "19", sys.executable, "-m", "tests.scripted_provider", "--port", "0"]
    command += ["--latency-ms", f"{latency_ms:g}", "--log", str(log)]
    command += ["--respond", respond] if respond else []
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            url = child.stdout.readline().strip()
            if not url:
                raise RuntimeError("the scripted provider did not start")
            yield Provider(url, log)
        finally:
            child.terminate()
            _reap(child)


def _reap(child: subprocess.Popen[str]) -> None:
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed packages among `names`."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
