"""Bills analysed: read, researched, drafted, checked, reviewed and refined.

from flows.analysis import analyze_bill
from flows.running import run_flow

report = await run_flow(analyze_bill, {"source": "examples/housing-bill.txt"})
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

from prefect import flow
from pydantic import BaseModel, Field

from flows.artifacts import publish_page
from flows.running import note_run, prefect_flow_run_id
from schemas.analysis import AnalysisModels, BillReport, Coverage, Reading, Research, Round
from schemas.bills import SectionPart
from schemas.errors import BadInput, HeadraceError
from schemas.settings import Settings
from tasks.analysis.drafting import group_bill
from tasks.analysis.reading import BillText, load_bill, read_bill
from tasks.analysis.report import render_report, store_analysis
from tasks.analysis.research import research_bill, reuse_research
from tasks.analysis.rounds import Analyst, GroupState, best_round
from tasks.ledger.fan_out import for_each
from tasks.ledger.run_records import read_run
from tasks.ledger.runs import Run, RunRequest, open_run
from tasks.ledger.session import Ledger, open_ledger

log = logging.getLogger("headrace")

ANALYZE = "analyze-bill"
BILL_SUFFIXES = {".txt", ".md", ".html", ".htm", ".xml", ".pdf"}

Rounds = Annotated[int, Field(ge=0, le=5)]
Queries = Annotated[int, Field(ge=1, le=20)]
AtOnce = Annotated[int, Field(ge=1, le=64)]


class AnalysisRequest(BaseModel):
    """Parameters of one analysis, as kept on its run; `analyze_bill` says what they mean."""

    source: str
    jurisdiction: str = ""
    bill_id: str = ""
    session: str = ""
    models: AnalysisModels = AnalysisModels()
    max_rounds: Rounds = 1
    queries: Queries = 6
    project: str = ""
    fresh: bool = False
    research_of: UUID | None = None


class Outcome(BaseModel):
    """What became of one bill among many."""

    source: str
    status: str
    run_id: UUID | None = None
    report: BillReport | None = None
    error: str | None = None
    error_code: str | None = None
    exit_code: int = 0


@flow(name=ANALYZE, flow_run_name="analyze {source}", persist_result=False)
async def analyze_bill(
    source: str,
    jurisdiction: str = "",
    bill_id: str = "",
    session: str = "",
    models: AnalysisModels = AnalysisModels(),  # noqa: B008 - frozen
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: str = "",
    fresh: bool = False,
    research_of: UUID | None = None,
) -> BillReport:
    """Analyse one bill; every claim is tied to a quoted span of it.

    The report is stored in `bill_analyses`, shown as a Prefect artifact and returned.

    Args:
        source: Path, URL, or a stored bill's id or JURISDICTION/BILL/SESSION
        jurisdiction: Of the bill, e.g. US or NY; empty: taken from the bill
        bill_id: Number of the bill, e.g. HR 5; empty: taken from the bill
        session: Session of the bill, e.g. 118 or 2023; empty: taken from the bill
        models: A model for each step; empty: the configured one
        max_rounds: How often a draft that fails its review is refined, at most
        queries: How many search queries the research model writes
        project: Whose budget pays; empty: HEADRACE_PROJECT
        fresh: Ask every model anew instead of using stored answers
        research_of: Id of a run whose research is used instead of doing it again

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
        research_of=research_of,
    )
    return await analyze_one(request)


def _name_of_many() -> str:
    from prefect.runtime import flow_run

    sources = flow_run.parameters["sources"]
    return f"analyze {sources[0]}" if len(sources) == 1 else f"analyze {len(sources)} sources"


@flow(name="analyze-bills", flow_run_name=_name_of_many, persist_result=False)
async def analyze_bills(
    sources: list[str],
    models: AnalysisModels = AnalysisModels(),  # noqa: B008
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: str = "",
    at_once: AtOnce = 4,
    fresh: bool = False,
) -> list[Outcome]:
    """Analyse many bills in one flow run, each with a run of its own; one that fails does not stop the rest.

    Args:
        sources: Files, folders, URLs, and ids or JURISDICTION/BILL/SESSION of stored bills
        models: A model for each step; empty: the configured one
        max_rounds: How often a draft that fails its review is refined, at most
        queries: How many search queries the research model writes
        project: Whose budget pays; empty: HEADRACE_PROJECT
        at_once: How many bills are worked on at the same time
        fresh: Ask every model anew instead of using stored answers
    """
    requests = [
        AnalysisRequest(
            source=source, models=models, max_rounds=max_rounds, queries=queries, project=project, fresh=fresh
        )
        for source in expand_sources(sources)
    ]
    async with open_ledger():
        return await for_each(requests, outcome_of, at_once=at_once)


async def outcome_of(request: AnalysisRequest, variant: str = "") -> Outcome:
    """The analysis, or why there is none: a bill that brings one down must not stop the others."""
    try:
        report = await analyze_one(request, variant=variant)
    except HeadraceError as error:
        return Outcome(
            source=request.source,
            status="failed",
            run_id=error.details.get("run_id"),
            error=str(error),
            error_code=error.code,
            exit_code=error.exit_code,
        )
    except Exception as error:  # a defect; its traceback is in the log, and the run's row says so
        log.exception("%s could not be analysed", request.source)
        name = type(error).__name__
        return Outcome(source=request.source, status="failed", error=name, error_code="internal", exit_code=1)
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


async def analyze_one(request: AnalysisRequest, *, variant: str = "") -> BillReport:
    """One bill through all steps, as one run.

    Args:
        variant: tells apart runs over the same bill in one flow run.
    """
    async with open_ledger() as ledger:
        models = resolve_models(request.models, ledger.settings)
        request = request.model_copy(update={"models": models, "project": request.project or ledger.settings.project})
        run_request = RunRequest(
            flow=ANALYZE,
            subject=request.source,
            project=request.project,
            parameters=request.model_dump(mode="json"),
            variant=variant,
            fresh=request.fresh,
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(run_request) as run:
            note_run(run)
            report = await _analyze(ledger, run, request)
        report = report.model_copy(update={"cost_usd": (await read_run(run.id)).cost_usd, "status": "completed"})
    await publish_page(report.report, report.run_id, "analysis", str(report.bill.key))
    return report


async def _analyze(ledger: Ledger, run: Run, request: AnalysisRequest) -> BillReport:
    models = request.models
    ref = await read_bill(request.source, request.jurisdiction, request.bill_id, request.session)
    bill = await load_bill(ledger.engine, ref.id)
    # All models are looked up before the first is paid.
    groups = [GroupState(parts) for parts in await _group(ledger, bill, models.generate, models.review)]
    if request.research_of is None:
        readable = await _group(ledger, bill, models.research)
        research = await research_bill(
            ref, readable[0], models.research, request.queries, ledger.settings.search_provider
        )
    else:
        research = await reuse_research(request.research_of)
    analyst = Analyst(bill, models, research, groups)
    rounds = await analyst.work(request.max_rounds)
    report = _assemble(run.id, bill, models, research, rounds, analyst.readings)
    await store_analysis(ledger.engine, report, run.attempt)
    run.result = {"bill": str(ref.key), "passed": report.passed, "quality_score": report.quality_score}
    return report


async def _group(ledger: Ledger, bill: BillText, *models: str) -> list[list[SectionPart]]:
    """The bill in groups of sections that each of `models` can read at once."""
    readers = [await ledger.providers.describe(name) for name in models]
    return group_bill(bill, min(readers, key=lambda reader: reader.context_window or 0))


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
        coverage=Coverage.of([*research.readings, *readings], len(bill.text)),
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
