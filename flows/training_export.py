"""Calls and feedback as training files.

from flows.running import run_flow
from flows.training_export import export_training

report = await run_flow(export_training, {"out": "radar", "options": {"format": "openai-sft", "project": "lexybrain"}})
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.artifacts import publish_page
from flows.migration_progress import showing
from flows.running import note_run, prefect_flow_run_id
from flows.training_presentation import as_markdown
from schemas.training import ExportOptions, ExportReport
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.training.exporting import export_training_data
from tasks.training.writing import Moment

EXPORT = "export-training-data"


def absolute(folder: str) -> Path:
    """The folder, wherever it is gone on with from."""
    return Path(folder).expanduser().absolute()


@flow(name=EXPORT, flow_run_name="{options.format} to {out}", persist_result=False)
async def export_training(out: str, options: ExportOptions) -> ExportReport:
    """Export answered calls and what was thought of them as training files.

    Args:
        out: Folder that is made for the files
        options: Format, filters, and what is left out

    Raises:
        BadInput: the folder is there already, or cannot be written.
        ExpectationFailed: a file is not as its readers want it; the message names the row.
        DatabaseUnavailable: the connection was lost; the run can be resumed.
    """
    folder = absolute(out)
    async with open_ledger() as ledger:
        request = RunRequest(
            flow=EXPORT,
            subject=f"{options.format} to {folder}",
            project=options.project or ledger.settings.project,
            parameters={"out": str(folder), "options": options.model_dump(mode="json")},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(request) as run:
            note_run(run)
            progress = Moment()
            async with showing(progress):
                report = await export_training_data(run, folder, options, progress)
            run.result = report.model_dump(mode="json")
    await publish_page(as_markdown(report), report.run_id, EXPORT)
    return report
