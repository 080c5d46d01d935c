"""JSON lines: a record a line, read a megabyte of lines at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blocks.sources.json_array import LONGEST_RECORD, array_chunks
from blocks.sources.json_record import read_record
from blocks.sources.json_salvage import faithful, strictly
from blocks.sources.json_strings import plain_pieces
from blocks.sources.records import Batch, RecordChunk, Unreadable, file_fingerprint
from blocks.sources.text_files import Utf8File, open_utf8
from schemas.errors import BadInput


@dataclass(slots=True)
class JsonLines:
    """A file of JSON lines, source and only table at once; a record's index is its line, from 1."""

    name: str
    fingerprint: str
    description: str
    problems: list[str]
    file: Utf8File

    def tables(self) -> Mapping[str, JsonLines]:
        """Itself, under the file's name."""
        return {self.name: self}

    def close(self) -> None:
        """The file is closed."""
        self.file.close()

    def place(self, index: int) -> str:
        """Where a record stands: `threads.jsonl, line 3`."""
        return f"{self.file.path.name}, line {index}"

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The records from the line `start` on; empty lines are passed over.

        Raises:
            BadInput: a line is longer than 32 MB.
        """
        return array_chunks(self.name, self._batches(start), size, max(start, 1))

    def _batches(self, start: int) -> Iterator[Batch]:
        number = 1
        for lines in self._blocks():
            following = number + len(lines)
            if following > start:
                yield _read(lines, number)
            number = following

    def _blocks(self) -> Iterator[list[bytes]]:
        rest = b""
        for piece, _ in plain_pieces(self.file.file, self.file.begins, self.file.size()):
            lines = (rest + piece).split(b"\n") if b"\n" in piece else [rest + piece]
            rest = lines.pop()
            if len(rest) > LONGEST_RECORD:
                raise BadInput(f"{self.file.path} has a line longer than 32 MB: give one record a line")
            if lines:
                yield lines
        if rest:
            yield [rest]


def _read(lines: list[bytes], first: int) -> Batch:
    after = first + len(lines)
    text = b",".join(lines)
    values = strictly(text)
    if values is not None and len(values) == len(lines) and faithful(values, text):
        return Batch(range(first, after), values, after=after)
    batch = Batch(indexes=[], after=after)
    _read_singly(lines, first, batch)
    return batch


def _read_singly(lines: Iterable[bytes], first: int, batch: Batch) -> None:
    indexes: list[int] = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        found, notes = read_record(line.strip(), number)
        if isinstance(found, Unreadable):
            batch.unreadable.append(found)
            continue
        indexes.append(number)
        batch.records.append(found)
        batch.notes.extend((number, note) for note in notes)
    batch.indexes = indexes


def open_json_lines(path: Path) -> JsonLines:
    """The file at `path`, a record a line.

    Raises:
        BadInput: it cannot be read or is empty.
    """
    file = open_utf8(path)
    problems = [file.problem] if file.problem else []
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return JsonLines(stem, file_fingerprint(path), f"JSON lines {path}", problems, file)
