"""Sources are recognised by what they hold."""

from __future__ import annotations

import gzip
import os
import sqlite3
from pathlib import Path

import pytest

from blocks.sources.opening import open_source, recognised
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered


@pytest.mark.parametrize(
    ("name", "content", "reader"),
    [
        ("a.txt", b'{"threads":"[]"}', "local_storage"),
        ("a.json", b'\xef\xbb\xbf  {"threads":\n"[]"}', "local_storage"),
        ("a.json", '{"threads":"[]"}'.encode("utf-16"), "local_storage"),
        ("threads", b" [1]", "json_files"),
        ("a.json", b'{"id":1}\n{"id":2}\n', "json_lines"),
        ("a.ndjson", b'{"id":1}', "json_lines"),
        ("a.ndjson.gz", gzip.compress(b'{"id":1}'), "json_lines"),
        ("a.db", b"SQLite format 3\x00...", "sqlite"),
        ("a", b"PAR1....", "parquet"),
        ("a", b"--\n-- PostgreSQL database dump\n--\n", "sql_dump"),
        ("a.sql", b"\n\nselect 1;", "sql_dump"),
        ("a.sql.gz", gzip.compress(b"SET client_encoding = 'UTF8';\n"), "sql_dump"),
        ("a", b"id,text\n1,x\n", "delimited"),
    ],
)
def test_a_file_is_recognised_by_its_content(tmp_path: Path, name: str, content: bytes, reader: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert recognised(tmp_path / name) == reader


def test_a_source_is_opened_by_the_reader_it_asks_for_or_the_one_named(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (a)").connection.close()
    (tmp_path / "threads.json").write_text('[{"id":1}]')
    (tmp_path / "lines").write_text('{"id":1}')
    (tmp_path / "rows.csv").write_text("id\n1\n")
    (tmp_path / "dump.sql").write_text("COPY t (id) FROM stdin;\n1\n\\.\n")
    assert list(open_source(tmp_path / "x.db").tables()) == ["t"]
    assert delivered(open_source(str(tmp_path / "threads.json")).tables()["threads"]).records == [{"id": 1}]
    assert delivered(open_source(tmp_path / "lines", "json_lines").tables()["lines"]).records == [{"id": 1}]
    assert delivered(open_source(tmp_path / "rows.csv").tables()["rows"]).records == [{"id": "1"}]
    assert delivered(open_source(tmp_path / "dump.sql").tables()["t"]).records == [{"id": "1"}]
    assert delivered(open_source(tmp_path / "lines").tables()["id"]).unreadable[0].raw == "1"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\x00", b"\x1f\x8bxx"])
def test_an_unknown_or_empty_file_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadInput, match=str(tmp_path / "x")):
        open_source(tmp_path / "x")


def test_what_is_not_there_or_may_not_be_read_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="No such file"):
        open_source(tmp_path / "absent")
    with pytest.raises(BadInput, match="no reader 'xml'"):
        open_source(tmp_path, "xml")  # type: ignore[arg-type]
    (tmp_path / "closed").write_text("id\n")
    (tmp_path / "closed").chmod(0)
    if os.geteuid() == 0:  # root reads everything: /proc/self/mem refuses it as well
        with pytest.raises(BadInput, match="cannot be read"):
            open_source("/proc/self/mem")
    else:
        with pytest.raises(BadInput, match="Permission denied"):
            open_source(tmp_path / "closed")
