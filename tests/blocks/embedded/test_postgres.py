"""The embedded Postgres: what it offers, and what it comes back from."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy

from blocks.embedded.postgres import PostgresService
from blocks.embedded.postgres_host import SystemUser, prepare_socket_folder, socket_folder
from blocks.embedded.stack import EmbeddedStack
from schemas.errors import ConfigurationError, DatabaseUnavailable
from tests.blocks.embedded.conftest import discard, eventually, new_folder, pid_of


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    """All rows of `query`, through SQLAlchemy; what it changes is committed."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sqlalchemy.text(query))
        return [tuple(row) for row in result] if result.returns_rows else []


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_database_comes_with_its_extensions(shared_stack: EmbeddedStack) -> None:
    for database in ("headrace", "prefect"):
        url = shared_stack.database_url(database)
        assert ask(url, "SELECT current_database()") == [(database,)]
        assert ask(url, "SELECT '[3,4]'::vector <-> '[0,0]', 'abc' % 'abc'") == [(5.0, True)]


def test_the_server_is_durable_and_listens_on_its_socket_alone(shared_stack: EmbeddedStack) -> None:
    names = ("fsync", "synchronous_commit", "listen_addresses", "max_connections", "TimeZone", "server_encoding")
    url = shared_stack.database_url()
    found = [ask(url, f"SHOW {name}")[0][0] for name in names]
    assert found == ["on", "on", "", "200", "UTC", "UTF8"]


def test_other_users_of_the_machine_cannot_reach_the_socket(shared_stack: EmbeddedStack) -> None:
    shared_stack.database_url()
    assert socket_folder(shared_stack.home).stat().st_mode & 0o077 == 0


def test_variables_meant_for_another_postgres_change_nothing(
    shared_stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATABASE", "elsewhere")
    assert ask(shared_stack.database_url(), "SELECT current_database()") == [("headrace",)]


@pytest.fixture(params=["x" * 90, "with space, comma: colon"])
def awkward_home(request: pytest.FixtureRequest) -> Iterator[Path]:
    outer = new_folder()
    yield outer / request.param
    discard(outer / request.param)
    outer.rmdir()


def test_a_home_whose_path_does_not_fit_a_socket_has_it_in_a_short_folder(awkward_home: Path) -> None:
    with EmbeddedStack(awkward_home, awkward_home, idle_minutes=0) as stack:
        url = stack.database_url()
        assert ask(url, "SELECT 1") == [(1,)]
        folder = socket_folder(awkward_home)
        assert f"host={folder}&" in url
        assert len(os.fsencode(folder)) < 60
        stack.stop()
        assert not folder.exists()


def test_a_socket_folder_somebody_else_could_open_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    folder = socket_folder(home)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        with pytest.raises(ConfigurationError, match="mode 0700"):
            prepare_socket_folder(home, SystemUser())
    finally:
        folder.rmdir()


def test_a_killed_postgres_is_started_again_with_all_that_was_committed(stack: EmbeddedStack) -> None:
    url = stack.database_url()
    ask(url, "CREATE TABLE kept (n int)")
    ask(url, "INSERT INTO kept VALUES (42)")
    first = pid_of(stack, "postgres")
    kill(first)
    assert stack.database_url() == url
    assert ask(url, "SELECT n FROM kept") == [(42,)]
    assert pid_of(stack, "postgres") not in (None, first)


def test_a_killed_postgres_is_started_again_although_a_backend_is_still_busy(stack: EmbeddedStack) -> None:
    connection = psycopg.connect(stack.database_url().replace("+psycopg", ""), autocommit=True)
    backend = psutil.Process(connection.info.backend_pid)
    thread = threading.Thread(target=_count_for_long, args=(connection,))
    thread.start()
    eventually(lambda: backend.cpu_times().user > 0.1, "the query keeps the backend busy")
    kill(pid_of(stack, "postgres"))
    assert ask(stack.database_url(), "SELECT 1") == [(1,)]
    thread.join()
    assert not backend.is_running() or backend.status() == psutil.STATUS_ZOMBIE


def _count_for_long(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with connection, pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT count(*) FROM generate_series(1, 10000000000) AS n")


def test_a_pid_file_left_by_a_crash_does_not_stop_the_start(home: Path) -> None:
    with EmbeddedStack(home, home, idle_minutes=0) as stack:
        stack.database_url()
        stack.stop()
        stale = home / "postgres" / "data" / "postmaster.pid"
        # As after a reboot: the number in it belongs to a living process that is no Postgres.
        stale.write_text(f"{os.getpid()}\n{home}/postgres/data\n1700000000\n5432\n/nowhere\n\n  1 2\nready\n")
        assert ask(stack.database_url(), "SELECT 1") == [(1,)]


def test_a_cluster_whose_making_was_interrupted_is_made_again(fresh_home: Path) -> None:
    unfinished = fresh_home / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack:
        assert ask(stack.database_url(), "SELECT 1") == [(1,)]
    assert not unfinished.exists()


def test_a_cluster_of_another_version_is_left_alone(fresh_home: Path) -> None:
    data = fresh_home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with (
        EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack,
        pytest.raises(ConfigurationError, match="made by Postgres 16, this is Postgres 18"),
    ):
        stack.database_url()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_database_that_cannot_be_made_says_why(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.embedded.postgres.CLUSTER_OPTIONS", ("--encoding=nonsense",))
    with (
        EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack,
        pytest.raises(ConfigurationError, match=r"No database could be made in .*nonsense"),
    ):
        stack.database_url()
    assert not (fresh_home / "postgres" / "data").exists()


def test_a_server_that_cannot_start_is_given_up_with_its_complaint(stack: EmbeddedStack, home: Path) -> None:
    stack.database_url()
    stack.stop()
    (home / "postgres" / "data" / "postgresql.conf").write_text("no such line\n")
    with pytest.raises(DatabaseUnavailable, match=r"postgresql\.conf.*contains errors"):
        stack.database_url()


def test_a_server_that_goes_away_while_a_database_is_made_is_unavailable(fresh_home: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="went away"):
        PostgresService(fresh_home).ensure_database("headrace")
