"""Several processes in one HOME."""

from __future__ import annotations

from pathlib import Path

import psutil
import psycopg
import pytest

from blocks.embedded.stack import EmbeddedStack
from schemas.errors import RunBusy
from tests.blocks.embedded.conftest import User, eventually, no_process_of, pid_of


@pytest.mark.parametrize(("method", "service"), [("database_url", "postgres"), ("embedding_endpoint", "embedding")])
def test_four_processes_that_come_first_at_once_get_one_server(fresh_home: Path, method: str, service: str) -> None:
    users = [User(fresh_home, method) for _ in range(4)]
    answers = {user.answer() for user in users}
    assert len(answers) == 1
    assert "" not in answers
    with EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack:
        pid = pid_of(stack, service)
        assert [user.leave() for user in users] == [0, 0, 0, 0]
        assert pid_of(stack, service) == pid is not None
        log = (fresh_home / "run" / "postgres.log").read_text() if service == "postgres" else ""
        assert log.count("starting PostgreSQL") == (service == "postgres")


@pytest.mark.parametrize("moment", ["run/postgres.lock", "postgres/data.unfinished", "postgres/data/postmaster.pid"])
def test_whoever_is_killed_while_starting_postgres_leaves_the_next_one_unharmed(fresh_home: Path, moment: str) -> None:
    starter = User(fresh_home)
    eventually((fresh_home / moment).exists, f"{moment} exists")
    starter.kill()
    with EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack:
        url = stack.database_url()
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_making_of_the_database_that_is_killed_is_begun_again(fresh_home: Path) -> None:
    starter = User(fresh_home)
    unfinished = str(fresh_home / "postgres" / "data.unfinished")
    makers: list[psutil.Process] = []
    while not makers and starter.process.poll() is None:
        makers = [
            process for process in psutil.process_iter(["cmdline"]) if unfinished in (process.info["cmdline"] or [])
        ]
    makers[0].kill()
    assert starter.answer().startswith("postgresql+psycopg://")
    assert starter.leave() == 0


def test_whoever_is_killed_while_starting_a_model_leaves_no_second_server(fresh_home: Path) -> None:
    starter = User(fresh_home, "embedding_endpoint")
    eventually((fresh_home / "run" / "embedding.json").exists, "the embedding server has announced itself")
    with EmbeddedStack(fresh_home, fresh_home, idle_minutes=0) as stack:
        pid = pid_of(stack, "embedding")
        starter.kill()
        stack.embedding_endpoint()
        assert pid_of(stack, "embedding") == pid is not None


def test_stopping_is_refused_while_another_process_uses_the_home(home: Path) -> None:
    other = User(home)
    assert other.answer()
    with EmbeddedStack(home, home, idle_minutes=0) as stack:
        with pytest.raises(RunBusy, match="Other commands use"):
            stack.stop()
        pid = pid_of(stack, "postgres")
        assert pid is not None
        stack.stop(force=True)
        assert stack.running() == []
        stack.database_url()
        assert pid_of(stack, "postgres") not in (None, pid)
    assert other.leave() == 0


def test_stopping_from_outside_ends_everything(home: Path) -> None:
    stack = EmbeddedStack(home, home, idle_minutes=15)
    with stack:
        stack.database_url()
    assert pid_of(stack, "postgres") is not None
    stack.stop()
    assert stack.running() == []
    eventually(lambda: no_process_of(home), "every process has ended")


def test_looking_at_what_runs_creates_nothing(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path / "home", tmp_path, idle_minutes=0)
    assert stack.running() == []
    stack.stop()
    assert not (tmp_path / "home").exists()


def test_a_stack_that_is_asked_before_it_is_opened_opens_itself(home: Path) -> None:
    stack = EmbeddedStack(home, home, idle_minutes=0)
    assert stack.database_url()
    with pytest.raises(RunBusy):
        EmbeddedStack(home, home, idle_minutes=0).stop()
    stack.close()
    eventually(lambda: no_process_of(home), "every process has ended")


def test_a_stack_opened_twice_is_closed_by_one_close(fresh_home: Path) -> None:
    stack = EmbeddedStack(fresh_home, fresh_home, idle_minutes=0)
    stack.open()
    stack.open()
    stack.close()
    stack.close()
    EmbeddedStack(fresh_home, fresh_home, idle_minutes=0).stop()
    assert stack.running() == []
