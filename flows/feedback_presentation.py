"""What the commands about feedback show."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from flows.migration_report import printable
from flows.presentation import console, table, write_json
from schemas.feedback import FeedbackRecord, FeedbackReport


class _Given(FeedbackRecord):
    run_id: None = None
    status: str = "completed"


class _Listed(BaseModel):
    run_id: None = None
    status: str = "completed"
    feedback: tuple[FeedbackRecord, ...]


def show_feedback(given: FeedbackRecord, *, as_json: bool) -> int:
    """What was recorded."""
    if as_json:
        write_json(_Given(**given.model_dump()))
        return 0
    who = f" of {given.user_id}" if given.user_id else ""
    more = f" ({', '.join(given.categories)})" if given.categories else ""
    more += ", with a correction" if given.correction else ""
    line = printable(f"feedback{who} on {given.response_id}: {given.rating}{more}")
    console().print(line, soft_wrap=True, markup=False)
    return 0


def show_feedback_report(report: FeedbackReport, *, as_json: bool) -> int:
    """How many rows were recorded, and what is wrong with each of the others; 1 where there is one."""
    if as_json:
        write_json(report)
    else:
        out = console()
        out.print(f"{report.recorded} recorded, {len(report.rejected)} rejected", markup=False)
        for row in report.rejected:
            out.print(printable(f"row {row.row}: {row.reason}"), soft_wrap=True, markup=False)
    return 1 if report.rejected else 0


def show_all_feedback(found: Sequence[FeedbackRecord], *, as_json: bool) -> int:
    """A line for each, and its correction below."""
    if as_json:
        write_json(_Listed(feedback=tuple(found)))
        return 0
    rows = [[printable(str(cell or "")) for cell in _cells(row)] for row in found]
    console().print(table("", ("response", "user", "rating", "categories", "notes", "correction"), rows), markup=False)
    return 0


def _cells(row: FeedbackRecord) -> tuple[object, ...]:
    return row.response_id, row.user_id, row.rating, ", ".join(row.categories), row.notes, row.correction
