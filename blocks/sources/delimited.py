"""CSV and its relatives: a header, then a record a row, all values text."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.sources.json_record import SWAPPED
from blocks.sources.records import RecordChunk, Row, Unreadable, file_fingerprint, row_chunks, shown
from blocks.sources.text_files import Utf8File, open_utf8
from schemas.canonical import postgres_text
from schemas.errors import BadInput

if TYPE_CHECKING:
    from typing_extensions import Buffer

LONGEST_FIELD = 32 << 20
_DELIMITERS = ",;\t|"
_BLOCK_BYTES = 1 << 20


@dataclass(slots=True)
class Delimited:
    """A CSV file, source and only table at once; a record's index is its first line, the header being line 1."""

    name: str
    fingerprint: str
    description: str
    problems: list[str]
    file: Utf8File
    encoding: str
    delimiter: str
    columns: list[str]

    def tables(self) -> Mapping[str, Delimited]:
        """Itself, under the file's name."""
        return {self.name: self}

    def close(self) -> None:
        """The file is closed."""
        self.file.close()

    def place(self, index: int) -> str:
        """Where a record begins: `requests.csv, line 3`."""
        return f"{self.file.path.name}, line {index}"

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The rows from the line `start` on; a row with too few or too many fields is unreadable."""
        return row_chunks(self.name, (row for row in self._rows() if row[0] >= start), size)

    def _rows(self) -> Iterator[Row]:
        reader = _reader(self.file, self.encoding, self.delimiter)
        next(reader, None)
        line = reader.line_num + 1
        try:
            for fields in reader:
                if fields:
                    yield self._row(line, fields)
                line = reader.line_num + 1
        except csv.Error as error:
            yield line, Unreadable(line, f"the file cannot be read from here on: {error}", ""), ()

    def _row(self, line: int, fields: list[str]) -> Row:
        if len(fields) != len(self.columns):
            reason = f"the row has {len(fields)} fields, the header {len(self.columns)}"
            return line, Unreadable(line, reason, shown(self.delimiter.join(fields)), self.columns), ()
        cleaned = [postgres_text(value) for value in fields]
        return line, dict(zip(self.columns, cleaned, strict=True)), () if cleaned == fields else (SWAPPED,)


def open_delimited(path: Path) -> Delimited:
    """The CSV file at `path`; its delimiter is the commonest of comma, semicolon, tab and bar in the header.

    A file that is not UTF-8 is read as Windows-1252, and says so.

    Raises:
        BadInput: it cannot be read, or its header is missing or names a column twice.
    """
    file = open_utf8(path)
    problems = [file.problem] if file.problem else []
    encoding = "utf-8" if _is_utf8(file) else "cp1252"
    if encoding != "utf-8":
        problems.append("the file is not UTF-8; it was read as Windows-1252")
    delimiter = _delimiter(file)
    try:
        columns = _columns(path, next(_reader(file, encoding, delimiter), []))
    except (BadInput, csv.Error) as error:
        file.close()
        raise BadInput(f"{path} has no header that can be read: {error}", path=str(path)) from error
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    description = f"CSV file {path}"
    return Delimited(stem, file_fingerprint(path), description, problems, file, encoding, delimiter, columns)


def _columns(path: Path, header: list[str]) -> list[str]:
    columns = [postgres_text(name.strip()) for name in header]
    if not any(columns):
        raise BadInput("its first line names no columns")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice or "" in columns:
        raise BadInput(f"it names {twice[0]!r} twice" if twice and twice[0] else "it has a column without a name")
    return columns


def _is_utf8(file: Utf8File) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.file.seek(file.begins)
    try:
        while block := file.file.read(_BLOCK_BYTES):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(file: Utf8File) -> str:
    """The commonest candidate in the first line, outside quotes."""
    file.file.seek(file.begins)
    line = file.file.readline(_BLOCK_BYTES).decode("latin-1")
    bare = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _reader(file: Utf8File, encoding: str, delimiter: str) -> Any:
    csv.field_size_limit(LONGEST_FIELD)
    errors = "surrogateescape" if encoding == "utf-8" else "replace"
    lines = io.TextIOWrapper(io.BufferedReader(_Reading(file.file.fileno(), file.begins)), encoding, errors, newline="")
    return csv.reader(lines, delimiter=delimiter)


class _Reading(io.RawIOBase):
    """The bytes of an open file from an offset on, with a position of its own."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor, self._offset = descriptor, offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        block = os.pread(self._descriptor, len(view), self._offset)
        view[: len(block)] = block
        self._offset += len(block)
        return len(block)
