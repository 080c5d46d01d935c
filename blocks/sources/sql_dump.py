"""Plain-text `pg_dump` files: the rows of COPY blocks and INSERT statements, read line by line and never executed.

All values are text, or null: what a column holds is for the reader of the records to say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from blocks.sources.dump_lines import (
    COPY,
    CREATE,
    INSERT,
    VALUES,
    copy_row,
    created_columns,
    insert_rows,
    quote_after,
    table_names,
)
from blocks.sources.json_record import SWAPPED
from blocks.sources.json_strings import plain_pieces
from blocks.sources.records import RecordChunk, Row, Unreadable, row_chunks, shown
from blocks.sources.text_files import Utf8File, open_utf8
from schemas.canonical import postgres_text
from schemas.errors import BadInput

LONGEST_STATEMENT = 64 << 20
_CUSTOM_FORMAT = b"PGDMP"
_STATEMENTS = (b"COPY", b"INSE", b"CREA")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one table that stand together: a COPY block or an INSERT statement.

    `begin` and `end` are offsets, `first` is the number of its first row within the table.
    """

    kind: Literal["copy", "insert"]
    begin: int
    end: int
    line: int
    first: int
    rows: int
    columns: tuple[str, ...]
    closed: bool = True


@dataclass(slots=True)
class DumpedTable:
    """One table of a dump; a record's index is its number among the table's rows, from 0."""

    name: str
    file: Utf8File
    stretches: list[Stretch] = field(default_factory=list)

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The rows from the number `start` on."""
        return row_chunks(self.name, self._rows(start), size)

    def place(self, index: int) -> str:
        """Where a record stands: `dump.sql, table cost_tracking, row 3 (line 120)`."""
        lines = [each.line + (index - each.first if each.kind == "copy" else 0) for each in self._around(index)]
        return f"{self.file.path.name}, table {self.name}, row {index}" + (f" (line {lines[0]})" if lines else "")

    def _around(self, index: int) -> list[Stretch]:
        return [each for each in self.stretches if each.first <= index < each.first + max(each.rows, 1)]

    def _rows(self, start: int) -> Iterator[Row]:
        for stretch in self.stretches:
            if stretch.first + stretch.rows <= start and stretch.closed:
                continue
            rows = self._copied(stretch) if stretch.kind == "copy" else self._inserted(stretch)
            for index, (fields, raw) in enumerate(rows, stretch.first):
                if index >= start:
                    yield _row(index, fields, raw, stretch.columns)
            if not stretch.closed:
                after = stretch.first + stretch.rows
                yield after, Unreadable(after, "the dump ends in the middle of the table's rows", ""), ()

    def _copied(self, stretch: Stretch) -> Iterator[tuple[list[bytes | None], bytes]]:
        rest = b""
        for piece, _ in plain_pieces(self.file.file, stretch.begin, stretch.end):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield copy_row(line.removesuffix(b"\r")), line
        if rest:
            yield copy_row(rest), rest

    def _inserted(self, stretch: Stretch) -> Iterator[tuple[list[bytes | None] | None, bytes]]:
        text = b"".join(piece for piece, _ in plain_pieces(self.file.file, stretch.begin, stretch.end))
        for row in insert_rows(text):
            yield row, text


def _row(index: int, fields: list[bytes | None] | None, raw: bytes, columns: Sequence[str]) -> Row:
    if fields is None:
        return index, Unreadable(index, "the statement is no list of constants", shown(raw), columns), ()
    if len(fields) != len(columns):
        reason = f"the row has {len(fields)} fields, its table {len(columns)} columns"
        return index, Unreadable(index, reason, shown(raw), columns), ()
    texts = [None if value is None else value.decode("utf-8", "surrogateescape") for value in fields]
    cleaned = [None if text is None else postgres_text(text) for text in texts]
    return index, dict(zip(columns, cleaned, strict=True)), () if cleaned == texts else (SWAPPED,)


@dataclass(slots=True)
class SqlDump:
    """An opened dump."""

    fingerprint: str
    description: str
    problems: list[str]
    _file: Utf8File
    _tables: dict[str, DumpedTable] = field(default_factory=dict)

    def tables(self) -> Mapping[str, DumpedTable]:
        """The tables that have rows, by name; with its schema where two schemas have one of that name."""
        return self._tables

    def close(self) -> None:
        """The file is closed."""
        self._file.close()


def open_sql_dump(path: Path) -> SqlDump:
    """The plain dump at `path`, its tables found.

    Raises:
        BadInput: it cannot be read, or is a dump in another format.
    """
    file = open_utf8(path)
    file.file.seek(file.begins)
    if file.file.read(len(_CUSTOM_FORMAT)) == _CUSTOM_FORMAT:
        file.close()
        raise BadInput(f"{path} is a custom-format dump; make it plain text: pg_restore -f dump.sql {path.name}")
    scan = _Scan(file)
    fingerprint = scan.run()
    if not scan.tables and not scan.columns:
        file.close()
        raise BadInput(f"{path} is no SQL dump: no COPY, INSERT or CREATE TABLE is in it", path=str(path))
    problems = [file.problem, *scan.problems] if file.problem else scan.problems
    return SqlDump(fingerprint, f"SQL dump {path}", problems, file, scan.tables)


@dataclass(slots=True)
class _Scan:
    """One pass over a dump: which rows of which table stand where."""

    file: Utf8File
    tables: dict[str, DumpedTable] = field(default_factory=dict)
    columns: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _schemas: dict[str, str] = field(default_factory=dict)
    _offset: int = 0
    _line: int = 0
    _dollar: bytes = b""

    def run(self) -> str:
        """The tables are known; returns the SHA-256 of the file."""
        digest = hashlib.sha256()
        self.file.file.seek(self.file.begins)
        self._offset = self.file.begins
        lines = self._lines(digest)
        for line in lines:
            if line[:4].upper() in _STATEMENTS and not self._dollar:
                self._statement(line, lines)
            elif b"$" in line:
                self._quote_dollars(line)
        return digest.hexdigest()

    def _lines(self, digest: hashlib._Hash) -> Iterator[bytes]:
        for line in self.file.file:
            digest.update(line)
            self._offset += len(line)
            self._line += 1
            yield line

    def _quote_dollars(self, line: bytes) -> None:
        """Lines inside a dollar-quoted function body are no statements of the dump."""
        for tag in re.findall(rb"\$\w*\$", line):
            if not self._dollar:
                self._dollar = tag
            elif tag == self._dollar:
                self._dollar = b""

    def _statement(self, line: bytes, lines: Iterator[bytes]) -> None:
        if copy := COPY.match(line):
            self._copy(tuple(table_names(copy[1])), copy[2], lines)
        elif insert := INSERT.match(line):
            self._insert(tuple(table_names(insert[1])), insert.end(), line, lines)
        elif create := CREATE.match(line):
            definition, _ = self._whole(line, lines)
            inside = definition[create.end() : definition.rfind(b")")]
            self.columns[tuple(table_names(create[1]))] = tuple(created_columns(inside))

    def _copy(self, name: tuple[str, ...], columns: bytes | None, lines: Iterator[bytes]) -> None:
        begin = end = self._offset
        first_line, rows, closed = self._line + 1, 0, False
        for line in lines:
            if line.rstrip(b"\r\n") == rb"\.":
                closed = True
                break
            end, rows = self._offset, rows + 1
        named = tuple(table_names(columns)) if columns else self.columns.get(name, ())
        self._add(name, "copy", (begin, end), first_line, rows, named, closed)

    def _insert(self, name: tuple[str, ...], after: int, line: bytes, lines: Iterator[bytes]) -> None:
        begin, number = self._offset - len(line), self._line
        statement, closed = self._whole(line, lines)
        columns = self.columns.get(name, ())
        if statement[after : after + 1] == b"(":
            bracket = statement.find(b")", after)
            columns, after = tuple(table_names(statement[after + 1 : bracket])), bracket + 1
        values = VALUES.match(statement, after)
        if values is None:
            self.problems.append(f"the INSERT at line {number} has no VALUES; it was not read")
            return
        rows = sum(1 for row in insert_rows(statement[values.end() :]) if closed or row is not None)
        place = (begin + values.end(), begin + len(statement))
        self._add(name, "insert", place, number, rows, columns, closed)

    def _whole(self, line: bytes, lines: Iterator[bytes]) -> tuple[bytes, bool]:
        """The statement that begins with `line`, and whether it has an end."""
        parts, size, quote = [line], len(line), quote_after(line, b"")
        while quote or not line.rstrip().endswith(b";"):
            following = next(lines, None)
            if following is None or size > LONGEST_STATEMENT:
                return b"".join(parts), False
            line = following
            parts.append(line)
            size, quote = size + len(line), quote_after(line, quote)
        return b"".join(parts), True

    def _add(
        self,
        name: tuple[str, ...],
        kind: Literal["copy", "insert"],
        place: tuple[int, int],
        line: int,
        rows: int,
        columns: tuple[str, ...],
        closed: bool,
    ) -> None:
        if not closed:
            self.problems.append(f"the dump ends in the middle of the rows of {name[-1]}")
        table = self._table(name)
        before = table.stretches[-1] if table.stretches else None
        first = before.first + before.rows if before else 0
        table.stretches.append(Stretch(kind, *place, line, first, rows, columns, closed))

    def _table(self, name: tuple[str, ...]) -> DumpedTable:
        schema = ".".join(name[:-1])
        known = self._schemas.setdefault(name[-1], schema)
        short = name[-1] if known == schema else ".".join(name)
        return self.tables.setdefault(short, DumpedTable(short, self.file))
