"""A model fine-tuned by its provider and registered as a version for its purpose.

from flows.fine_tuning import fine_tune_model
from flows.running import run_flow

request = {"training_file": "train.jsonl", "purpose": "radar", "base_model": "gpt-4o-mini"}
report = await run_flow(fine_tune_model, {"request": request})
"""

from __future__ import annotations

from prefect import flow

from flows.artifacts import publish_page
from flows.migration_progress import showing
from flows.running import note_run, prefect_flow_run_id
from flows.version_presentation import fine_tuning_as_markdown
from schemas.fine_tuning import FineTuneReport, FineTuneRequest
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.versions.fine_tuning import JobProgress, fine_tune

FINE_TUNE = "fine-tune"


@flow(name=FINE_TUNE, flow_run_name="fine-tune for {request.purpose}", persist_result=False)
async def fine_tune_model(request: FineTuneRequest, project: str = "") -> FineTuneReport:
    """Fine-tune a model at its provider and register it; a run that is resumed follows the job it has.

    Args:
        request: What to train, on what, how
        project: Which project the run belongs to; empty: HEADRACE_PROJECT

    Raises:
        TrainingFailed: the provider ended the job without a model; the message has its reason.
        BadInput: a file is at fault, or has changed since the run began.
        RetriesExhausted: the provider cannot be reached; the job goes on there, and the run can be resumed.
    """
    async with open_ledger() as ledger:
        run_request = RunRequest(
            flow=FINE_TUNE,
            subject=f"{request.base_model} for {request.purpose}",
            project=project or ledger.settings.project,
            parameters={"request": request.model_dump(mode="json"), "project": project},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(run_request) as run:
            note_run(run)
            progress = JobProgress()
            async with showing(progress):
                report = await fine_tune(run, request, progress)
            run.result = report.model_dump(mode="json")
    await publish_page(fine_tuning_as_markdown(report), report.run_id, FINE_TUNE, request.purpose)
    return report
