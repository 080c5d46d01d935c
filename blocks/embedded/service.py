"""A background process shared by every command of a HOME.

The process inherits, when it is born, an exclusive lock on `run/NAME.lock` and holds it until it and all its
children have ended. That lock is the one truth about what runs: it cannot be stale, process ids and clocks play
no part in it, and two starters cannot both have it, whoever is killed at whatever moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocks.embedded.file_lock import FileLock, is_held
from blocks.embedded.folders import HOME_SETTING, last_line, open_log, run_folder, write_json, writing_to
from schemas.errors import TransientError

Report = Callable[[str], None]

LAUNCHES = 3
"""Starts that may end in a dead process before `ensure` gives up."""
POLL_SECONDS = 0.05

_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ServiceState:
    """A service that has been started and not been stopped since; `pid` is None when it died."""

    name: str
    pid: int | None
    address: str | None
    healthy: bool


class Service(ABC):
    """One background process: started by whoever needs it first, found by everybody else."""

    title: str
    start_seconds: float
    """Time from launch to the first answer after which `ensure` gives up."""
    unavailable: type[TransientError]
    stop_signals: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0))
    """What ends the process, each with the seconds it is given."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self.run = home / "run"
        self.log = self.run / f"{name}.log"

    @property
    @abstractmethod
    def wanted(self) -> dict[str, object]:
        """Everything the supervisor needs to know to start this service again."""

    @abstractmethod
    def pid(self) -> int | None:
        """The process to signal, as far as it has made itself known; never a stranger's."""

    @abstractmethod
    def address(self) -> str | None:
        """Where it is reached; None while it is not known."""

    @abstractmethod
    def answers(self) -> bool:
        """True when it was asked just now and answered."""

    @abstractmethod
    def _launch(self, lock: FileLock) -> None:
        """The process has been started and has inherited `lock`."""

    def alive(self) -> bool:
        """True when the process, or what is left of it, exists."""
        _reap()
        return is_held(self._lock_path)

    def state(self) -> ServiceState:
        """What there is to say about it now; starts nothing."""
        alive = self.alive()
        return ServiceState(
            name=self.name,
            pid=self.pid() if alive else None,
            address=self.address() if alive else None,
            healthy=alive and self.answers(),
        )

    def ensure(self, report: Report) -> None:
        """The service runs and answers.

        Raises:
            ConfigurationError: HOME cannot be used; the message says why.
            TransientError: it died three times or gave no answer; the message quotes its log.
        """
        if self.alive() and self.answers():
            return
        run_folder(self.home)
        report(f"starting {self.title}")
        deadline = time.monotonic() + self.start_seconds
        launches = 0
        while time.monotonic() < deadline:
            if not self.alive():
                if launches == LAUNCHES:
                    break
                launches += self.launch_if_dead()
            if self.answers():
                return
            time.sleep(POLL_SECONDS)
        raise self.unavailable(f"{self.title} does not answer ({self._complaint()}). Its log is {self.log}.")

    def launch_if_dead(self) -> bool:
        """True when the process was dead and has been launched; it may not answer yet.

        Raises:
            ConfigurationError: HOME cannot be used.
        """
        with writing_to(self.home, HOME_SETTING), FileLock(self._lock_path) as lock:
            if not lock.try_exclusive():
                return False
            write_json(self._wanted_path, self.wanted)
            self._launch(lock)
            return True

    def revive(self) -> bool:
        """True when the process was dead but still wanted and has been launched.

        Raises:
            ConfigurationError: HOME cannot be used.
        """
        with writing_to(self.home, HOME_SETTING), FileLock(self._lock_path) as lock:
            # Looked at under the lock: `stop` may have ended it on purpose a moment ago.
            if not lock.try_exclusive() or not self._wanted_path.exists():
                return False
            self._launch(lock)
            return True

    def stop(self) -> None:
        """The process and its children have ended, and nobody will start it again unasked.

        Raises:
            TransientError: it outlived every signal.
        """
        # At once, so that the supervisor does not revive it; and by `_forget` once it cannot be launched meanwhile.
        self._wanted_path.unlink(missing_ok=True)
        if not self._lock_path.exists():
            return
        with FileLock(self._lock_path) as lock:
            for number, seconds in self.stop_signals:
                if self._signal_until_free(lock, number, seconds):
                    self._forget()
                    return
        raise self.unavailable(f"{self.title} (process {self.pid()}) does not stop. Its log is {self.log}.")

    def _signal_until_free(self, lock: FileLock, number: signal.Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        signalled: int | None = None
        while not lock.wait_exclusive(POLL_SECONDS):
            pid = self.pid()
            if pid is not None and pid != signalled:
                send_signal(pid, number)
                signalled = pid
            if time.monotonic() >= deadline:
                return False
        return True

    def _forget(self) -> None:
        """What a process that has ended left behind is gone; called by the holder of the lock."""
        self._wanted_path.unlink(missing_ok=True)

    def _complaint(self) -> str:
        """What its log says last."""
        return last_line(self.log)

    @property
    def _lock_path(self) -> Path:
        return self.run / f"{self.name}.lock"

    @property
    def _wanted_path(self) -> Path:
        return self.run / f"{self.name}.wanted.json"


def spawn(
    command: Sequence[str], lock: FileLock, log: Path, *, user: int | None = None, group: int | None = None
) -> None:
    """`command` runs in a session of its own, holds `lock`, and writes what it says to `log`."""
    output = open_log(log)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.fd,),
            start_new_session=True,
            cwd="/",
            env=_environment(),
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
        )
    finally:
        os.close(output)
    _children.append(process)


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project with this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def command_line_names(pid: int, *arguments: object) -> bool:
    """True when `pid` is a live process that was started with all of `arguments` among its own."""
    import psutil

    try:
        return {str(argument) for argument in arguments} <= set(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def send_signal(pid: int, number: signal.Signals) -> None:
    """`pid` has been sent the signal, or has ended already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _environment() -> dict[str, str]:
    """This process's environment, with the project importable from any working directory."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _reap() -> None:
    """Processes that this one started and that have ended leave the process table."""
    _children[:] = [child for child in _children if child.poll() is None]
