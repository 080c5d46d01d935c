"""The folders of a HOME, and the sentences said when they cannot be used.

::

    HOME/run/        locks, states and logs of what runs; may be deleted when nothing does
    HOME/postgres/   the database
    CACHE/models/    weights, made again when missing
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError

HOME_SETTING = "HEADRACE_HOME"
CACHE_SETTING = "HEADRACE_CACHE"
LOG_BYTES = 5_000_000


@contextmanager
def writing_to(folder: Path, setting: str) -> Iterator[None]:
    """Run the block; what the file system refuses becomes one sentence that names the setting.

    Raises:
        ConfigurationError: `folder` cannot be written, or its disk is full.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "Free some space there, or name another folder." if full else "Name a folder that can be written."
        raise ConfigurationError(
            f"{setting}={folder} cannot be used: {error.strerror or error} ({error.filename or folder}). {advice}",
            setting=setting,
        ) from error


def require_space(folder: Path, needed_bytes: int, setting: str) -> None:
    """The disk of `folder` has room for `needed_bytes`.

    Raises:
        ConfigurationError: it has not; the message says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ConfigurationError(
            f"{setting}={folder} has {free / 1e6:.0f} MB free, {needed_bytes / 1e6:.0f} MB are needed."
            " Free some space there, or name another folder.",
            setting=setting,
        )


def run_folder(home: Path) -> Path:
    """`HOME/run`, present and closed to other users of the machine.

    Raises:
        ConfigurationError: HOME cannot be written.
    """
    run = home / "run"
    with writing_to(home, HOME_SETTING):
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return run


def write_json(path: Path, value: Any) -> None:
    """`path` holds `value`, whole at every moment."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote, or None when there is nothing (or nothing whole, after a power cut)."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def open_log(path: Path) -> int:
    """A file descriptor that appends to `path`; beyond five megabytes the old log moves to `.1`."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(path.suffix + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def last_line(path: Path, mark: str = "") -> str:
    """The last line of a log that contains `mark`, or nothing; for showing to people, never for deciding."""
    try:
        lines = path.read_text(errors="replace")[-20_000:].splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip() and mark in line), "")
