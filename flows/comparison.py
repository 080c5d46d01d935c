"""The same bills analysed by several models on identical research, side by side."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from prefect import flow
from pydantic import BaseModel, Field

from flows.analysis import AnalysisRequest, AtOnce, Outcome, Queries, Rounds, expand_sources, outcome_of
from schemas.analysis import AnalysisModels
from schemas.errors import BadInput
from tasks.analysis.measures import measure_effort
from tasks.analysis.research import find_research
from tasks.ledger.fan_out import for_each
from tasks.ledger.session import open_ledger


class ComparisonRow(BaseModel):
    """One bill analysed with one model.

    Attributes:
        cost_usd: of the drafts and reviews, research apart; as first given, where answers were stored already.
        model_seconds: how long the models took for them.
    """

    bill: str
    generate: str
    status: str
    run_id: UUID | None
    quality_score: float | None = None
    passed: bool | None = None
    supported_impacts: int | None = None
    cost_usd: Decimal | None = None
    model_seconds: float | None = None
    error: str | None = None
    exit_code: int = 0


class Comparison(BaseModel):
    """All rows, by bill and then by model."""

    rows: list[ComparisonRow]


def _name_of_comparison() -> str:
    from prefect.runtime import flow_run

    return f"compare {', '.join(flow_run.parameters['generate'])}"


@flow(name="compare-models", flow_run_name=_name_of_comparison, persist_result=False)
async def compare_models(
    sources: list[str],
    generate: Annotated[list[str], Field(min_length=2)],
    research: str = "",
    review: str = "",
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: str = "",
    at_once: AtOnce = 4,
) -> Comparison:
    """Analyse each bill with each model, on the research done once for the bill.

    Args:
        sources: Files, folders, URLs, and ids or JURISDICTION/BILL/SESSION of stored bills
        generate: Models that draft, two or more
        research: The model that writes the search queries; empty: the configured one
        review: The model that audits the drafts; empty: the configured one
        max_rounds: How often a draft that fails its review is refined, at most
        queries: How many search queries the research model writes
        project: Whose budget pays; empty: HEADRACE_PROJECT
        at_once: How many bills are worked on at the same time

    Raises:
        BadInput: fewer than two different models, or no bill.
    """
    names = list(dict.fromkeys(generate))
    if len(names) < 2:
        raise BadInput("a comparison needs two different models")

    async def one_bill(source: str) -> list[ComparisonRow]:
        requests = [
            AnalysisRequest(
                source=source,
                models=AnalysisModels(research=research, generate=name, review=review),
                max_rounds=max_rounds,
                queries=queries,
                project=project,
            )
            for name in names
        ]
        return await _compare(requests)

    async with open_ledger():
        compared = await for_each(expand_sources(sources), one_bill, at_once=at_once)
    return Comparison(rows=[row for rows in compared for row in rows])


async def _compare(requests: list[AnalysisRequest]) -> list[ComparisonRow]:
    """The first run does the research; the others use it, whatever became of the first."""
    rows: list[ComparisonRow] = []
    researched: UUID | None = None
    for request in requests:
        outcome = await outcome_of(
            request.model_copy(update={"research_of": researched}), variant=request.models.generate
        )
        if researched is None and outcome.run_id is not None and await find_research(outcome.run_id):
            researched = outcome.run_id
        rows.append(await _row(request, outcome))
    return rows


async def _row(request: AnalysisRequest, outcome: Outcome) -> ComparisonRow:
    row = ComparisonRow(
        bill=request.source,
        generate=request.models.generate,
        status=outcome.status,
        run_id=outcome.run_id,
        error=outcome.error,
        exit_code=outcome.exit_code,
    )
    report = outcome.report
    if report is None:
        return row
    effort = await measure_effort(report.run_id)
    return row.model_copy(
        update={
            "bill": str(report.bill.key),
            "quality_score": report.quality_score,
            "passed": report.passed,
            "supported_impacts": sum(impact.supported for impact in report.analysis.impacts),
            "cost_usd": effort.cost_usd,
            "model_seconds": effort.model_seconds,
        }
    )
