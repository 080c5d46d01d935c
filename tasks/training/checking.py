"""A file of training rows read back, before it is called done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from schemas.choices import ExportFormat
from schemas.errors import ExpectationFailed
from schemas.training import Record
from tasks.training.formats import fault_in


def check_file(path: Path, chosen_format: ExportFormat, rows: int) -> None:
    """The file has `rows` rows, each as the format's readers want it.

    Raises:
        ExpectationFailed: one is not; the message names the row, the first being 1.
    """
    number = 0
    for number, record in enumerate(_read(path, chosen_format), 1):
        try:
            fault = fault_in(record, chosen_format)
        except (KeyError, TypeError, AttributeError) as error:
            fault = f"it is no row of {chosen_format} ({error!r})"
        if fault is not None:
            raise ExpectationFailed(f"row {number} of {path.name}: {fault}", file=path.name, row=number)
    if number != rows:
        raise ExpectationFailed(f"{path.name} has {number} rows instead of {rows}", file=path.name)


def _read(path: Path, chosen_format: ExportFormat) -> Iterator[Record]:
    if chosen_format == "parquet":
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield orjson.loads(line)
            except ValueError as error:
                raise ExpectationFailed(
                    f"row {number} of {path.name} is no JSON", file=path.name, row=number
                ) from error
