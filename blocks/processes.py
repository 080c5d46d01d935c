"""Which process this is, and whether another one still lives."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

START_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from every other one that has or had its number.

    Attributes:
        host: machine, boot and process namespace, as one digest.
        started: when the process began: seconds since boot where the system tells (Linux), else Unix time.
            Time since boot stays the same when the clock is set.
    """

    host: str
    pid: int
    started: float


@lru_cache(maxsize=1)
def host_identity() -> str:
    """Equal for processes that can see each other's process ids, different otherwise."""
    parts = [socket.gethostname(), f"{psutil.boot_time():.0f}"]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        path = Path(source)
        if path.is_symlink():
            parts[1:] = [*parts[1:], str(path.readlink())]
        elif path.exists():
            parts[1:] = [path.read_text().strip()]
    return f"{parts[0]}:{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:16]}"


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    return ProcessIdentity(host_identity(), os.getpid(), _started(os.getpid()))


def is_dead(process: ProcessIdentity) -> bool:
    """True only when it is certain: the process was on this host and is no longer there."""
    if process.host != host_identity():
        return False
    try:
        if abs(_started(process.pid) - process.started) > START_TOLERANCE_SECONDS:
            return True
        return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _started(pid: int) -> float:
    """When the process began.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    if not sys.platform.startswith("linux"):
        return psutil.Process(pid).create_time()
    try:
        # Field 22 of proc(5) stat, in clock ticks since boot; the name, field 2, may hold blanks and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
