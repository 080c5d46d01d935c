"""What the commands about versions and tests between them show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from flows.presentation import console, money, table, write_json
from schemas.fine_tuning import FineTuneReport, JobState
from schemas.versions import AbTestRecord, Assignment, VersionRecord
from tasks.versions.satisfaction import Satisfaction

VERSION_COLUMNS = (
    "purpose",
    "version",
    "model",
    "",
    "base",
    "rows",
    "training file",
    "export",
    "cost",
    "since",
    "notes",
)
LINE_COLUMNS = ("period", "model", "insight type", "answers", "ratings", "users", "+", "−", "0", "satisfied")


class _Version(VersionRecord):
    status: str = "completed"


class _Versions(BaseModel):
    run_id: None = None
    status: str = "completed"
    versions: Sequence[VersionRecord]


class _Test(AbTestRecord):
    run_id: None = None
    status: str = "completed"


class _Tests(BaseModel):
    run_id: None = None
    status: str = "completed"
    tests: Sequence[AbTestRecord]


class _Assignment(Assignment):
    run_id: None = None
    status: str = "completed"


class _Satisfaction(Satisfaction):
    run_id: None = None
    status: str = "completed"


def show_version(version: VersionRecord, message: str, *, as_json: bool) -> int:
    """What became of one version."""
    if as_json:
        write_json(_Version(**dict(version)))
    else:
        console().print(message, soft_wrap=True, markup=False)
    return 0


def show_versions(found: Sequence[VersionRecord], *, as_json: bool) -> int:
    """A line for each version; columns that none has anything in are left out."""
    if as_json:
        write_json(_Versions(versions=found))
        return 0
    if not found:
        console().print("no version is registered: headrace versions register PURPOSE MODEL", soft_wrap=True)
        return 0
    rows = [_version(version) for version in found]
    used = [place for place in range(len(VERSION_COLUMNS)) if any(row[place] not in (None, "") for row in rows)]
    columns = [VERSION_COLUMNS[place] for place in used]
    console().print(table("", columns, [[row[place] for place in used] for row in rows]))
    return 0


def _version(version: VersionRecord) -> tuple[Any, ...]:
    file = (
        version.training_path and f"{version.training_path.rpartition('/')[2]} {(version.training_sha256 or '')[:12]}"
    )
    return (
        version.purpose,
        version.number,
        version.model,
        "in charge" if version.in_charge else None,
        version.base_model,
        version.training_rows,
        file,
        version.export_id,
        None if version.run_id is None else money(version.cost_usd),
        f"{version.created_at:%F}",
        version.notes,
    )


def show_test(test: AbTestRecord, *, as_json: bool) -> int:
    """A test, begun or ended."""
    if as_json:
        write_json(_Test(**dict(test)))
    else:
        console().print(_describe(test), soft_wrap=True, markup=False)
    return 0


def show_tests(tests: Sequence[AbTestRecord], *, as_json: bool) -> int:
    """A line for each test."""
    if as_json:
        write_json(_Tests(tests=tests))
        return 0
    for test in tests:
        console().print(_describe(test), soft_wrap=True, markup=False)
    if not tests:
        console().print("there is no test: headrace ab-test create NAME --variant …", soft_wrap=True, markup=False)
    return 0


def _describe(test: AbTestRecord) -> str:
    whole = sum(variant.weight for variant in test.variants)
    shares = ", ".join(
        f"{variant.name} {100 * variant.weight / whole:.3g} %{f' {variant.model}' if variant.model else ''}"
        for variant in test.variants
    )
    purpose = f" on {test.purpose}" if test.purpose else ""
    state = f"stopped {test.stopped_at:%F %H:%M} UTC" if test.stopped_at else "running"
    return f"{test.name}{purpose}, {state}: {shares}"


def show_assignment(chosen: Assignment, *, as_json: bool) -> int:
    """Who has which variant."""
    if as_json:
        write_json(_Assignment(**dict(chosen)))
        return 0
    model = f" ({chosen.model})" if chosen.model else ""
    ended = "" if chosen.running else "; the test is stopped"
    console().print(f"{chosen.user} has {chosen.variant}{model}{ended}", soft_wrap=True, markup=False)
    return 0


def show_satisfaction(found: Satisfaction, *, as_json: bool) -> int:
    """A line for each period, model and insight type."""
    if as_json:
        write_json(_Satisfaction(**dict(found)))
        return 0
    rows = [
        (
            _period(line.period),
            f"{line.model} ({line.version})" if line.version else line.model,
            line.insight_type,
            line.answers,
            line.ratings,
            line.users,
            line.positive,
            line.negative,
            line.neutral,
            _rate(line.rate.value, line.rate.lower, line.rate.upper),
        )
        for line in found.lines
    ]
    if not rows:
        console().print("nobody has rated an answer of then; --unrated lists those there are", soft_wrap=True)
        return 0
    console().print(table("", LINE_COLUMNS, rows))
    return 0


def _period(first: date | None) -> str:
    return "all" if first is None else f"{first:%F}"


def _rate(value: float | None, lower: float | None, upper: float | None) -> str | None:
    return None if value is None else f"{value:.0%} ({lower:.0%} to {upper:.0%})"


def show_fine_tuning(report: FineTuneReport, *, as_json: bool) -> int:
    """The model that was made, what it cost, and how it is put in charge."""
    if as_json:
        write_json(report)
        return 0
    for line in _fine_tuning_lines(report):
        console().print(line, soft_wrap=True, markup=False)
    return 0


def fine_tuning_as_markdown(report: FineTuneReport) -> str:
    """The model that was made, as a page."""
    lines = (f"- {line}" for line in _fine_tuning_lines(report))
    return "\n".join((f"# Fine-tuned for {report.purpose}", "", *lines)) + "\n"


def _fine_tuning_lines(report: FineTuneReport) -> tuple[str, ...]:
    tokens = "" if report.trained_tokens is None else f", {report.trained_tokens:,} tokens"
    return (
        f"{report.model} is version {report.version} of {report.purpose}",
        f"made of {report.base_model} and {report.training_rows} rows{tokens}; cost {money(report.cost_usd)}",
        f"job {report.job_id}, file {report.training_file} (SHA-256 {report.training_sha256})",
        f"Run {report.run_id}",
        f"Put it in charge: headrace versions promote {report.purpose} {report.version}",
    )


class _Cancelled(BaseModel):
    run_id: UUID
    status: str = "completed"
    job_id: str
    job_status: str


def show_cancelled(state: JobState, run: UUID, *, as_json: bool) -> int:
    """What the provider says of the job now."""
    if as_json:
        write_json(_Cancelled(run_id=run, job_id=state.id, job_status=state.status))
        return 0
    console().print(f"fine-tuning job {state.id} of run {run}: {state.status}", soft_wrap=True, markup=False)
    return 0
