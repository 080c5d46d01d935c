"""A process is dead only where that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from blocks.processes import ProcessIdentity, host_identity, is_dead, this_process

SAY_WHO = (
    "from blocks.processes import this_process as p; i = p(); print(i.host, i.pid, i.started, flush=True); input()"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that lives until its input ends."""
    command = [sys.executable, "-c", SAY_WHO]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def said_by(child: subprocess.Popen[str]) -> ProcessIdentity:
    """What the child says it is."""
    assert child.stdout is not None
    host, pid, started = child.stdout.readline().split()
    return ProcessIdentity(host, int(pid), float(started))


def test_a_process_is_alive_until_it_is_killed(child: subprocess.Popen[str]) -> None:
    identity = said_by(child)
    assert identity.host == host_identity()
    assert identity.pid == child.pid
    assert not is_dead(identity)
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass  # nobody has waited for it yet: it is dead and still has its number
    assert is_dead(identity)
    child.wait()
    assert is_dead(identity)


def test_this_process_is_alive() -> None:
    assert this_process().pid == os.getpid()
    assert this_process() == this_process()
    assert not is_dead(this_process())


def test_another_process_with_the_same_number_is_not_the_one_that_was() -> None:
    assert is_dead(replace(this_process(), started=this_process().started - 60))


def test_a_process_of_another_host_is_never_known_to_be_dead() -> None:
    assert not is_dead(ProcessIdentity("elsewhere:0", 2**22 - 1, 0.0))


def test_a_process_that_may_not_be_looked_at_is_not_known_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: object) -> str:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "status", forbidden)
    assert not is_dead(this_process())


def test_where_the_system_does_not_count_from_boot_the_clock_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert this_process().started == psutil.Process().create_time()
    assert not is_dead(this_process())


def test_the_identity_of_the_host_names_boot_and_namespace_without_revealing_them() -> None:
    name, _, digest = host_identity().partition(":")
    assert name
    assert len(digest) == 16
    assert set(digest) <= set("0123456789abcdef")
