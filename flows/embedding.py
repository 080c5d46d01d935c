"""Embeddings of course materials brought up to date.

from flows.embedding import refresh
from flows.running import run_flow

report = await run_flow(refresh, {"courses": ["ALG301"]})
"""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.artifacts import publish_page
from flows.embedding_report import as_markdown
from flows.migration_progress import showing
from flows.running import note_run, prefect_flow_run_id
from schemas.embedding import RefreshReport
from tasks.embedding.chunker import configured_chunker
from tasks.embedding.progress import Progress
from tasks.embedding.refresh import refresh_embeddings
from tasks.embedding.work import REFRESH, RefreshRequest
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.retrieval.term_index import index_terms, keep_terms


@flow(name=REFRESH, flow_run_name="refresh embeddings", persist_result=False)
async def refresh(
    model: str = "",
    dimensions: Annotated[int, Field(ge=1, le=16000)] | None = None,
    courses: list[str] = [],  # noqa: B006 - Prefect makes the form from it and nobody changes it
    retry_failed: bool = False,
    project: str = "",
) -> RefreshReport:
    """Embed what is new or changed, and switch search to a new generation once it is complete and agrees.

    Args:
        model: LiteLLM name or named model; empty: HEADRACE_EMBEDDING_MODEL
        dimensions: What the model is asked for; empty: its own number
        courses: Ids of courses; empty: all
        retry_failed: Try texts again that were set aside
        project: Whose budget pays; empty: HEADRACE_PROJECT

    Raises:
        RunBusy: another refresh is under way.
        NotFound: there is no such course.
        BudgetExceeded, ConfigurationError, RetriesExhausted: the run can be resumed; what was paid for is stored.
    """
    request = RefreshRequest(model=model, dimensions=dimensions, courses=tuple(courses), retry_failed=retry_failed)
    async with open_ledger() as ledger:
        chunker = configured_chunker(ledger.settings)
        run_request = RunRequest(
            flow=REFRESH,
            subject=request.completed(ledger.settings).model,
            project=project or ledger.settings.project,
            parameters={**request.model_dump(mode="json"), "project": project},
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(run_request) as run:
            note_run(run)
            progress = Progress()
            async with showing(progress):
                report = await refresh_embeddings(run, request, chunker, index_terms=index_terms, progress=progress)
            await keep_terms(ledger)
            run.result = report.model_dump(mode="json")
    await publish_page(as_markdown(report), report.run_id, "embedding-refresh")
    return report
