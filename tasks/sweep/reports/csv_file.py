"""Responses as CSV (RFC 4180, UTF-8), safe to open in a spreadsheet.

A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end as a formula (OWASP, CSV Injection).
So a text that begins with one of these, or with the apostrophe that this rule writes, has an apostrophe before it:
whoever wants the text as it was takes one apostrophe from the beginning of each text that has one. Numbers are written
as they are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from typing import BinaryIO

from blocks.row_files import RUN_AS_FORMULA
from schemas.sweep import PARAMETERS
from schemas.sweep_reports import ReportContents, ReportedResponse, Value
from tasks.sweep.reports.tables import Table, exact, scores_of

ESCAPE = "'"

_FIELDS = ("id", "prompt", "system_prompt", "model")
_ANSWER = ("repetition", "status", "content", "finish_reason", "input_tokens", "output_tokens", "latency_ms",
           "cost_usd", "saved_usd", "replayed", "attempts", "error_class", "error_message", "created_at")  # fmt: skip


def whole_responses(contents: ReportContents) -> Table:
    """Every response with its prompts, parameters, answer or error, and scores."""
    columns = (*_FIELDS, *PARAMETERS, *_ANSWER, *contents.metrics)
    return Table("responses", columns, tuple(_row(response, contents.metrics) for response in contents.responses))


def _row(response: ReportedResponse, metrics: Sequence[str]) -> tuple[Value, ...]:
    return (
        *(getattr(response, name) for name in _FIELDS),
        *(response.parameters.get(name) for name in PARAMETERS),
        *(getattr(response, name) for name in _ANSWER),
        *scores_of(response, metrics),
    )


def write_csv(contents: ReportContents, file: BinaryIO) -> None:
    """The responses are in the file, the names of the columns above them."""
    table = whole_responses(contents)
    out = TextIOWrapper(file, "utf-8", "replace", newline="")
    writer = csv.writer(out)
    writer.writerow(escaped(column) for column in table.columns)
    writer.writerows(_cells(row) for row in table.rows)
    out.detach()


def _cells(row: Sequence[Value]) -> Iterator[str]:
    return (escaped(cell) if isinstance(cell, str) else exact(cell) for cell in row)


def escaped(said: str) -> str:
    """`said` as a text that no spreadsheet runs."""
    return ESCAPE + said if said.startswith((*RUN_AS_FORMULA, ESCAPE)) else said


def unescaped(cell: str) -> str:
    """What was `escaped`."""
    return cell.removeprefix(ESCAPE)
