"""The report of an experiment as HTML, PDF, spreadsheet, CSV and JSON.

from flows.sweep_report import sweep_report
from flows.running import run_flow

report = await run_flow(sweep_report, {"experiment": "tutor-sweep", "out": "reports"})
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import flow

from flows.artifacts import publish_image, publish_page, publish_table
from flows.running import note_run, prefect_flow_run_id
from flows.sweep_report_presentation import as_markdown, heat_map_png, means_table
from schemas.sweep_reports import FORMATS, ReportContents, ReportFormat, SweepReportFiles
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.sweep.reports.reading import read_report
from tasks.sweep.reports.writing import stem, write_report

SWEEP_REPORT = "sweep-report"


@flow(name=SWEEP_REPORT, flow_run_name="report of {experiment}", persist_result=False)
async def sweep_report(
    experiment: str,
    formats: list[ReportFormat] = list(FORMATS),  # noqa: B006 - Prefect makes the form from it and nobody changes it
    out: str = "",
    analysis_version: str = "",
    project: str = "",
) -> SweepReportFiles:
    """Write what an experiment shows: parameters, heat maps, the best, cost, the best and worst answers, every number.

    Args:
        experiment: Id or name of the experiment
        formats: What to write; empty: all
        out: Folder of the files; empty: one of its own in HEADRACE_HOME/reports
        analysis_version: Of the scores; empty: those of today, or else what the experiment has
        project: Whose run it is; empty: HEADRACE_PROJECT

    Raises:
        NotFound: there is no such experiment, or it has no scores of that version.
        BadInput: there are several of that name, or the folder cannot be written.
    """
    async with open_ledger() as ledger:
        request = RunRequest(
            flow=SWEEP_REPORT,
            subject=experiment,
            project=project or ledger.settings.project,
            parameters={
                "experiment": experiment,
                "formats": list(formats),
                "out": out,
                "analysis_version": analysis_version,
            },
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(request) as run:
            note_run(run)
            contents = await read_report(experiment, analysis_version=analysis_version)
            folder = Path(out) if out else ledger.settings.home / "reports" / stem(contents)
            files = await asyncio.to_thread(write_report, contents, folder, tuple(formats) or FORMATS)
            report = SweepReportFiles(
                run_id=run.id,
                experiment_id=contents.experiment_id,
                name=contents.name,
                responses=contents.calls.stored,
                files=files,
                conclusions=contents.analysis.sentences,
            )
            run.result = report.model_dump(mode="json", exclude={"conclusions"})
    await _publish(report, contents)
    return report


async def _publish(report: SweepReportFiles, contents: ReportContents) -> None:
    """Inside a Prefect flow run: a page, the means as a table, the first heat map as an image."""
    if prefect_flow_run_id() is None:
        return
    await publish_page(as_markdown(report), report.run_id, SWEEP_REPORT, report.name)
    await publish_table(means_table(contents), report.run_id, SWEEP_REPORT, report.name, "means")
    if png := heat_map_png(contents):
        await publish_image(png, report.run_id, SWEEP_REPORT, report.name, "heat map")
