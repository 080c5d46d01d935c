"""SQLite files: logs not checkpointed, tables without rowid, text that is none, damage."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from blocks.sources.json_record import SWAPPED
from blocks.sources.sqlite import Sqlite, open_sqlite
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered
from tests.conftest import shared_data


def make(path: Path, *statements: str) -> Sqlite:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return open_sqlite(path)


def test_rows_come_in_order_of_their_rowid_and_reading_goes_on_at_any(tmp_path: Path) -> None:
    values = ", ".join(f"({n}, 'r{n}', {n}.5, NULL)" for n in (9, -3, 5, 12))
    source = make(
        tmp_path / "lab.sqlite",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b REAL, c)",
        f"INSERT INTO t VALUES {values}",
    )
    table = source.tables()["t"]
    found = delivered(table, size=2)
    assert found.indexes == [-3, 5, 9, 12]
    assert found.positions == [6, 13]
    assert found.records[1] == {"id": 5, "a": "r5", "b": 5.5, "c": None}
    assert delivered(table, start=6).indexes == [9, 12]
    assert table.place(12) == "lab.sqlite, table t, rowid 12"


def test_rows_in_a_log_that_was_never_checkpointed_are_read_and_the_source_stays_as_it_was(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    writer = sqlite3.connect(live / "lab.sqlite")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("CREATE TABLE t (a)")
    writer.execute("INSERT INTO t VALUES (1), (2)")
    writer.commit()
    left = tmp_path / "left"
    left.mkdir()
    for name in ("lab.sqlite", "lab.sqlite-wal"):
        shutil.copyfile(live / name, left / name)
    writer.close()
    before = {path.name: path.read_bytes() for path in left.iterdir()}
    source = open_sqlite(left / "lab.sqlite")
    assert [record["a"] for record in delivered(source.tables()["t"]).records] == [1, 2]
    assert "lab.sqlite-wal holds changes" in source.problems[0]
    source.close()
    assert {path.name: path.read_bytes() for path in left.iterdir()} == before


def test_a_database_in_wal_mode_without_its_log_is_read_where_it_is(tmp_path: Path) -> None:
    source = make(tmp_path / "x.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    assert delivered(source.tables()["t"]).records == [{"a": 1}]
    assert (source.problems, os.listdir(tmp_path)) == ([], ["x.db"])


def test_tables_without_rowid_or_with_columns_of_that_name_are_read(tmp_path: Path) -> None:
    source = make(
        tmp_path / 'o"dd ?#.db',
        'CREATE TABLE "we ""ird" (k TEXT PRIMARY KEY, v) WITHOUT ROWID',
        """INSERT INTO "we ""ird" VALUES ('a', 1), ('b', 2), ('c', 3)""",
        "CREATE TABLE named (rowid TEXT, oid TEXT)",
        "INSERT INTO named VALUES ('x', 'y')",
        "CREATE TABLE taken (rowid TEXT, oid TEXT, _rowid_ TEXT)",
        "INSERT INTO taken VALUES ('x', 'y', 'z')",
        "CREATE VIEW seen AS SELECT 1",
    )
    assert list(source.tables()) == ['we "ird', "named", "taken"]
    weird = source.tables()['we "ird']
    assert delivered(weird, size=2, start=1).records == [{"k": "b", "v": 2}, {"k": "c", "v": 3}]
    assert weird.place(1).endswith("row 1")
    assert delivered(source.tables()["named"]).records == [{"rowid": "x", "oid": "y"}]
    assert delivered(source.tables()["taken"]).records == [{"rowid": "x", "oid": "y", "_rowid_": "z"}]


def test_blobs_bad_text_and_infinity_are_noted(tmp_path: Path) -> None:
    source = make(
        tmp_path / "x.db",
        "CREATE TABLE t (a, b, c, d)",
        "INSERT INTO t VALUES (x'00ff', CAST(x'61ff00' AS TEXT), 9e999, 'plain')",
    )
    found = delivered(source.tables()["t"])
    assert found.records == [{"a": "AP8=", "b": "a\ufffd\ufffd", "c": "inf", "d": "plain"}]
    assert [note for _, note in found.notes] == [
        "a holds 2 bytes, kept as base64",
        SWAPPED,
        "c holds a number that is none",
    ]


def test_the_laboratorys_own_database_is_read() -> None:
    source = open_sqlite(shared_data("origin/llm-lab") / "experiments.sqlite")
    assert len(delivered(source.tables()["experiments"]).records) == 5
    assert delivered(source.tables()["responses"]).records == []


def test_what_is_no_database_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all")
    with pytest.raises(BadInput, match=r"x\.db is no SQLite database"):
        open_sqlite(tmp_path / "x.db")
    (tmp_path / "y.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 200)
    with pytest.raises(BadInput, match=r"y\.db is damaged"):
        open_sqlite(tmp_path / "y.db")


def test_damage_further_on_ends_the_table_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    rows = ", ".join(f"('{'x' * 900}')" for _ in range(200))
    make(path, "CREATE TABLE t (a)", f"INSERT INTO t VALUES {rows}")
    content = path.read_bytes()
    path.write_bytes(content[:-16384] + b"\xff" * 16384)
    found = delivered(open_sqlite(path).tables()["t"])
    assert 0 < len(found.records) < 200
    assert len(found.unreadable) == 1
    assert found.unreadable[0].index == found.indexes[-1] + 1
    assert "cannot be read from here on" in found.unreadable[0].reason
