"""The process that stops what is idle and revives what dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from blocks.embedded.file_lock import FileLock, is_held
from blocks.embedded.model_server import responds
from blocks.embedded.postgres import PostgresService
from blocks.embedded.service import python_module
from blocks.embedded.services import processes_of
from blocks.embedded.stack import EmbeddedStack
from blocks.embedded.supervisor import (
    MODULE,
    SUPERVISOR_LOCK,
    Revival,
    Supervisor,
    note_use,
    supervisor_pid,
)
from tests.blocks.embedded.conftest import ROOT, User, eventually, no_process_of, pid_of


def test_everything_stops_once_the_last_user_has_left(home: Path) -> None:
    first, second = User(home), User(home)
    assert first.answer() == second.answer() != ""
    watcher = EmbeddedStack(home, home, idle_minutes=0)
    assert first.leave() == 0
    assert pid_of(watcher, "postgres") is not None
    assert second.leave() == 0
    eventually(lambda: no_process_of(home), "every process has ended")
    assert watcher.running() == []
    assert "database system is shut down" in (home / "run" / "postgres.log").read_text()


def test_everything_stops_when_the_last_user_is_killed(home: Path) -> None:
    user = User(home)
    assert user.answer()
    user.kill()
    eventually(lambda: no_process_of(home), "every process has ended")


def test_what_was_stopped_for_being_idle_starts_again(home: Path) -> None:
    for _ in range(3):
        with EmbeddedStack(home, home, idle_minutes=0) as stack:
            assert stack.database_url()


def test_a_killed_supervisor_is_replaced_so_that_everything_still_stops(stack: EmbeddedStack, home: Path) -> None:
    stack.database_url()
    eventually(lambda: supervisor_pid(home), "the supervisor has announced itself")
    killed = supervisor_pid(home)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not is_held(home / "run" / "supervisor.lock"), "the supervisor is dead")
    assert pid_of(stack, "postgres") is not None
    stack.close()
    eventually(lambda: no_process_of(home), "every process has ended")


def test_a_service_that_dies_comes_back_where_it_was_without_being_asked(stack: EmbeddedStack, home: Path) -> None:
    address = stack.embedding_endpoint().base_url.removesuffix("/v1")
    stack.database_url()
    killed = {name: pid_of(stack, name) for name in ("embedding", "postgres")}
    for pid in killed.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: responds(address), "the embedding server answers at its old address")
    for name, pid in killed.items():
        eventually(lambda: pid_of(stack, name) not in (None, pid), f"{name} is back")  # noqa: B023
    assert "had died; started it again" in (home / "run" / "supervisor.log").read_text()


def test_a_service_that_cannot_come_back_is_tried_again_later(stack: EmbeddedStack, home: Path) -> None:
    stack.database_url()
    pid = pid_of(stack, "postgres")
    assert pid is not None
    (home / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    os.kill(pid, signal.SIGKILL)
    log = home / "run" / "supervisor.log"
    eventually(lambda: "Postgres died and cannot be started" in log.read_text(), "the supervisor has said so")
    (home / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    eventually(lambda: pid_of(stack, "postgres") is not None, "Postgres is back")


@pytest.mark.parametrize("method", ["database_url", "embedding_endpoint"])
def test_a_deleted_home_takes_its_processes_with_it(home: Path, method: str) -> None:
    user = User(home, method)
    assert user.answer()
    shutil.rmtree(home, ignore_errors=True)
    eventually(lambda: not [*processes_of(home)], "the services have ended")
    user.kill()
    eventually(lambda: no_process_of(home), "every process has ended")


def test_a_supervisor_that_comes_after_its_home_was_deleted_ends_the_services(home: Path) -> None:
    postgres = PostgresService(home)
    postgres.ensure(lambda message: None)
    with FileLock(home / "run" / SUPERVISOR_LOCK) as lock:
        shutil.rmtree(home, ignore_errors=True)
        assert [*processes_of(home)]
        command = python_module(MODULE, str(home), str(lock.fd))
        supervisor = subprocess.Popen(command, pass_fds=(lock.fd,), cwd=ROOT)
    eventually(lambda: not postgres.alive() and not [*processes_of(home)], "the services have ended")
    assert supervisor.wait() == 0


def test_a_supervisor_told_to_end_stops_everything(stack: EmbeddedStack, home: Path) -> None:
    stack.database_url()
    eventually(lambda: supervisor_pid(home), "the supervisor has announced itself")
    pid = supervisor_pid(home)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: no_process_of(home), "every process has ended")
    assert stack.database_url()


def test_the_idle_time_is_the_one_the_last_user_asked_for(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / "users.lock") as users:
        supervisor = Supervisor(tmp_path, users)
        assert supervisor.pause() == 0.1
        note_use(users, 15)
        supervisor.read_note()
        assert (supervisor.idle_seconds, supervisor.pause()) == (900.0, 2.0)
        note_use(users, 0.5)
        os.utime(users.fd, ns=(1, 1))
        supervisor.read_note()
        assert (supervisor.idle_seconds, supervisor.pause()) == (30.0, 1.0)
        supervisor.users.close()


@pytest.mark.parametrize(("now", "pause"), [(5.0, 32.0), (500.0, 2.0)])
def test_revivals_become_rarer_until_a_quiet_while_has_passed(now: float, pause: float) -> None:
    revival = Revival(due=4.0, pause=16.0)
    revival.postpone(now)
    assert revival.pause == pause
    assert revival.due == now + pause / 2
