"""Experiments on a terminal, as JSON and as CSV."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from blocks.row_files import write_csv
from flows.presentation import console, money, table, write_json
from schemas.errors import BadInput
from schemas.experiments import Deletion, ExperimentDetail, ExperimentPage, ResponseExport, ResponseRecord
from schemas.sweep_results import ExperimentRecord
from tasks.sweep.statistics.sentences import name_of, points, settings_of

CALLED = {
    "responses": ("response", "responses"),
    "quality_metrics": ("score", "scores"),
    "parameter_insights": ("insight", "insights"),
    "sweep_analyses": ("analysis", "analyses"),
    "quality_analytics": ("sum by day", "sums by day"),
}


class _Done(BaseModel):
    run_id: UUID | None = None
    status: Literal["completed"] = "completed"


class _Page(_Done, ExperimentPage):
    pass


class _Detail(_Done, ExperimentDetail):
    pass


class _Changed(_Done):
    experiment: ExperimentRecord


class _Export(_Done, ResponseExport):
    pass


class _Deleted(_Done):
    deleted: Deletion


def show_page(page: ExperimentPage, *, csv_to: str, as_json: bool) -> int:
    """Experiments as a table, as JSON or as CSV.

    Raises:
        BadInput: the file cannot be written, or two things are wanted on standard output.
    """
    if csv_to == "-" and as_json:
        raise BadInput("--csv - and --json both want standard output; give --csv a file")
    if csv_to:
        _write_csv(page, csv_to)
    if as_json:
        write_json(_Page(**dict(page)))
    elif csv_to != "-":
        _print_page(page)
    return 0


def _write_csv(page: ExperimentPage, csv_to: str) -> None:
    columns = tuple(ExperimentRecord.model_fields)
    rows = [[getattr(each, name) for name in columns] for each in page.experiments]
    if csv_to == "-":
        write_csv(sys.stdout, columns, rows)
        return
    try:
        with Path(csv_to).open("w", encoding="utf-8", newline="") as file:
            write_csv(file, columns, rows)
    except OSError as error:
        raise BadInput(f"--csv {csv_to} cannot be written: {error.strerror}") from error


def _print_page(page: ExperimentPage) -> None:
    out = console()
    if not page.experiments:
        out.print("There are no such experiments.")
        return
    rows = [
        (each.id, escape(f"{'★ ' if each.is_favourite else ''}{each.name}"), each.status, each.responses,
         each.failed or None, _score(each.best_score), _score(each.mean_score), money(each.cost_usd),
         f"{each.created_at:%F %R}", escape(", ".join(each.tags)))
        for each in page.experiments
    ]  # fmt: skip
    columns = ("id", "name", "status", "responses", "failed", "best", "mean", "cost", "created (UTC)", "tags")
    out.print(table("", columns, rows))
    if page.next_after:
        out.print(f"There are more: --after {page.next_after} goes on.", soft_wrap=True)


def _score(score: float | None) -> str | None:
    return None if score is None else points(score)


def show_detail(detail: ExperimentDetail, *, as_json: bool) -> int:
    """An experiment on a page."""
    if as_json:
        write_json(_Detail(**dict(detail)).model_copy(update={"run_id": detail.experiment.run_id}))
        return 0
    out = console()
    for line in _lines(detail):
        out.print(line, markup=False, soft_wrap=True)
    if detail.metrics:
        rows = [(name_of(each.metric), points(each.mean), points(each.lowest), points(each.highest), each.responses)
                for each in detail.metrics]  # fmt: skip
        title = f"Scores ({detail.analysis_version})"
        out.print(table(title, ("metric", "mean", "lowest", "highest", "responses"), rows))
    if detail.best:
        best = [(points(each.score), each.responses, escape(each.model or ""), settings_of(dict(each.parameters)))
                for each in detail.best]  # fmt: skip
        out.print(table("Best settings", ("overall", "responses", "model", "parameters"), best))
    for what, response in (("best", detail.best_response), ("worst", detail.worst_response)):
        if response is not None:
            out.print(f"{what} response: {_told(response)}", markup=False, soft_wrap=True)
    for conclusion in detail.conclusions:
        out.print(f"• {conclusion}", markup=False)
    return 0


def _lines(detail: ExperimentDetail) -> Iterator[str]:
    known = detail.experiment
    marks = [*(["favourite"] if known.is_favourite else []), *(["archived"] if known.archived_at else [])]
    yield f"{known.name} ({', '.join([known.status, *marks])})"
    if known.description:
        yield known.description
    run = f", run {known.run_id}" if known.run_id and str(known.run_id) != known.id else ""
    yield f"id {known.id}{run}; created {known.created_at:%F %R} UTC" + (
        f", ended {known.completed_at:%F %R}" if known.completed_at else ""
    )
    if known.tags:
        yield f"tags: {', '.join(known.tags)}"
    yield f"models: {', '.join(known.models) or 'not said'}; strategy: {known.strategy or 'not said'}"
    for name, values in (detail.spec.get("parameter_ranges") or {}).items():
        yield f"{name}: {_range(values)}"
    of = f" of {detail.total_calls:,}" if detail.total_calls else ""
    besides = {"failed": known.failed, "from the ledger": detail.replayed}
    more = "".join(f", {count:,} {what}" for what, count in besides.items() if count)
    latency = "" if detail.latency_ms is None else f", {detail.latency_ms:,.0f} ms a response"
    yield f"{known.responses:,}{of} responses{more}; {money(known.cost_usd)}{latency}"
    for error, count in detail.failures.items():
        yield f"failed: {count:,} with {error}"
    if detail.error_message:
        yield detail.error_message


def _range(values: object) -> str:
    match values:
        case {"min": least, "max": most, "step": step}:
            return f"{least} to {most} by {step}"
        case list():
            return ", ".join(map(str, values))
    return str(values)


def _told(response: ResponseRecord) -> str:
    score = "" if response.score is None else f"{points(response.score)}, "
    return f"{response.id} ({score}{response.model or 'no model'}, {settings_of(response.parameters)})"


def show_change(record: ExperimentRecord, what: str, *, as_json: bool) -> int:
    """What is true of the experiment now; `{tags}` in `what` stands for its tags."""
    if as_json:
        write_json(_Changed(run_id=record.run_id, experiment=record))
        return 0
    said = what.replace("{tags}", ", ".join(record.tags)) if record.tags else what.replace("the tags {tags}", "no tags")
    console().print(f"{record.name} {said}", markup=False, soft_wrap=True)
    return 0


def say_what_goes(planned: Deletion) -> None:
    """What is going to be deleted, and what stays, on standard error."""
    out = Console(stderr=True, highlight=False)
    out.print(f"{planned.name} ({planned.experiment_id}) goes, with {_gone(planned)}.", markup=False, soft_wrap=True)
    for line in _stays(planned):
        out.print(line, markup=False, soft_wrap=True)


def show_deletion(deleted: Deletion, *, as_json: bool) -> int:
    """What was deleted."""
    if as_json:
        write_json(_Deleted(run_id=deleted.run_id, deleted=deleted))
        return 0
    out = console()
    out.print(f"{deleted.name} is deleted, with {_gone(deleted)}.", markup=False, soft_wrap=True)
    for line in _stays(deleted):
        out.print(line, markup=False, soft_wrap=True)
    return 0


def _gone(deletion: Deletion) -> str:
    order = sorted(deletion.rows, key=lambda name: list(CALLED).index(name) if name in CALLED else len(CALLED))
    told = [_called(name, deletion.rows[name]) for name in order if name != "experiments"]
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else "".join(told) or "nothing else"


def _called(table: str, count: int) -> str:
    one, more = CALLED.get(table, (f"row of {table}", f"rows of {table}"))
    return f"{count:,} {one if count == 1 else more}"


def _stays(deletion: Deletion) -> Iterator[str]:
    if deletion.run_id is not None:
        calls = f"{deletion.calls:,} call{'' if deletion.calls == 1 else 's'} ({money(deletion.cost_usd)})"
        yield f"Run {deletion.run_id} and its {calls} stay in the ledger; it cannot be gone on with."


def show_export(written: ResponseExport, *, as_json: bool) -> int:
    """What was written where."""
    if as_json:
        write_json(_Export(**dict(written)))
        return 0
    out = console()
    rows = f"{written.rows:,} response{'' if written.rows == 1 else 's'}"
    experiments = f"{written.experiments:,} experiment{'' if written.experiments == 1 else 's'}"
    out.print(f"{rows} of {experiments} written to {written.path}", markup=False, soft_wrap=True)
    if written.shortened:
        out.print(f"{written.shortened:,} texts are longer than a cell of a workbook may be and end in …")
    return 0
