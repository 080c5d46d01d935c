"""What tests of the ledger share: a look at the rows, and processes of their own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Row, create_engine, text

from blocks.database import create_database, migrate, normal_url
from blocks.embedded.stack import EmbeddedStack
from schemas.tables import Base
from tests.conftest import TEMPLATE
from tests.conftest import _database as clone_database
from tests.scripted_provider import ScriptedProvider
from tests.tasks.ledger.worker_process import run_in_process

# Forked from a server that has imported everything once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", run_in_process.__module__])

Look = Callable[..., list[Row[Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker of this folder."""
    config.addinivalue_line("markers", "scripted(**arguments): arguments of the test's ScriptedProvider")


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[ScriptedProvider]:
    """A scripted provider in a thread of its own, as the test's marker `scripted` wants it."""
    marker = request.node.get_closest_marker("scripted")
    with ScriptedProvider(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once where the provider does not ask for a pause."""
    monkeypatch.setattr("tasks.ledger.retries.FIRST_PAUSE_SECONDS", 0.0)


_DELETIONS = "; ".join(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables))
DELETE_ALL = text(f"DO $$ BEGIN {_DELETIONS}; END $$")


class Spare:
    """Databases to use again: a test leaves rows behind, which are quicker to delete than a database to clone."""

    def __init__(self, template: Engine) -> None:
        self._template = template
        self._urls: list[str] = []
        self._cloned: list[Iterator[str]] = []
        self.altered = False

    def take(self) -> str:
        """URL of a migrated database without rows."""
        self.altered = False
        if self._urls:
            return self._urls.pop()
        self._cloned.append(clone_database(self._template, TEMPLATE))
        return next(self._cloned[-1])

    def give_back(self, url: str) -> None:
        """Its rows are gone; where a test has altered the schema, it is not used again."""
        if self.altered:
            return
        engine = create_database(normal_url(url))
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL synchronous_commit = off"))
            connection.execute(DELETE_ALL)  # at once: one by one takes as long as a quick test
        engine.dispose()
        self._urls.append(url)

    def close(self) -> None:
        """The databases are dropped."""
        for cloned in self._cloned:
            next(cloned, None)


@pytest.fixture(scope="session")
def spare(template: Engine) -> Iterator[Spare]:
    """The databases of the session."""
    databases = Spare(template)
    yield databases
    databases.close()


@pytest.fixture
def database_url(spare: Spare) -> Iterator[str]:
    """URL of a migrated database of the test's own."""
    url = spare.take()
    yield url
    spare.give_back(url)


@pytest.fixture(scope="session")
def stoppable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A Postgres of its own, which may be stopped."""
    home = tmp_path_factory.mktemp("stoppable")
    with EmbeddedStack(home, home / "cache", idle_minutes=0) as own:
        yield own


@pytest.fixture
def stoppable_database_url(stoppable: EmbeddedStack) -> Iterator[str]:
    """URL of a migrated database on it."""
    url = stoppable.database_url("stoppable")
    engine = create_database(normal_url(url))
    migrate(engine)
    engine.dispose()
    yield url
    admin = create_engine(normal_url(stoppable.database_url("postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE stoppable WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def look(database: Engine, request: pytest.FixtureRequest) -> Look:
    """Runs SQL on a connection of its own, so that it sees only what is durable; returns the rows."""

    def run(sql: str, **values: Any) -> list[Row[Any]]:
        if sql.split(maxsplit=1)[0] in {"CREATE", "ALTER", "DROP"} or "alembic_version" in sql:
            request.getfixturevalue("spare").altered = True
        with database.begin() as connection:
            result = connection.execute(text(sql), values)
            return list(result.all()) if result.returns_rows else []

    return run


class WorkerProcess:
    """A process that runs one function of `worker_process`, or of a module named before it, in the test's environment.

    Attributes:
        pid: its number.
    """

    def __init__(self, function: str, arguments: dict[str, Any]) -> None:
        self._heard, saying = PROCESSES.Pipe(duplex=False)
        work = (function, arguments, dict(os.environ), saying)
        self._process = PROCESSES.Process(target=run_in_process, args=work, daemon=True)
        self._process.start()
        self.pid = self._process.pid
        saying.close()

    def line(self, within_seconds: float = 60.0) -> Any:
        """What it says next; waits for it.

        Raises:
            EOFError: it has ended.
        """
        assert self._heard.poll(within_seconds), f"the process said nothing for {within_seconds:.0f} s"
        return self._heard.recv()

    def has_more_to_say(self) -> bool:
        """True when `line` would return, or raise, at once."""
        return self._heard.poll(0)

    def kill(self) -> None:
        """It is dead, without a chance to tidy up."""
        self._process.kill()
        self._process.join(30)

    def close(self) -> None:
        """It is dead and forgotten."""
        self.kill()
        self._process.close()
        self._heard.close()


StartProcess = Callable[..., WorkerProcess]


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Starts a function of `worker_process` with keyword arguments; what still runs at the end is killed."""
    started: list[WorkerProcess] = []

    def start(function: str, **arguments: Any) -> WorkerProcess:
        started.append(WorkerProcess(function, arguments))
        return started[-1]

    yield start
    for worker in started:
        worker.close()
