"""The folders of a HOME."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from blocks.embedded import folders
from blocks.embedded.stack import EmbeddedStack
from schemas.errors import ConfigurationError


class DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_home_that_cannot_be_written_is_one_sentence_naming_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stack = EmbeddedStack(tmp_path / "file" / "home", tmp_path, idle_minutes=0)
    with pytest.raises(ConfigurationError, match=r"^HEADRACE_HOME=.*Not a directory.*$") as raised:
        stack.open()
    assert raised.value.details == {"setting": "HEADRACE_HOME"}


def test_a_full_disk_is_one_sentence_saying_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: DiskUsage(10**9, 10**9, 5_000_000))
    with (
        EmbeddedStack(tmp_path, tmp_path, idle_minutes=0) as stack,
        pytest.raises(ConfigurationError, match="5 MB free, 256 MB are needed"),
    ):
        stack.database_url()


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "Free some space there"), (errno.EROFS, "Name a folder that can be written")]
)
def test_what_the_file_system_refuses_comes_with_advice(tmp_path: Path, number: int, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice), folders.writing_to(tmp_path, "HEADRACE_HOME"):
        raise OSError(number, os.strerror(number))


def test_json_that_was_cut_off_reads_as_nothing(tmp_path: Path) -> None:
    folders.write_json(tmp_path / "state.json", {"pid": 7})
    assert folders.read_json(tmp_path / "state.json") == {"pid": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    (tmp_path / "state.json").write_text('{"pid"')
    assert folders.read_json(tmp_path / "state.json") is None
    assert folders.read_json(tmp_path / "missing.json") is None


def test_a_long_log_starts_anew_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LOG_BYTES", 10)
    for text in (b"short\n", b"longer than that\n", b"new\n"):
        log = folders.open_log(tmp_path / "service.log")
        os.write(log, text)
        os.close(log)
    assert (tmp_path / "service.log").read_text() == "new\n"
    assert (tmp_path / "service.log.1").read_text() == "short\nlonger than that\n"


def test_the_last_line_with_a_mark_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    assert folders.last_line(log) == ""
    log.write_text("LOG: a\nFATAL: b\nLOG: c\n\n")
    assert folders.last_line(log) == "LOG: c"
    assert folders.last_line(log, "FATAL") == "FATAL: b"
    assert folders.last_line(log, "PANIC") == ""
