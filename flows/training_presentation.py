"""What the commands and pages about training files show."""

from __future__ import annotations

from flows.presentation import console, write_json
from schemas.training import CheckedFile, ExportReport

WITH_ROWS = ("train.", "test.")


def show_export(report: ExportReport, *, as_json: bool) -> int:
    """A line for each file of rows, what was replaced and what was set aside."""
    if as_json:
        write_json(report)
        return 0
    for line in (
        *(f"{report.path}/{line}" for line in _files(report)),
        _calls(report),
        *(f"  {line}" for line in _set_aside(report)),
        *_remarks(report),
        f"Run {report.run_id}",
    ):
        console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def as_markdown(report: ExportReport) -> str:
    """What was exported, as a page."""
    lines = [
        f"# Training data in {report.manifest.options.format}",
        "",
        f"In `{report.path}`:",
        "",
        *(f"- {line}" for line in _files(report)),
        "",
        _calls(report),
        "",
        *(f"- {line}" for line in _set_aside(report)),
        "",
        *(f"- {line}" for line in _remarks(report)),
    ]
    return "\n".join(lines) + "\n"


def _files(report: ExportReport) -> list[str]:
    return [
        f"{name}: {file.rows:,} rows, {file.tokens:,} tokens, SHA-256 {file.sha256}"
        for name, file in report.manifest.files.items()
        if name.startswith(WITH_ROWS)
    ]


def _calls(report: ExportReport) -> str:
    return f"of {report.manifest.calls:,} calls; set aside: {sum(report.manifest.set_aside.values()):,}"


def _set_aside(report: ExportReport) -> list[str]:
    return [f"{count:,}: {reason}" for reason, count in report.manifest.set_aside.items()]


def _remarks(report: ExportReport) -> list[str]:
    counts = [f"{count:,} {kind}" for kind, count in report.manifest.redacted.items()]
    redacted = [f"redacted: {', '.join(counts)}"] if counts else []
    return [*redacted, *(f"warning: {warning}" for warning in report.warnings)]


def show_checked(checked: CheckedFile, *, as_json: bool) -> int:
    """A line for a file without a fault, and one for each warning."""
    if as_json:
        write_json(checked)
        return 0
    lines = [f"{checked.path}: {checked.rows:,} rows, each as {checked.format} wants it"]
    for line in (*lines, *(f"warning: {warning}" for warning in checked.warnings)):
        console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0
