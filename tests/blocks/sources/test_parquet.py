"""Parquet files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from blocks.sources.parquet import open_parquet
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered

pyarrow = pytest.importorskip("pyarrow")
ROWS = [
    {
        "id": n,
        "cost": Decimal("0.10"),
        "at": datetime(2025, 1, 2, tzinfo=UTC),
        "day": date(2025, 1, 2),
        "tags": ["a"],
        "raw": b"\xff",
    }
    for n in range(10)
]


def write(path: Path) -> Path:
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist(ROWS), path, row_group_size=3)
    return path


def test_rows_come_as_json_values_and_reading_goes_on_at_any(tmp_path: Path) -> None:
    source = open_parquet(write(tmp_path / "requests.parquet"))
    table = source.tables()["requests"]
    found = delivered(table, size=4)
    assert [record["id"] for record in found.records] == list(range(10))
    assert found.records[0] == {
        "id": 0,
        "cost": "0.10",
        "at": "2025-01-02T00:00:00+00:00",
        "day": "2025-01-02",
        "tags": ["a"],
        "raw": "/w==",
    }
    assert found.notes[0] == (0, "raw holds 1 bytes, kept as base64")
    for start in range(11):
        assert delivered(table, start=start).indexes == list(range(start, 10))
    assert table.place(3) == "requests.parquet, row 3"


def test_what_is_no_parquet_or_damaged_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(BadInput, match="no Parquet file"):
        open_parquet(tmp_path / "x.parquet")
    whole = write(tmp_path / "y.parquet").read_bytes()
    (tmp_path / "y.parquet").write_bytes(whole[:-20])
    with pytest.raises(BadInput, match="damaged"):
        open_parquet(tmp_path / "y.parquet")
    (tmp_path / "z.parquet").write_bytes(whole[:4] + b"\xff" * 300 + whole[304:])
    with pytest.raises(BadInput, match="damaged"):
        delivered(open_parquet(tmp_path / "z.parquet"))
