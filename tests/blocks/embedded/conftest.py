"""Homes that are emptied of their processes afterwards, and processes that use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from blocks.embedded.stack import EmbeddedStack

ROOT = Path(__file__).parents[3]

IN_MEMORY_BYTES = 2_000_000_000

USER = """
import sys
from pathlib import Path
from blocks.embedded.stack import EmbeddedStack

home, method = Path(sys.argv[1]), sys.argv[2]
with EmbeddedStack(home, home / "cache", idle_minutes=0) as stack:
    print(getattr(stack, method)(), flush=True)
    sys.stdin.read()
"""


def eventually(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """`condition` has come true, or the test fails."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class User:
    """Another process that has a HOME open and uses one part of it, until it is told to leave or killed."""

    def __init__(self, home: Path, method: str = "database_url") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(home), method],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def answer(self) -> str:
        """What it was given; empty when it failed."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> int:
        """It has closed the stack and ended; its exit code."""
        self.process.communicate()
        return self.process.returncode

    def kill(self) -> None:
        """It has been killed without any chance to clean up."""
        self.process.kill()
        self.process.communicate()


def pid_of(stack: EmbeddedStack, name: str) -> int | None:
    """The process of a service, None when it is dead or was never started."""
    return next((state.pid for state in stack.running() if state.name == name), None)


def no_process_of(home: Path) -> bool:
    """True when no process has HOME among its arguments."""
    return not [
        process for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(str(home) in part for part in process.info["cmdline"] or [])
    ]  # fmt: skip


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    """An empty HOME with a short path, which other users may pass through."""
    folder = new_folder()
    yield folder
    discard(folder)


@pytest.fixture
def home(fresh_home: Path, stopped_home: Path) -> Path:
    """A HOME with a database that was stopped in order: quicker to start than a fresh one."""
    subprocess.run(["cp", "-a", str(stopped_home / "postgres"), str(fresh_home)], check=True)
    return fresh_home


@pytest.fixture
def stack(home: Path) -> Iterator[EmbeddedStack]:
    """An open stack over `home` that stops everything as soon as nobody uses it."""
    with EmbeddedStack(home, home / "cache", idle_minutes=0) as opened:
        yield opened


@pytest.fixture(scope="session")
def stopped_home() -> Iterator[Path]:
    """What `home` is copied from."""
    folder = new_folder()
    with EmbeddedStack(folder, folder / "cache", idle_minutes=0) as opened:
        opened.database_url()
        opened.stop()
    yield folder
    discard(folder)


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[EmbeddedStack]:
    """One open stack for the tests that harm nothing."""
    folder = new_folder()
    with EmbeddedStack(folder, folder / "cache", idle_minutes=0) as opened:
        yield opened
    discard(folder)


def new_folder() -> Path:
    """A folder with a short path, in memory where there is room, so that no test waits for a disk.

    Not below pytest's own folder, which it closes again to the user Postgres runs as.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > IN_MEMORY_BYTES
    return Path(tempfile.mkdtemp(prefix="headrace-", dir=memory if roomy else "/tmp")).resolve()


def discard(home: Path) -> None:
    """Nothing runs in HOME, and it is gone."""
    EmbeddedStack(home, home / "cache", idle_minutes=0).stop(force=True)
    shutil.rmtree(home, ignore_errors=True)
    eventually(lambda: no_process_of(home), f"the processes of {home} have ended")
