"""Parquet files, a row group's worth of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blocks.sources.plain_values import plain_value
from blocks.sources.records import RecordChunk, Row, file_fingerprint, open_file, row_chunks
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
                    for record in batch.to_pylist():
                        if index >= start:
                            notes: list[str] = []
                            yield index, {k: plain_value(v, k, notes) for k, v in record.items()}, notes
                        index += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise BadInput(f"{self.path} is damaged: {_first_line(error)}", path=str(self.path)) from error


def _groups_from(metadata: object, start: int) -> tuple[list[int], int]:
    """The row groups from the one that holds the row `start`, and the number of the first row in them."""
    first = 0
    for group in range(metadata.num_row_groups):  # type: ignore[attr-defined]
        rows = metadata.row_group(group).num_rows  # type: ignore[attr-defined]
        if first + rows > start:
            return list(range(group, metadata.num_row_groups)), first  # type: ignore[attr-defined]
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
