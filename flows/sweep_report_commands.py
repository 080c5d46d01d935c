"""The command that writes the report of a sweep."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.command_options import Bare, Json


def add_sweep_report_commands(app: App) -> None:
    """`app` has the command of this module."""
    app.command(sweep_report)


def sweep_report(
    experiment: str,
    *,
    out: Path | None = None,
    format: Annotated[list[str], Parameter(negative="")] = [],  # noqa: B006 - nobody changes it
    analysis_version: str = "",
    project: str = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Write what an experiment shows as HTML, PDF, spreadsheet, CSV and JSON, with every number as it is stored.

    Parameters
    ----------
    experiment
        Id or name of the experiment.
    out
        Folder of the files; one of its own in HEADRACE_HOME/reports when not given.
    format
        html, pdf, xlsx, csv, json, or some of them between commas; all when not given.
    analysis_version
        Of the scores; headrace-1 when not given, or what the experiment has.
    project
        Whose run it is; HEADRACE_PROJECT when not given.
    """
    from flows import sweep_report as flows_of_reports
    from flows.running import run_flow
    from flows.sweep_report_presentation import show_report_files
    from tasks.sweep.reports.writing import chosen_formats

    parameters = {
        "experiment": experiment,
        "formats": list(chosen_formats(format)),
        "out": str(out.expanduser().absolute()) if out else "",
        "analysis_version": analysis_version,
        "project": project,
    }
    report = asyncio.run(run_flow(flows_of_reports.sweep_report, parameters, bare=bare))
    return show_report_files(report, as_json=json)
