"""Rows written to files that other programs read: CSV, JSON, JSON lines, XLSX, Parquet, a few rows at a time.

A file has its name only when it is whole: it is written beside, under a name that nobody else writes to, and renamed.
Texts that a spreadsheet would run as formulas are not: in CSV an apostrophe is put before them (OWASP, CSV injection),
in a workbook they are cells of type text.
"""

from __future__ import annotations

import csv
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Literal

import orjson

from schemas.errors import BadInput

if TYPE_CHECKING:
    import pyarrow

RUN_AS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of texts that spreadsheets take for formulas, white space and full-width forms among them."""
LINE_END = "\r\n"
"""As RFC 4180 has it; and only what is in it is quoted, so that a lone \\r of a text would end a line."""
LONGEST_CELL = 32_767
MOST_ROWS = 1_048_575
"""Of a worksheet, its head left out."""

Kind = Literal["text", "integer", "number", "money", "boolean", "time", "texts"]
Row = Sequence[Any]


@dataclass(frozen=True)
class Column:
    """A column of a file; `texts` are lists of text."""

    name: str
    kind: Kind = "text"


class RowFile(ABC):
    """A file of rows that is being written.

    Attributes:
        path: where it is written.
        target: where it will be.
        rows: written so far.
        shortened: texts that were too long for a cell.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path = self.target = path
        self.columns = columns
        self.rows = 0
        self.shortened = 0

    def add(self, rows: Sequence[Row]) -> None:
        """`rows`, each with a value or None for each column, are in the file.

        Raises:
            BadInput: they cannot be written: the disk is full, or a worksheet is.
        """
        with _errors_of(self.target):
            self._write(rows)
        self.rows += len(rows)

    @abstractmethod
    def _write(self, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """Nothing is added any more; the file is whole."""

    @abstractmethod
    def abandon(self) -> None:
        """The file is closed as it is."""


@contextmanager
def open_row_file(path: Path, columns: Sequence[Column]) -> Iterator[RowFile]:
    """A file to add rows to, of the format that its name ends with; `path` has it when the block ends well.

    Raises:
        BadInput: there is no format of that ending, or the file cannot be written.
    """
    kind = require_format(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with _errors_of(path):
        if path.is_dir():
            raise BadInput(f"{path} is a folder: give a file in it")
        file = kind(partial, columns)
        file.target = path
    try:
        yield file
        with _errors_of(path):
            file.finish()
            partial.replace(path)
    except BaseException:
        with suppress(OSError):  # a disk that is full is so at the end too
            file.abandon()
        partial.unlink(missing_ok=True)
        raise


def require_format(path: Path) -> Callable[[Path, Sequence[Column]], RowFile]:
    """The writer of files with this ending.

    Raises:
        BadInput: there is none.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(f"{path.name} ends with none of {', '.join(FORMATS)}: the ending says what to write")
    return kind


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error


def csv_cell(value: Any) -> Any:
    """`value` as a cell of a CSV file, which no spreadsheet runs."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case list() | tuple():
            return csv_cell(", ".join(map(str, value)))
        case str() if value.startswith(RUN_AS_FORMULA):
            return f"'{value}"
    return value


def write_csv(file: IO[str], columns: Sequence[str], rows: Iterable[Row]) -> None:
    """`file` has a line of names and one for each row."""
    writer = csv.writer(file, lineterminator=LINE_END)
    writer.writerow(columns)
    writer.writerows([csv_cell(value) for value in row] for row in rows)


class _CsvFile(RowFile):
    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, columns)
        self._file = path.open("w", encoding="utf-8", newline="")
        write_csv(self._file, [column.name for column in columns], [])

    def _write(self, rows: Sequence[Row]) -> None:
        csv.writer(self._file, lineterminator=LINE_END).writerows([csv_cell(value) for value in row] for row in rows)

    def finish(self) -> None:
        self._file.close()

    abandon = finish


class _JsonLinesFile(RowFile):
    """An object a line; money is text, as digits that a float has not must not get lost."""

    _before, _between, _after = b"", b"\n", b"\n"

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        super().__init__(path, columns)
        self._names = [column.name for column in columns]
        self._file = path.open("wb")
        self._file.write(self._before)

    def _write(self, rows: Sequence[Row]) -> None:
        lines = [_json(dict(zip(self._names, row, strict=True))) for row in rows]
        if lines and self.rows:
            self._file.write(self._between)
        self._file.write(self._between.join(lines))

    def finish(self) -> None:
        self._file.write(self._after if self.rows else self._after.lstrip())
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


class _JsonFile(_JsonLinesFile):
    """One array, an object a line."""

    _before, _between, _after = b"[\n", b",\n", b"\n]\n"


def _json(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, default=csv_cell, option=orjson.OPT_PASSTHROUGH_DATETIME)


class _Workbook(RowFile):
    """One worksheet, written line by line to a file of its own, so that its size does not matter."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import xlsxwriter

        super().__init__(path, columns)
        path.touch()  # whether it can be written is known now, and not when all is read
        self._parts = TemporaryDirectory(prefix="headrace-")
        options = {"constant_memory": True, "tmpdir": self._parts.name, "nan_inf_to_errors": True}
        self._book = xlsxwriter.Workbook(str(path), options)
        self._book.use_zip64()
        self._sheet = self._book.add_worksheet("rows")
        self._sheet.freeze_panes(1, 0)
        bold = self._book.add_format({"bold": True})
        for place, column in enumerate(columns):
            self._sheet.write_string(0, place, column.name, bold)

    def _write(self, rows: Sequence[Row]) -> None:
        if self.rows + len(rows) > MOST_ROWS:
            raise BadInput(f"a worksheet holds {MOST_ROWS:,} rows and these are more: write .csv or .parquet")
        for line, row in enumerate(rows, self.rows + 1):
            for place, value in enumerate(row):
                self._write_cell(line, place, value)

    def _write_cell(self, line: int, place: int, value: Any) -> None:
        match value:
            case None:
                return
            case bool():
                self._sheet.write_boolean(line, place, value)
            case int() | float() | Decimal():
                self._sheet.write_number(line, place, value)
            case _:
                self._sheet.write_string(line, place, self._fitting(_cell_text(value)))

    def _fitting(self, text: str) -> str:
        if len(text) <= LONGEST_CELL:
            return text
        self.shortened += 1
        return f"{text[: LONGEST_CELL - 1]}…"

    def finish(self) -> None:
        from xlsxwriter.exceptions import FileCreateError

        try:
            self._book.close()
        except FileCreateError as error:
            raise OSError(str(error)) from error
        self._parts.cleanup()

    def abandon(self) -> None:
        self._parts.cleanup()


def _cell_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


class _ParquetFile(RowFile):
    """Typed columns, a row group each time rows are added."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow.parquet

        super().__init__(path, columns)
        self._schema = _schema(columns)
        self._writer = pyarrow.parquet.ParquetWriter(str(path), self._schema, compression="zstd")

    def _write(self, rows: Sequence[Row]) -> None:
        import pyarrow

        if not rows:
            return
        arrays = [
            pyarrow.array(values, type=each.type)
            for values, each in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()

    abandon = finish


def _schema(columns: Sequence[Column]) -> pyarrow.Schema:
    import pyarrow

    types: dict[Kind, Any] = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "money": pyarrow.decimal128(20, 10),
        "boolean": pyarrow.bool_(),
        "time": pyarrow.timestamp("us", tz="UTC"),
        "texts": pyarrow.list_(pyarrow.string()),
    }
    return pyarrow.schema([(column.name, types[column.kind]) for column in columns])


FORMATS: Mapping[str, Callable[[Path, Sequence[Column]], RowFile]] = {
    ".csv": _CsvFile,
    ".json": _JsonFile,
    ".jsonl": _JsonLinesFile,
    ".xlsx": _Workbook,
    ".parquet": _ParquetFile,
}
