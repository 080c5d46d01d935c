"""Parquet files, a row group's worth of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks.sources.plain_values import plain_value
from blocks.sources.records import RecordChunk, Row, Unreadable, file_fingerprint, open_file, row_chunks
from schemas.errors import BadInput

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Parquet:
    """A Parquet file, source and only table at once; a record's index is its row, from 0."""

    name: str
    fingerprint: str
    description: str
    path: Path
    problems: tuple[str, ...] = ()

    def tables(self) -> Mapping[str, Parquet]:
        """Itself, under the file's name."""
        return {self.name: self}

    def close(self) -> None:
        """Nothing is held open between reads."""

    def place(self, index: int) -> str:
        """Where a record stands: `requests.parquet, row 3`."""
        return f"{self.path.name}, row {index}"

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The rows from the number `start` on.

        Raises:
            BadInput: the file is damaged further on.
        """
        return row_chunks(self.name, self._rows(start), size)

    def _rows(self, start: int) -> Iterator[Row]:
        import pyarrow
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(self.path) as file:
                groups, index = _groups_from(file.metadata, start)
                for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups):
                    for record in _python_rows(batch):
                        if index >= start:
                            yield _row(index, record)
                        index += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise BadInput(f"{self.path} is damaged: {_first_line(error)}", path=str(self.path)) from error


def _row(index: int, record: dict[str, Any] | str) -> Row:
    if isinstance(record, str):
        return index, Unreadable(index, record, ""), ()
    notes: list[str] = []
    return index, {name: plain_value(value, name, notes) for name, value in record.items()}, notes


def _python_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """The rows of `batch`; in place of one that Python cannot hold, such as a date in the year 20000, why."""
    batch = _in_microseconds(batch)
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError):
        pass
    for number in range(batch.num_rows):
        try:
            yield from batch.slice(number, 1).to_pylist()
        except (ValueError, OverflowError) as error:
            yield f"the row holds a value that cannot be read: {_first_line(error)}"


def _in_microseconds(batch: Any) -> Any:
    """`batch` with moments cut to microseconds, which is what Python and Postgres keep."""
    import pyarrow

    for number, field in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns":
            cut = batch.column(number).cast(pyarrow.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(number, field.name, cut)
    return batch


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:
    """The row groups from the one that holds the row `start`, and the number of the first row in them."""
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if first + rows > start:
            return list(range(group, metadata.num_row_groups)), first
        first += rows
    return [], first


def open_parquet(path: Path) -> Parquet:
    """The Parquet file at `path`.

    Raises:
        BadInput: it cannot be read or is no Parquet file.
    """
    import pyarrow
    from pyarrow.parquet import read_schema

    with open_file(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadInput(f"{path} is no Parquet file: its first bytes are others", path=str(path))
    try:
        read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path} is damaged: {_first_line(error)}", path=str(path)) from error
    return Parquet(path.stem, file_fingerprint(path), f"Parquet file {path}", path)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
