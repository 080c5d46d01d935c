"""What the command about training files shows."""

from __future__ import annotations

from flows.presentation import console, write_json
from schemas.training import CheckedFile, ExportReport

WITH_ROWS = ("train.", "test.")


def show_export(report: ExportReport, *, as_json: bool) -> int:
    """A line for each file of rows, what was replaced and what was set aside."""
    if as_json:
        write_json(report)
        return 0
    manifest = report.manifest
    lines = [
        f"{report.path}/{name}: {file.rows:,} rows, {file.tokens:,} tokens, SHA-256 {file.sha256}"
        for name, file in manifest.files.items()
        if name.startswith(WITH_ROWS)
    ]
    lines.append(f"of {manifest.calls:,} calls; set aside: {sum(manifest.set_aside.values()):,}")
    lines += [f"  {count:,}: {reason}" for reason, count in manifest.set_aside.items()]
    if manifest.redacted:
        lines.append("redacted: " + ", ".join(f"{count:,} {kind}" for kind, count in manifest.redacted.items()))
    lines += [f"warning: {warning}" for warning in report.warnings]
    lines.append(f"Run {report.run_id}")
    for line in lines:
        console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def show_checked(checked: CheckedFile, *, as_json: bool) -> int:
    """A line for a file without a fault, and one for each warning."""
    if as_json:
        write_json(checked)
        return 0
    lines = [f"{checked.path}: {checked.rows:,} rows, each as {checked.format} wants it"]
    for line in (*lines, *(f"warning: {warning}" for warning in checked.warnings)):
        console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0
