"""Files of training rows: JSON Lines, and Parquet."""

from __future__ import annotations

import hashlib
import os
from collections import deque
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
BUFFER_BYTES = 1 << 20
BLOCKS_WAITING = 4


class RowFile(Protocol):
    """A file that takes rows."""

    rows: int

    def write(self, record: Record, line: bytes, tokens: int) -> None:
        """The row is the next of the file; `line` is its JSON, for files that have lines."""
        ...

    def close(self) -> ExportedFile:
        """The file is complete and durable."""
        ...


class Disk:
    """A thread that writes, so that rows are made meanwhile: writing and hashing need no interpreter."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "training-files")
        self._waiting: deque[Future[None]] = deque()

    def do(self, write: Callable[[bytes], None], block: bytes) -> None:
        """The block is written soon; what an earlier one met is raised. Few blocks wait at any time."""
        self._waiting.append(self._thread.submit(write, block))
        while len(self._waiting) > BLOCKS_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()

    def settle(self) -> None:
        """All that was to be written is."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """The thread has ended; what was to be written and is not is given up."""
        self._thread.shutdown(cancel_futures=True)


class JsonLines:
    """One JSON object a line, in UTF-8; every block is read back, and the hash is that of what was read."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.rows = self.tokens = 0
        self._path = path
        self._disk = disk
        self._file = path.open("w+b", buffering=0)
        self._hash = hashlib.sha256()
        self._gathered: list[bytes] = []
        self._gathered_bytes = self._written_bytes = 0

    def add(self, record: Record) -> None:
        """The record is the next line."""
        self.write(record, orjson.dumps(record), 0)

    def write(self, record: Record, line: bytes, tokens: int) -> None:
        """The row is the next line."""
        self._gathered.append(line)
        self._gathered_bytes += len(line)
        self.rows += 1
        self.tokens += tokens
        if self._gathered_bytes > BUFFER_BYTES:
            self._flush()

    def close(self) -> ExportedFile:
        """The file is complete and durable."""
        self._flush()
        self._disk.settle()
        os.fsync(self._file.fileno())
        self._file.close()
        return ExportedFile(
            rows=self.rows, tokens=self.tokens, bytes=self._written_bytes, sha256=self._hash.hexdigest()
        )

    def _flush(self) -> None:
        if self._gathered:
            self._disk.do(self._append, b"\n".join((*self._gathered, b"")))
            self._gathered, self._gathered_bytes = [], 0

    def _append(self, block: bytes) -> None:
        begin, rest = self._written_bytes, memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        there = os.pread(self._file.fileno(), len(block), begin)
        if there != block:
            raise ExpectationFailed(f"{self._path.name} has other bytes than were written", file=self._path.name)
        self._hash.update(there)
        self._written_bytes += len(block)


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
