"""Which process this is, and whether another one still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

START_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from every other one that has or had its number.

    Attributes:
        host: machine, boot and process namespace, as one digest.
        started: Unix time at which the process began, in seconds.
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
    return ProcessIdentity(host_identity(), os.getpid(), psutil.Process().create_time())


def is_dead(process: ProcessIdentity) -> bool:
    """True only when it is certain: the process was on this host and is no longer there."""
    if process.host != host_identity():
        return False
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < START_TOLERANCE_SECONDS
        return not same or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
