"""What a migration rejected: on a terminal, as JSON, as CSV."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TextIO
from uuid import UUID

import orjson
from pydantic import BaseModel
from rich.table import Table

from flows.migration_report import printable
from flows.presentation import console, write_json
from schemas.errors import BadInput
from tasks.ledger.session import open_ledger
from tasks.migration.rejects import RejectRecord, count_rejects, read_rejects

COLUMNS = tuple(RejectRecord.model_fields)


class _Rejects(BaseModel):
    run: UUID
    status: str = "completed"
    rules: dict[str, int]
    rejects: list[RejectRecord]


async def show_rejects(run: UUID, *, table: str, limit: int, csv_to: str, as_json: bool) -> int:
    """The rejects of `run` are shown, `limit` of them, or all are in the file `csv_to` (`-`: standard output).

    Raises:
        NotFound: there is no such run, or it rejected nothing of `table`.
        BadInput: it is no migration, the file cannot be written, or two things are wanted on standard output.
    """
    if csv_to == "-" and as_json:
        raise BadInput("--csv - and --json both want standard output; give --csv a file")
    async with open_ledger():
        rules = await count_rejects(run, table=table)
        if csv_to == "-":
            await _write_csv(sys.stdout, run, table)
            return 0
        if csv_to:
            await _write_file(Path(csv_to), run, table)
        shown = [each async for each in read_rejects(run, table=table, limit=limit)]
    if as_json:
        write_json(_Rejects(run=run, rules=rules, rejects=shown))
    else:
        _print(rules, shown, csv_to)
    return 0


def _print(rules: dict[str, int], shown: list[RejectRecord], csv_to: str) -> None:
    out = console()
    if not rules:
        out.print("Nothing was rejected.")
        return
    counts = Table("rule", "records", box=None, pad_edge=False)
    for rule, count in rules.items():
        counts.add_row(printable(rule), f"{count:,}")
    out.print(counts)
    out.print()
    for each in shown:
        out.print(f"{each.place}: {printable(each.reason)}", markup=False, soft_wrap=True)
    total = sum(rules.values())
    if total > len(shown):
        out.print(f"… {len(shown):,} of {total:,}; --limit shows more, --csv FILE writes all with their records")
    if csv_to:
        out.print(f"written to {csv_to}", soft_wrap=True, markup=False)


async def _write_file(path: Path, run: UUID, table: str) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            await _write_csv(file, run, table)
    except OSError as error:
        raise BadInput(f"--csv {path} cannot be written: {error.strerror}") from error


async def _write_csv(file: TextIO, run: UUID, table: str) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    async for each in read_rejects(run, table=table):
        kept = None if each.record is None else orjson.dumps(each.record).decode()
        writer.writerow([kept if name == "record" else getattr(each, name) for name in COLUMNS])
    file.flush()
