"""The process that stops a HOME's services when nobody has used them for a while, and revives those that die.

Every user of a HOME shares `run/users.lock`. The supervisor takes that lock alone before it stops anything, so a
newcomer waits, then finds everything stopped and starts it again. It inherits `run/supervisor.lock` from whoever
started it: there is one supervisor, and whoever can take the lock has to start one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from blocks.embedded.file_lock import FileLock
from blocks.embedded.folders import HOME_SETTING, read_json, run_folder, write_json, writing_to
from blocks.embedded.service import Service, command_line_names, python_module, send_signal, spawn
from blocks.embedded.services import processes_of, stop_services, wanted_services
from schemas.errors import HeadraceError

MODULE = "blocks.embedded.supervisor"
USERS_LOCK = "users.lock"
SUPERVISOR_LOCK = "supervisor.lock"
ANNOUNCEMENT = "supervisor.json"
POLL_SECONDS = (0.1, 2.0)
"""Shortest and longest pause between two looks; a thirtieth of the idle time lies between."""
REVIVAL_SECONDS = (1.0, 60.0)
"""First and longest pause before a service that died again is revived again."""

NOTE_BYTES = 20
DELETED_SECONDS = 5.0
STOP_SECONDS = 60.0

logger = logging.getLogger(MODULE)


def ensure_supervisor(home: Path) -> None:
    """A supervisor watches HOME.

    Raises:
        ConfigurationError: HOME cannot be written.
    """
    run = run_folder(home)
    with writing_to(home, HOME_SETTING), FileLock(run / SUPERVISOR_LOCK) as lock:
        if lock.try_exclusive():
            # The child inherits the lock, so that there is no moment at which a second one could start.
            command = python_module(MODULE, str(home), str(lock.fd))
            spawn(command, lock, run / "supervisor.log")


def supervisor_pid(home: Path) -> int | None:
    """The supervisor of HOME, or None when there is none."""
    pid = read_json(home / "run" / ANNOUNCEMENT)
    return pid if pid is not None and command_line_names(pid, MODULE, home) else None


def stop_supervisor(home: Path) -> None:
    """The supervisor of HOME, also one that is only just starting, has ended and has stopped what it watched."""
    with FileLock(home / "run" / SUPERVISOR_LOCK) as lock:
        deadline = time.monotonic() + STOP_SECONDS
        signalled: int | None = None
        while not lock.wait_exclusive(POLL_SECONDS[0]) and time.monotonic() < deadline:
            pid = supervisor_pid(home)
            if pid is not None and pid != signalled:
                send_signal(pid, signal.SIGTERM)
                signalled = pid


def note_use(users: FileLock, idle_minutes: float) -> None:
    """The idle time starts again, and lasts `idle_minutes` from now on."""
    os.pwrite(users.fd, f"{idle_minutes:0{NOTE_BYTES}.6f}".encode(), 0)


@dataclass
class Revival:
    """When a service that keeps dying may be started again."""

    due: float = 0.0
    pause: float = REVIVAL_SECONDS[0]

    def postpone(self, now: float) -> None:
        """The next revival is at least `pause` away and the one after it twice that; a quiet while forgives."""
        if now > self.due + REVIVAL_SECONDS[1]:
            self.pause = REVIVAL_SECONDS[0]
        self.due = now + self.pause
        self.pause = min(self.pause * 2, REVIVAL_SECONDS[1])


class Supervisor:
    """The state of the watch over one HOME."""

    def __init__(self, home: Path, own_lock: FileLock) -> None:
        self.home = home
        self.own_lock = own_lock
        self.users = FileLock(home / "run" / USERS_LOCK)
        self.told_to_end = threading.Event()
        self.used_at = time.monotonic()
        self.noted_at = 0
        self.idle_seconds = 0.0
        self.revivals: dict[str, Revival] = {}

    def watch(self) -> None:
        """Look after HOME until it is idle, deleted, or this process is told to end."""
        while not self.told_to_end.wait(self.pause()):
            if not (self.users.is_current() and self.own_lock.is_current()):
                return end_what_is_left(self.home)
            self.read_note()
            if self.users.try_exclusive():
                if time.monotonic() - self.used_at >= self.idle_seconds:
                    return self.stop_everything()
                self.users.unlock()
            else:
                self.used_at = time.monotonic()
                self.revive_the_dead()
        logger.info("told to end")
        return stop_services(self.home)

    def read_note(self) -> None:
        """A note left since the last look starts the idle time again.

        Uses shorter than the pause between two looks are seen by their note alone.
        """
        noted_at = os.fstat(self.users.fd).st_mtime_ns
        if noted_at != self.noted_at:
            self.noted_at = noted_at
            self.idle_seconds = 60.0 * float(os.pread(self.users.fd, NOTE_BYTES, 0) or b"0")
            self.used_at = time.monotonic()

    def pause(self) -> float:
        """Seconds until the next look."""
        shortest, longest = POLL_SECONDS
        return min(max(self.idle_seconds / 30, shortest), longest)

    def revive_the_dead(self) -> None:
        """Services that died while somebody uses HOME run again, at the address they had if it is free."""
        for service in wanted_services(self.home):
            if not service.alive():
                self.revive(service)

    def revive(self, service: Service) -> None:
        """`service` has been launched again, unless it died too often lately."""
        now = time.monotonic()
        revival = self.revivals.setdefault(service.name, Revival())
        if now < revival.due:
            return
        try:
            if service.revive():
                revival.postpone(now)
                logger.warning("%s had died; started it again", service.title)
        except HeadraceError as error:
            revival.postpone(now)
            logger.error("%s died and cannot be started: %s", service.title, error)

    def stop_everything(self) -> None:
        """Services have stopped; the next user finds nothing running, and no supervisor either.

        Called with `users` held alone, which is given up last.
        """
        logger.info("idle: stopping")
        try:
            stop_services(self.home)
        finally:
            (self.home / "run" / ANNOUNCEMENT).unlink(missing_ok=True)
            self.own_lock.close()
            self.users.close()


def end_what_is_left(home: Path) -> None:
    """HOME was deleted, and with it every note of what runs: whatever was started in it has ended."""
    logger.warning("%s was deleted: ending its services", home)
    left = processes_of(home)
    for process, ending in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(ending)
    _, stubborn = psutil.wait_procs([process for process, _ in left], timeout=DELETED_SECONDS)
    for process in stubborn:
        process.kill()


def main() -> None:
    """Watch the HOME named on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home, own_lock_fd = Path(sys.argv[1]), int(sys.argv[2])
    try:
        supervisor = Supervisor(home, FileLock(home / "run" / SUPERVISOR_LOCK, own_lock_fd))
        signal.signal(signal.SIGTERM, lambda number, frame: supervisor.told_to_end.set())
        write_json(home / "run" / ANNOUNCEMENT, os.getpid())
    except FileNotFoundError:
        # A service may answer before this process has begun to watch, and HOME be deleted in between.
        end_what_is_left(home)
    else:
        supervisor.watch()


if __name__ == "__main__":
    main()
