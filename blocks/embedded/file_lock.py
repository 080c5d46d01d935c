"""Locks that the kernel frees when their last holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

POLL_SECONDS = 0.02


class FileLock:
    """`flock` on a file: shared among any number of holders, or exclusive to one.

    The lock belongs to the open file, not to the process: a child that inherits `fd` holds it too, and it
    is free only when every process that has the file open has closed it or died. Such a child passes that
    `fd` as `inherited_fd`; without it the file at `path` is opened, and made when it is missing.
    """

    def __init__(self, path: Path, inherited_fd: int | None = None) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if inherited_fd is None else inherited_fd

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def try_exclusive(self) -> bool:
        """True when this file now holds the lock alone; False, holding nothing, when others hold it."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """True when this file now shares the lock; False when another holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def wait_exclusive(self, seconds: float) -> bool:
        """Take the lock alone, trying for up to `seconds`; False when the time is over."""
        return self._wait(fcntl.LOCK_EX, seconds)

    def wait_shared(self, seconds: float) -> bool:
        """Share the lock, trying for up to `seconds`; False when the time is over."""
        return self._wait(fcntl.LOCK_SH, seconds)

    def unlock(self) -> None:
        """The lock is free, for every process that inherited it as well."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """This process no longer holds the lock; children that inherited it still do."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def is_current(self) -> bool:
        """False when the path has been deleted or names another file by now."""
        try:
            return os.path.samestat(os.fstat(self.fd), self.path.stat())
        except OSError:
            return False

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self.fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, operation: int, seconds: float) -> bool:
        # flock has no time limit of its own, and a signal-based one would belong to the whole process.
        deadline = time.monotonic() + seconds
        while not self._try(operation):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def is_held(path: Path) -> bool:
    """True when some process holds the lock at `path` alone; creates nothing."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
