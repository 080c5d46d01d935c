"""The embedded stack as a command uses it: ask for a part, and it runs.

::

    with EmbeddedStack(home, cache, idle_minutes=15) as stack:
        engine = create_engine(stack.database_url())
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from blocks.embedded.file_lock import FileLock
from blocks.embedded.folders import HOME_SETTING, run_folder, writing_to
from blocks.embedded.service import Service, ServiceState
from schemas.errors import ConfigurationError, RunBusy

USERS_SECONDS = 60.0
"""How long a newcomer waits for a stop that is under way."""
BUSY_LOOKS = 10


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint on this machine.

    Attributes:
        base_url: ends in `/v1`; the port may change from one start to the next.
        model: the name to ask for.
        identity: name and SHA-256 of the weights: what answers depend on, the same whatever the port.
        context_window: in tokens; what an embedding model does not read beyond.
        dimensions: length of a vector; None for chat.
    """

    base_url: str
    model: str
    identity: str
    context_window: int | None = None
    dimensions: int | None = None


class EmbeddedStack:
    """The services of one HOME, shared with every other process that has it open.

    While it is open nothing is stopped for being idle; asking for a part opens it. Calls block, and may come from any
    thread.
    """

    def __init__(
        self,
        home: Path,
        cache: Path,
        *,
        idle_minutes: float,
        local_model: Path | None = None,
        local_context: int = 16384,
    ) -> None:
        self.home = home.expanduser().resolve()
        self.cache = cache.expanduser().resolve()
        self.idle_minutes = idle_minutes
        self.local_model = local_model
        self.local_context = local_context
        self._users: FileLock | None = None
        self._used = False
        self._guard = threading.RLock()

    def __enter__(self) -> EmbeddedStack:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """This process counts as a user of HOME; nothing is started yet. Opening twice is opening once.

        Raises:
            ConfigurationError: HOME cannot be written, or a stop of its services does not end.
        """
        with self._guard:
            if self._users is None:
                self._users = self._join_users()

    def close(self) -> None:
        """This process no longer counts as a user; once idle, what it started is stopped."""
        from blocks.embedded.supervisor import ensure_supervisor, note_use

        with self._guard:
            if self._users is None:
                return
            try:
                if self._used and self._users.is_current():
                    # The supervisor may have been killed meanwhile; without one nothing would ever be stopped.
                    ensure_supervisor(self.home)
                    note_use(self._users, self.idle_minutes)
            finally:
                self._users.close()
                self._users = None
                self._used = False

    def database_url(self, database: str = "headrace") -> str:
        """SQLAlchemy URL (psycopg 3) of `database`, which exists, with `vector` and `pg_trgm`, on a running server.

        Raises:
            ConfigurationError: HOME cannot be used; the message says why.
            DatabaseUnavailable: Postgres does not come up; the message quotes its log.
        """
        from blocks.embedded.postgres import PostgresService

        service = PostgresService(self.home)
        self._ensure(service)
        service.ensure_database(database)
        return service.url(database)

    def chat_endpoint(self, on_progress: Callable[[str], None] | None = None) -> Endpoint:
        """The chat model answers at this endpoint.

        The first time ever its weights are joined, which takes seconds to a minute and a gigabyte of cache.

        Raises:
            ConfigurationError: weights or folders cannot be used; the message says why.
            ProviderUnavailable: the server does not come up; the message quotes its log.
        """
        from blocks.embedded.services import chat_service
        from blocks.embedded.weights import custom_weights, embedded_weights

        report = on_progress or _silent
        if self.local_model is None:
            weights = embedded_weights(self.cache, report)
        else:
            weights = custom_weights(self.local_model, self.cache, report)
        service = chat_service(self.home, weights, self.local_context)
        self._ensure(service, report)
        return Endpoint(f"{service.address()}/v1", weights.model, weights.identity, self.local_context)

    def embedding_endpoint(self) -> Endpoint:
        """The embedding model answers at this endpoint.

        Raises:
            ConfigurationError: HOME cannot be used, or a package is missing.
            ProviderUnavailable: the server does not come up; the message quotes its log.
        """
        from blocks.embedded.embedding_model import CONTEXT_TOKENS, DIMENSIONS, MODEL, identity
        from blocks.embedded.services import embedding_service

        service = embedding_service(self.home)
        model_identity = identity()
        self._ensure(service)
        return Endpoint(f"{service.address()}/v1", MODEL, model_identity, CONTEXT_TOKENS, DIMENSIONS)

    def running(self) -> list[ServiceState]:
        """What was started in HOME and not stopped since, dead or alive; starts and creates nothing."""
        from blocks.embedded.services import wanted_services
        from blocks.embedded.supervisor import supervisor_pid

        states = [service.state() for service in wanted_services(self.home)]
        pid = supervisor_pid(self.home)
        if pid is not None:
            states.append(ServiceState("supervisor", pid, None, True))
        return states

    def stop(self, *, force: bool = False) -> None:
        """Every service of HOME has stopped; an open stack stays open and starts them again when asked.

        Raises:
            RunBusy: other processes use HOME; nothing was stopped. Wait for them, or pass `force`.
            TransientError: a service outlived every signal.
        """
        from blocks.embedded.services import stop_services
        from blocks.embedded.supervisor import USERS_LOCK, stop_supervisor

        if not (self.home / "run").exists():
            return
        with self._guard:
            was_open = self._users is not None
            users = self._users or FileLock(self.home / "run" / USERS_LOCK)
            try:
                if not force:
                    _require_alone(users, self.home)
                stop_services(self.home)
                stop_supervisor(self.home)
            finally:
                users.wait_shared(USERS_SECONDS) if was_open else users.close()

    def _ensure(self, service: Service, report: Callable[[str], None] | None = None) -> None:
        from blocks.embedded.supervisor import ensure_supervisor

        self.open()
        self._used = True
        # First, so that what starts now is stopped one day even if this process is killed in the next moment.
        ensure_supervisor(self.home)
        service.ensure(report or _silent)

    def _join_users(self) -> FileLock:
        from blocks.embedded.supervisor import USERS_LOCK, note_use

        run = run_folder(self.home)
        with writing_to(self.home, HOME_SETTING):
            users = FileLock(run / USERS_LOCK)
            if not users.wait_shared(USERS_SECONDS):
                users.close()
                raise ConfigurationError(
                    f"The services of {self.home} have been stopping for {USERS_SECONDS:.0f} s;"
                    f" see {run / 'supervisor.log'}."
                )
            note_use(users, self.idle_minutes)
        return users


def _require_alone(users: FileLock, home: Path) -> None:
    """`users` is held alone, after waiting for a stop that is under way.

    Raises:
        RunBusy: other processes share it. The supervisor takes it alone for a moment at each of its looks, so
            one failure says nothing.
    """
    looks = 0
    while not users.wait_exclusive(0.05):
        if users.try_shared():
            looks += 1
        if looks == BUSY_LOOKS:
            raise RunBusy(f"Other commands use {home}; wait until they have ended, or stop it by force.")


def _silent(message: str) -> None:
    """Progress nobody asked for."""
