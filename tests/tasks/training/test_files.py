"""Files of training rows: what is on the disk is what was written, or nothing is called done."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from schemas.errors import ExpectationFailed
from tasks.training.files import BLOCK_BYTES, SIGNS_AT_ONCE, Disk, JsonLines, Parquet


@pytest.fixture
def disk() -> Iterator[Disk]:
    """The thread that writes."""
    with closing(Disk()) as thread:
        yield thread


def test_many_blocks_arrive_in_order_and_are_hashed(tmp_path: Path, disk: Disk) -> None:
    file = JsonLines(tmp_path / "rows.jsonl", disk)
    records = [{"n": number, "text": "x" * 1000} for number in range(12 * BLOCK_BYTES // 1000)]
    for record in records:
        file.add(record)
    made = file.close()
    content = (tmp_path / "rows.jsonl").read_bytes()
    assert [orjson.loads(line) for line in content.splitlines()] == records
    assert (made.rows, made.bytes) == (len(records), len(content))
    assert made.sha256 == hashlib.sha256(content).hexdigest()


def test_lines_longer_than_a_block_stand_between_short_ones(tmp_path: Path, disk: Disk) -> None:
    file = JsonLines(tmp_path / "rows.jsonl", disk)
    records = [{"n": number, "text": "x" * (BLOCK_BYTES * 3 if number % 5 == 0 else 7)} for number in range(23)]
    for record in records:
        file.add(record)
    made = file.close()
    content = (tmp_path / "rows.jsonl").read_bytes()
    assert [orjson.loads(line) for line in content.splitlines()] == records
    assert made.sha256 == hashlib.sha256(content).hexdigest()


def test_a_block_that_reads_back_otherwise_is_told(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "rows.jsonl"
    path.symlink_to("/dev/zero")
    file = JsonLines(path, disk)
    file.add({"n": 1})
    with pytest.raises(ExpectationFailed, match=r"rows\.jsonl has other bytes than were written"):
        file.close()


def test_a_full_disk_is_told_while_rows_are_made(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "rows.jsonl"
    path.symlink_to("/dev/full")
    file = JsonLines(path, disk)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_blocks(file, 20)


def test_a_table_of_large_rows_does_not_gather_many_of_them(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    text = "x" * 1_000_000
    record = {"messages": [{"role": "assistant", "content": text}], "completion": text, "original": text}
    table = Parquet(tmp_path / "rows.parquet")
    for _ in range(20):
        table.write(record, b"", 1)
    assert table.close().rows == 20
    rows_at_once = SIGNS_AT_ONCE // 3_000_000 + 1
    assert parquet.ParquetFile(tmp_path / "rows.parquet").num_row_groups == -(-20 // rows_at_once)


def write_blocks(file: JsonLines, blocks: int) -> None:
    """More of them than wait at a time."""
    for _ in range(blocks):
        file.write({}, b"x" * BLOCK_BYTES, 0)
        file.write({}, b"x", 0)
