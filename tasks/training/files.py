"""Files of training rows: JSON Lines, and Parquet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import orjson

from schemas.errors import ExpectationFailed
from schemas.training import ExportedFile, Record

AT_ONCE = 1000
"""Rows of Parquet that are gathered; a row group of them."""
SIGNS_AT_ONCE = 16 << 20
"""Of the texts of such rows; from there on a row group has fewer."""
BLOCK_BYTES = 1 << 20


def as_line(record: Record) -> bytes:
    """Its JSON, in UTF-8, and a line feed."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


class RowFile(Protocol):
    """A file that takes rows."""

    rows: int

    def write(self, record: Record, line: bytes, tokens: int) -> None:
        """The row is the next of the file; `line` is its JSON and a line feed, for files that have lines."""
        ...

    def close(self) -> ExportedFile:
        """The file is complete and durable."""
        ...


class Disk:
    """A thread that writes, so that rows are made meanwhile: writing and hashing need no interpreter."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "training-files")

    def do(self, write: Callable[[bytearray, int], None], block: bytearray, length: int) -> Future[None]:
        """The beginning of the block is written soon."""
        return self._thread.submit(write, block, length)

    def close(self) -> None:
        """The thread has ended; what was to be written and is not is given up."""
        self._thread.shutdown(cancel_futures=True)


class JsonLines:
    """One JSON object a line, in UTF-8; every block is read back, and the hash is that of what was read.

    Lines are gathered in one block while the other is written: memory that is taken anew for each costs more than all
    else that is done with them.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.rows = self.tokens = 0
        self._path = path
        self._disk = disk
        self._file = path.open("w+b", buffering=0)
        self._hash = hashlib.sha256()
        self._block, self._other, self._back = (bytearray(BLOCK_BYTES) for _ in range(3))
        self._gathered = self._written_bytes = 0
        self._writing: Future[None] | None = None

    def add(self, record: Record) -> None:
        """The record is the next line."""
        self.write(record, as_line(record), 0)

    def write(self, record: Record, line: bytes, tokens: int) -> None:
        """The row is the next line."""
        end = self._gathered + len(line)
        if end > len(self._block):
            self._flush()
            end = len(line)
            if end > len(self._block):
                self._block = bytearray(end)
        self._block[self._gathered : end] = line
        self._gathered = end
        self.rows += 1
        self.tokens += tokens

    def close(self) -> ExportedFile:
        """The file is complete and durable."""
        self._flush()
        self._settle()
        os.fsync(self._file.fileno())
        self._file.close()
        return ExportedFile(
            rows=self.rows, tokens=self.tokens, bytes=self._written_bytes, sha256=self._hash.hexdigest()
        )

    def _flush(self) -> None:
        """What was gathered is written soon; what met the block before it is raised."""
        self._settle()
        self._writing = self._disk.do(self._append, self._block, self._gathered)
        self._block, self._other = self._other, self._block
        self._gathered = 0

    def _settle(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _append(self, block: bytearray, length: int) -> None:
        begin, rest = self._written_bytes, memoryview(block)[:length]
        while rest:
            rest = rest[self._file.write(rest) :]
        if len(self._back) < length:
            self._back = bytearray(length)
        there = memoryview(self._back)[: os.preadv(self._file.fileno(), [memoryview(self._back)[:length]], begin)]
        if len(there) != length or not block.startswith(there):
            raise ExpectationFailed(f"{self._path.name} has other bytes than were written", file=self._path.name)
        self._hash.update(there)
        self._written_bytes += length


class Parquet:
    """A table with a row for each call, whatever was thought of it."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as parquet

        self.rows = self.tokens = 0
        self._path = path
        self._schema = _schema()
        self._writer: Any = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._gathered: list[Record] = []
        self._gathered_signs = 0

    def write(self, record: Record, line: bytes, tokens: int) -> None:
        """The row is the next."""
        self._gathered.append(record)
        self._gathered_signs += len(record["original"]) + 2 * sum(len(turn["content"]) for turn in record["messages"])
        self.rows += 1
        self.tokens += tokens
        if len(self._gathered) == AT_ONCE or self._gathered_signs > SIGNS_AT_ONCE:
            self._flush()

    def close(self) -> ExportedFile:
        """The file is complete and durable."""
        self._flush()
        self._writer.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ExportedFile(rows=self.rows, tokens=self.tokens, bytes=self._path.stat().st_size, sha256=digest)

    def _flush(self) -> None:
        import pyarrow

        if self._gathered:
            self._writer.write_table(pyarrow.Table.from_pylist(self._gathered, schema=self._schema))
            self._gathered, self._gathered_signs = [], 0


def _schema() -> Any:
    import pyarrow

    text = pyarrow.string()
    turns = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    return pyarrow.schema(
        [
            *(("id", text), ("messages", turns), ("weights", pyarrow.list_(pyarrow.int8()))),
            *(("prompt", turns), ("completion", text), ("original", text)),
            *(("corrected", pyarrow.bool_()), ("opinion", text), ("model", text)),
            *(("score", pyarrow.float64()), ("tokens", pyarrow.int64())),
        ]
    )
