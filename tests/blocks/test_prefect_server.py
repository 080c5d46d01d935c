"""Prefect's processes: started, restarted, ended; without Prefect itself, which a test of the flows runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blocks import prefect_server
from blocks.prefect_server import (
    HOST,
    PrefectProcesses,
    ServerFailed,
    asyncpg_url,
    free_port,
    leftover_processes,
)
from schemas.errors import ConfigurationError

SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"


@pytest.fixture
def prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectProcesses]:
    """Processes of a home; `python -m prefect` runs the module that the test has written."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    (tmp_path / "modules").mkdir()
    play(tmp_path, SLEEPER)
    with PrefectProcesses(tmp_path / "home", {}) as processes:
        yield processes


def play(tmp_path: Path, program: str) -> None:
    """What `prefect` does from now on."""
    (tmp_path / "modules" / "prefect.py").write_text(program)


def recorded(tmp_path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((tmp_path / "home" / "run" / "prefect-processes.json").read_text())
    return found


def test_a_database_url_becomes_one_for_asyncpg() -> None:
    url = "postgresql+psycopg://postgres@/prefect?host=/tmp/socket"
    assert asyncpg_url(url) == "postgresql+asyncpg://postgres@/prefect?host=%2Ftmp%2Fsocket"
    assert asyncpg_url("postgresql://a:b@h/d") == "postgresql+asyncpg://a:b@h/d"


def test_a_port_in_use_gives_way_to_the_next() -> None:
    with socket.socket() as used:
        used.bind((HOST, 0))
        used.listen()
        port = used.getsockname()[1]
        assert port < free_port(port) < port + 50


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError

    monkeypatch.setattr(prefect_server.socket, "socket", Full)
    with pytest.raises(ConfigurationError, match="no free port from 4200 to 4249"):
        free_port(4200)


def test_a_server_that_ends_at_once_is_said_with_its_log(prefect: PrefectProcesses, tmp_path: Path) -> None:
    play(tmp_path, "raise SystemExit('no database')")
    with pytest.raises(ServerFailed, match=r"prefect-server did not start; see .*prefect-server\.log"):
        prefect.start_server("postgresql+asyncpg://nobody@/nothing", free_port(4300))
    assert "no database" in (tmp_path / "home" / "run" / "prefect-server.log").read_text()
    assert not (tmp_path / "home" / "run" / "prefect-api.json").exists()


def test_a_deployment_that_is_refused_is_said_with_its_log(prefect: PrefectProcesses, tmp_path: Path) -> None:
    play(tmp_path, "raise SystemExit('no such flow')")
    with pytest.raises(ServerFailed, match="`prefect --no-prompt deploy --all` failed"):
        prefect.deploy("http://127.0.0.1:9/api", tmp_path)
    assert "no such flow" in (tmp_path / "home" / "run" / "prefect-deploy.log").read_text()


@pytest.fixture
def worker(prefect: PrefectProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrefectProcesses:
    """A worker is running, as far as the server knows."""
    monkeypatch.setattr(prefect_server, "ensure_work_pool", lambda *_: None)
    monkeypatch.setattr(prefect_server, "ensure_automation", lambda *_: None)
    prefect.start_worker("http://127.0.0.1:9/api", 1, tmp_path)
    return prefect


def kill_worker(tmp_path: Path) -> int:
    (entry,) = recorded(tmp_path)
    pid = int(str(entry["pid"]))
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_who_runs_is_on_record_until_the_end(worker: PrefectProcesses, tmp_path: Path) -> None:
    (entry,) = recorded(tmp_path)
    assert entry["name"] == "prefect-worker"
    process = psutil.Process(int(str(entry["pid"])))
    worker.__exit__()
    assert not process.is_running()
    assert recorded(tmp_path) == []


def test_a_worker_knows_the_server_and_keeps_to_the_home(
    prefect: PrefectProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "DO_NOT_TRACK")
    play(tmp_path, f"import os; print([os.environ[name] for name in {names}])")
    monkeypatch.setattr(prefect_server, "ensure_work_pool", lambda *_: None)
    monkeypatch.setattr(prefect_server, "ensure_automation", lambda *_: None)
    prefect.start_worker("http://127.0.0.1:9/api", 1, tmp_path)
    (entry,) = recorded(tmp_path)
    os.waitid(os.P_PID, int(str(entry["pid"])), os.WEXITED | os.WNOWAIT)
    said = (tmp_path / "home" / "run" / "prefect-worker.log").read_text()
    assert said == f"{['http://127.0.0.1:9/api', str(tmp_path / 'home' / 'prefect'), '30', '1']}\n"


def test_a_worker_that_has_lived_is_started_anew(
    worker: PrefectProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.keep_running()
    monkeypatch.setattr(prefect_server, "SHORT_LIFE_SECONDS", 0.0)
    ended = kill_worker(tmp_path)
    worker.keep_running()
    (entry,) = recorded(tmp_path)
    assert entry["pid"] != ended
    assert psutil.pid_exists(int(str(entry["pid"])))


def test_a_worker_that_does_not_live_is_an_error(worker: PrefectProcesses, tmp_path: Path) -> None:
    kill_worker(tmp_path)
    with pytest.raises(ServerFailed, match=r"prefect-worker ended with code -9; see .*prefect-worker\.log"):
        worker.keep_running()


def test_a_child_that_does_not_listen_is_killed(
    worker: PrefectProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_worker(tmp_path)
    play(tmp_path, STUBBORN)
    monkeypatch.setattr(prefect_server, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(prefect_server, "SHORT_LIFE_SECONDS", 0.0)
    worker.keep_running()
    log = tmp_path / "home" / "run" / "prefect-worker.log"
    deadline = time.monotonic() + 30
    while not log.read_text():
        assert time.monotonic() < deadline
    (entry,) = recorded(tmp_path)
    worker.__exit__()
    assert not psutil.pid_exists(int(str(entry["pid"])))


def test_what_a_killed_up_left_behind_is_ended_by_the_next(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    run = tmp_path / "home" / "run"
    run.mkdir(parents=True)
    entry = {"name": "prefect-server", "pid": left.pid, "started": psutil.Process(left.pid).create_time()}
    (run / "prefect-processes.json").write_text(json.dumps([entry]))
    with PrefectProcesses(tmp_path / "home", {}):
        assert left.poll() is not None


def test_a_process_that_only_has_the_number_of_another_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    mine = {"name": "prefect-server", "pid": os.getpid(), "started": psutil.Process().create_time() - 60}
    gone = {"name": "prefect-worker", "pid": 2**22 + 1, "started": 0.0}
    path.write_text(json.dumps([mine, gone]))
    assert list(leftover_processes(path)) == []
    path.write_text("{broken")
    assert list(leftover_processes(path)) == []
