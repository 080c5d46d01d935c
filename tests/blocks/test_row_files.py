"""Files of rows: whole or not there, read back as they were written, never run."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from blocks import row_files
from blocks.row_files import FORMATS, RUN_AS_FORMULA, Column, open_row_file, write_csv
from schemas.errors import BadInput

COLUMNS = [Column("said"), Column("cost_usd", "money"), Column("when", "time"), Column("tags", "texts"),
           Column("replayed", "boolean"), Column("score", "number")]  # fmt: skip
ROW = ['a\n"b",c', Decimal("0.0000001230"), datetime(2026, 3, 1, 12, tzinfo=UTC), ["x", "y"], True, 0.1]


def written(path: Path, rows: list[list[Any]]) -> Path:
    with open_row_file(path, COLUMNS) as file:
        file.add(rows)
    return path


def interrupted(path: Path) -> None:
    with open_row_file(path, COLUMNS) as file:
        file.add([ROW])
        raise KeyboardInterrupt


def test_a_full_disk_is_told_by_the_name_that_was_given() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    file = row_files._JsonLinesFile(full, COLUMNS)
    with pytest.raises(BadInput, match="/dev/full cannot be written: No space left on device"):
        file.add([ROW] * 10_000)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_that_was_not_finished_is_not_there_and_what_was_there_stays(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "parts"))
    (tmp_path / "parts").mkdir()
    kept = tmp_path / f"kept{ending}"
    kept.write_text("kept")
    with pytest.raises(KeyboardInterrupt):
        interrupted(kept)
    assert kept.read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {kept.name, "parts"}
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_worksheet_that_is_full_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "MOST_ROWS", 2)
    assert written(tmp_path / "two.xlsx", [ROW, ROW]).exists()
    with pytest.raises(BadInput, match="a worksheet holds 2 rows and these are more"):
        written(tmp_path / "three.xlsx", [ROW, ROW, ROW])
    assert not (tmp_path / "three.xlsx").exists()


def test_values_are_what_they_were(tmp_path: Path) -> None:
    (row,) = json.loads(written(tmp_path / "a.json", [ROW]).read_bytes())
    assert row == {"said": ROW[0], "cost_usd": "0.000000123", "when": "2026-03-01T12:00:00+00:00", "tags": ["x", "y"],
                   "replayed": True, "score": 0.1}  # fmt: skip
    (line,) = written(tmp_path / "a.jsonl", [ROW]).read_text().splitlines()
    assert json.loads(line) == row
    (typed,) = parquet.read_table(written(tmp_path / "a.parquet", [ROW])).to_pylist()
    assert list(typed.values()) == ROW
    with written(tmp_path / "a.csv", [ROW, [None] * 6]).open(newline="") as file:
        found, empty = csv.DictReader(file)
    assert list(found.values()) == [ROW[0], "0.000000123", "2026-03-01T12:00:00+00:00", "x, y", "true", "0.1"]
    assert set(empty.values()) == {""}


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)))
def test_any_text_comes_back_from_csv_and_none_begins_as_a_formula(rows: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    write_csv(file, ["first", "second"], rows)
    _, *found = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert len(found) == len(rows)
    for row, read in zip(rows, found, strict=True):
        for text, cell in zip(row, read, strict=True):
            assert cell == (f"'{text}" if text.startswith(RUN_AS_FORMULA) else text)
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("ending", FORMATS)
def test_of_two_who_write_the_same_file_each_puts_a_whole_one_in_its_place(tmp_path: Path, ending: str) -> None:
    path, whole = tmp_path / f"rows{ending}", tmp_path / f"whole{ending}"
    written(whole, [ROW])
    with open_row_file(path, COLUMNS) as first:
        first.add([ROW])
        with open_row_file(path, COLUMNS) as second:
            second.add([ROW, ROW, ROW])
        longer = path.read_bytes()
    assert (first.rows, second.rows) == (1, 3)
    assert path.read_bytes() != longer
    assert path.stat().st_size == whole.stat().st_size
    assert {each.name for each in tmp_path.iterdir()} == {path.name, whole.name}
