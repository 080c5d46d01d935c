"""What every reader delivers: chunks of records, and by name what could not be read.

A reader knows its format and nothing of where the records go. Strings come out storable in Postgres
(no NUL, no half characters); what was changed for it is noted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from schemas.canonical import postgres_text
from schemas.errors import BadInput

SHOWN_CHARACTERS = 500
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of the source that is no record.

    Attributes:
        index: its place within its table.
        reason: one sentence.
        raw: its text as it stands in the source, cut and storable. It may hold a secret: redact it before storing.
        columns: names of the columns whose values `raw` holds without their names.
    """

    index: int
    reason: str
    raw: str
    columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RecordChunk:
    """Consecutive records of one source table.

    Attributes:
        table: the source's own name of the table.
        indexes: the place of each record: its number in an array (from 0), its rowid, its line.
        records: the parsed objects.
        unreadable: what stands between them and is no record.
        notes: place and sentence of what was repaired while reading.
        position: where to go on after this chunk, for `chunks(size, start=position)`.
    """

    table: str
    indexes: Sequence[int]
    records: Sequence[dict[str, Any]]
    unreadable: Sequence[Unreadable] = ()
    notes: Sequence[tuple[int, str]] = ()
    position: int = 0


class SourceTable(Protocol):
    """One table, array or file of records."""

    @property
    def name(self) -> str:
        """The source's own name, without a prefix."""
        ...

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The records from the place `start` on, at most `size` places at a time, in bounded memory.

        Raises:
            BadInput: the source cannot be read any more.
        """
        ...

    def place(self, index: int) -> str:
        """Where a record stands, for people: `threads[12]`, `x.csv, line 3`."""
        ...


class Source(Protocol):
    """An opened source; close it when done."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, so that a resume can refuse a source that changed."""
        ...

    @property
    def description(self) -> str:
        """What it is, for people; without secrets."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the source as a whole and belongs to no table, as sentences."""
        ...

    def tables(self) -> Mapping[str, SourceTable]:
        """The tables by name, in the order of the source."""
        ...

    def close(self) -> None:
        """What was opened is closed and temporary copies are gone."""
        ...


@dataclass(slots=True)
class Batch:
    """Consecutive places of a table as they were read: records, unreadable pieces and notes."""

    indexes: Sequence[int] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    after: int = 0
    """The place that follows."""


Row = tuple[int, dict[str, Any] | Unreadable, Sequence[str]]
"""A place, what stands there, and notes about it."""


def row_chunks(table: str, rows: Iterable[Row], size: int) -> Iterator[RecordChunk]:
    """`rows`, `size` places at a time; each chunk's position is the place after its last."""
    batch = Batch(indexes=[])
    count = 0
    for index, found, notes in rows:
        _add(batch, index, found, notes)
        count += 1
        if count == size:
            yield as_chunk(table, batch)
            batch, count = Batch(indexes=[]), 0
    if count:
        yield as_chunk(table, batch)


def _add(batch: Batch, index: int, found: dict[str, Any] | Unreadable, notes: Sequence[str]) -> None:
    batch.after = index + 1
    if isinstance(found, Unreadable):
        batch.unreadable.append(found)
        return
    batch.indexes = batch.indexes if isinstance(batch.indexes, list) else [*batch.indexes]
    batch.indexes.append(index)
    batch.records.append(found)
    batch.notes.extend((index, note) for note in notes)


def as_chunk(table: str, batch: Batch) -> RecordChunk:
    """`batch` as a chunk of `table`."""
    return RecordChunk(table, batch.indexes, batch.records, batch.unreadable, batch.notes, batch.after)


def shown(raw: bytes | str) -> str:
    """`raw` as text that can be stored and shown: cut, and without what Postgres refuses."""
    if isinstance(raw, bytes):
        raw = raw[: SHOWN_CHARACTERS * 4].decode("utf-8", "replace")
    return postgres_text(raw if len(raw) <= SHOWN_CHARACTERS else raw[:SHOWN_CHARACTERS] + "…")


def file_fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' content, in order, read in blocks."""
    digest = hashlib.sha256()
    for path in paths:
        with open_file(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def open_file(path: Path) -> IO[bytes]:
    """The file, open for reading bytes.

    Raises:
        BadInput: it does not exist, is a folder, or may not be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable_file(path, error) from error


def unreadable_file(path: Path, error: OSError) -> BadInput:
    """What to raise for a file that the system does not let us read."""
    return BadInput(f"{path} cannot be read: {error.strerror or type(error).__name__}", path=str(path))
