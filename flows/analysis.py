"""Bills analysed: read, researched, drafted, checked, reviewed and refined.

from flows.analysis import analyze_bill
from flows.running import run_flow

report = await run_flow(analyze_bill, {"source": "examples/housing-bill.txt"})
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

from prefect import flow
from pydantic import BaseModel, Field

from schemas.analysis import AnalysisModels, BillReport, Reading, Research, Round
from schemas.errors import BadInput, HeadraceError
from schemas.settings import Settings
from tasks.analysis.drafting import group_bill
from tasks.analysis.reading import BillText, load_bill, read_bill
from tasks.analysis.report import render_report, store_analysis
from tasks.analysis.research import research_bill
from tasks.analysis.rounds import Analyst, GroupState, best_round
from tasks.ledger.run_records import read_run
from tasks.ledger.runs import Run, RunRequest, open_run
from tasks.ledger.session import Ledger, open_ledger

ANALYZE = "analyze-bill"
BILL_SUFFIXES = {".txt", ".md", ".html", ".htm", ".xml", ".pdf"}

Source = Annotated[
    str, Field(title="Bill", description="Path, URL, or a stored bill's id or JURISDICTION/BILL/SESSION")
]
Jurisdiction = Annotated[str, Field(title="Jurisdiction", description="e.g. US or NY; empty: taken from the bill")]
BillId = Annotated[str, Field(title="Bill number", description="e.g. HR 5; empty: taken from the bill")]
Session = Annotated[str, Field(title="Session", description="e.g. 118 or 2023; empty: taken from the bill")]
Rounds = Annotated[int, Field(title="Refinements", ge=0, le=5, description="At most so many after a failed review")]
Queries = Annotated[int, Field(title="Search queries", ge=1, le=20)]
Project = Annotated[str, Field(title="Project", description="Whose budget pays; empty: HEADRACE_PROJECT")]
Fresh = Annotated[bool, Field(title="Fresh", description="Ask every model anew instead of replaying stored answers")]


class AnalysisRequest(BaseModel):
    """Parameters of one analysis, as kept on its run."""

    source: Source
    jurisdiction: Jurisdiction = ""
    bill_id: BillId = ""
    session: Session = ""
    models: AnalysisModels = AnalysisModels()
    max_rounds: Rounds = 1
    queries: Queries = 6
    project: Project = ""
    fresh: Fresh = False


class Outcome(BaseModel):
    """What became of one bill among many."""

    source: str
    status: str
    run_id: UUID | None = None
    report: BillReport | None = None
    error: str | None = None
    error_code: str | None = None


@flow(name=ANALYZE, flow_run_name="analyze {source}", persist_result=False)
async def analyze_bill(
    source: Source,
    jurisdiction: Jurisdiction = "",
    bill_id: BillId = "",
    session: Session = "",
    models: AnalysisModels = AnalysisModels(),  # noqa: B008 - frozen
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: Project = "",
    fresh: Fresh = False,
) -> BillReport:
    """Analyse one bill; every claim is tied to a quoted span of it.

    The report is stored in `bill_analyses`, shown as a Prefect artifact and returned.

    Raises:
        BadInput: the source cannot be read as a bill.
        BudgetExceeded: the budget has no room; resume the run when it has.
        RetriesExhausted, AnswerRejected, ConfigurationError: a model could not be used; the run can be resumed.
    """
    request = AnalysisRequest(
        source=source,
        jurisdiction=jurisdiction,
        bill_id=bill_id,
        session=session,
        models=models,
        max_rounds=max_rounds,
        queries=queries,
        project=project,
        fresh=fresh,
    )
    return await analyze_one(request)


@flow(name="analyze-bills", flow_run_name="analyze {sources}", persist_result=False)
async def analyze_bills(
    sources: Annotated[list[str], Field(title="Bills", description="Files, folders, URLs, ids of stored bills")],
    models: AnalysisModels = AnalysisModels(),  # noqa: B008
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: Project = "",
    at_once: Annotated[int, Field(title="At once", ge=1, le=64)] = 4,
    fresh: Fresh = False,
) -> list[Outcome]:
    """Analyse many bills in one flow run, each with a run of its own; one that fails does not stop the rest."""
    requests = [
        AnalysisRequest(
            source=source, models=models, max_rounds=max_rounds, queries=queries, project=project, fresh=fresh
        )
        for source in expand_sources(sources)
    ]
    slots = asyncio.Semaphore(at_once)

    async def attempt(request: AnalysisRequest) -> Outcome:
        async with slots:
            return await outcome_of(request)

    async with open_ledger():
        return list(await asyncio.gather(*map(attempt, requests)))


async def outcome_of(request: AnalysisRequest, research: Research | None = None, variant: str = "") -> Outcome:
    """The analysis, or why there is none; only what is no fault of the bill or its models is raised."""
    try:
        report = await analyze_one(request, research=research, variant=variant)
    except HeadraceError as error:
        return Outcome(source=request.source, status="failed", error=str(error), error_code=error.code)
    return Outcome(source=request.source, status=report.status, run_id=report.run_id, report=report)


def expand_sources(sources: Sequence[str]) -> list[str]:
    """`sources` with folders replaced by the bills in them, in order, each once.

    Raises:
        BadInput: nothing is left to analyse.
    """
    found: list[str] = []
    for source in sources:
        folder = Path(source)
        if "://" not in source and folder.is_dir():
            found += sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in BILL_SUFFIXES)
        else:
            found.append(source)
    if not found:
        raise BadInput(f"no bill in {', '.join(sources) or 'nothing'}: give files, folders or URLs of bills")
    return list(dict.fromkeys(found))


async def analyze_one(request: AnalysisRequest, *, research: Research | None = None, variant: str = "") -> BillReport:
    """One bill through all steps, as one run; `research` done before is used instead of new."""
    async with open_ledger() as ledger:
        request = request.model_copy(
            update={
                "models": resolve_models(request.models, ledger.settings),
                "project": request.project or ledger.settings.project,
            }
        )
        run_request = RunRequest(
            flow=ANALYZE,
            subject=request.source,
            project=request.project,
            parameters=request.model_dump(mode="json"),
            variant=variant,
            fresh=request.fresh,
            prefect_flow_run_id=_flow_run_id(),
        )
        async with open_run(run_request) as run:
            report = await _analyze(ledger, run, request, research)
        report = report.model_copy(update={"cost_usd": (await read_run(run.id)).cost_usd, "status": "completed"})
    await _publish(report)
    return report


async def _analyze(ledger: Ledger, run: Run, request: AnalysisRequest, research: Research | None) -> BillReport:
    ref = await read_bill(request.source, request.jurisdiction, request.bill_id, request.session)
    bill = await load_bill(ledger.engine, ref.id)
    readers = [await ledger.providers.describe(name) for name in (request.models.generate, request.models.review)]
    groups = group_bill(bill, min(readers, key=lambda reader: reader.context_window or 0))
    if research is None:
        research = await research_bill(ref, groups[0], request.models.research, request.queries)
    analyst = Analyst(bill, request.models, research, [GroupState(parts) for parts in groups])
    rounds = await analyst.work(request.max_rounds)
    report = _assemble(run.id, bill, request.models, research, rounds, analyst.readings)
    await store_analysis(ledger.engine, report)
    run.result = {"bill": str(ref.key), "passed": report.passed, "quality_score": report.quality_score}
    return report


def _assemble(
    run_id: UUID,
    bill: BillText,
    models: AnalysisModels,
    research: Research,
    rounds: list[Round],
    readings: list[Reading],
) -> BillReport:
    best = best_round(rounds)
    report = BillReport(
        run_id=run_id,
        status="running",
        bill=bill.ref,
        models=models,
        research=research,
        analysis=best.analysis,
        review=best.review,
        passed=best.review.passed,
        quality_score=best.quality_score,
        best_round=best.number,
        rounds=rounds,
        coverage={"readings": [reading.model_dump(mode="json") for reading in readings]},
        cost_usd=None,
        report="",
    )
    return report.model_copy(update={"report": render_report(report)})


def resolve_models(models: AnalysisModels, settings: Settings) -> AnalysisModels:
    """`models` with those not named taken from the settings."""
    return AnalysisModels(
        research=models.research or settings.model_for("research"),
        generate=models.generate or settings.model_for("generate"),
        review=models.review or settings.model_for("review"),
    )


def _flow_run_id() -> UUID | None:
    """The Prefect flow run in progress, if there is one."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


async def _publish(report: BillReport) -> None:
    """Inside a Prefect flow run the report is an artifact, its versions kept under the bill's key."""
    if _flow_run_id() is None:
        return
    from prefect.artifacts import acreate_markdown_artifact

    key = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in str(report.bill.key).lower())
    await acreate_markdown_artifact(
        markdown=report.report, key=f"analysis-{key.strip('-')}", description=f"Run {report.run_id}"
    )
