"""Locks that die with their holders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from blocks.embedded.file_lock import FileLock, is_held


def test_a_lock_held_alone_excludes_everybody(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        assert first.try_exclusive()
        assert not second.try_exclusive()
        assert not second.try_shared()
        assert is_held(tmp_path / "lock")


def test_a_shared_lock_keeps_out_only_those_who_want_it_alone(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        assert first.try_shared()
        assert second.try_shared()
        assert not second.wait_exclusive(0.0)
        assert not is_held(tmp_path / "lock")


def test_a_lock_given_up_can_be_taken(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as first, FileLock(tmp_path / "lock") as second:
        assert first.try_exclusive()
        first.unlock()
        assert second.wait_shared(0.0)


def test_asking_whether_a_lock_is_held_creates_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_a_child_holds_the_lock_it_inherited_until_it_is_killed(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        assert lock.try_exclusive()
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock.fd,)
        )
    try:
        assert is_held(tmp_path / "lock")
    finally:
        child.kill()
        child.communicate()
    assert not is_held(tmp_path / "lock")


def test_a_lock_whose_file_was_deleted_or_replaced_is_not_current(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock") as lock:
        assert lock.is_current()
        (tmp_path / "lock").unlink()
        assert not lock.is_current()
        (tmp_path / "lock").touch()
        assert not lock.is_current()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.close()
    lock.close()
    assert lock.fd == -1
