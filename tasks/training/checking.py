"""Training rows read back as their readers will, before a file is called done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from schemas.choices import ExportFormat
from schemas.errors import BadInput, ExpectationFailed
from schemas.training import CheckedFile, Record
from tasks.training.formats import fault_in

FEWEST_AT_OPENAI = 10


def check_training_file(path: Path, chosen_format: ExportFormat) -> CheckedFile:
    """Every row of the file is as the format's readers want it.

    Raises:
        ExpectationFailed: one is not; the message names it.
        BadInput: the file cannot be read.
    """
    try:
        rows = check_file(path, chosen_format)
    except (OSError, ValueError) as error:  # of pyarrow, where it is no Parquet
        raise BadInput(f"{path} cannot be read: {error}") from error
    return CheckedFile(path=str(path), format=chosen_format, rows=rows, warnings=warnings_of(chosen_format, rows))


def warnings_of(chosen_format: ExportFormat, rows: int) -> tuple[str, ...]:
    """What a trainer may object to in a file of so many rows."""
    if chosen_format.startswith("openai") and rows < FEWEST_AT_OPENAI:
        return (f"OpenAI wants at least {FEWEST_AT_OPENAI} rows, and there are {rows}",)
    return ()


def check_line(line: bytes, chosen_format: ExportFormat, name: str, number: int) -> None:
    """The line is a row as the format's readers want it.

    Args:
        name, number: of the file, and of the row in it, the first being 1.

    Raises:
        ExpectationFailed: it is not; the message names the row.
    """
    try:
        record = orjson.loads(line)
    except ValueError as error:
        raise ExpectationFailed(f"row {number} of {name} is no JSON", file=name, row=number) from error
    check_record(record, chosen_format, name, number)


def check_record(record: Record, chosen_format: ExportFormat, name: str, number: int) -> None:
    """The record is a row as the format's readers want it.

    Raises:
        ExpectationFailed: as `check_line`.
    """
    try:
        fault = fault_in(record, chosen_format)
    except (KeyError, TypeError, AttributeError) as error:
        fault = f"it is no row of {chosen_format} ({error!r})"
    if fault is not None:
        raise ExpectationFailed(f"row {number} of {name}: {fault}", file=name, row=number)


def check_file(path: Path, chosen_format: ExportFormat, rows: int | None = None) -> int:
    """The file has `rows` rows, each as the format's readers want it; returns how many.

    Raises:
        ExpectationFailed: one is not; the message names the row, the first being 1.
    """
    number = 0
    if chosen_format == "parquet":
        for number, record in enumerate(_read_parquet(path), 1):
            check_record(record, chosen_format, path.name, number)
    else:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                check_line(line, chosen_format, path.name, number)
    if rows is not None and number != rows:
        raise ExpectationFailed(f"{path.name} has {number} rows instead of {rows}", file=path.name)
    return number


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=100):
            yield from batch.to_pylist()
