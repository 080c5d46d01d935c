"""The same bills analysed by several models on identical research, side by side."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from prefect import flow
from pydantic import BaseModel, Field

from flows.analysis import (
    AnalysisRequest,
    Outcome,
    Project,
    Queries,
    Rounds,
    expand_sources,
    outcome_of,
    resolve_models,
)
from schemas.analysis import AnalysisModels
from schemas.errors import BadInput
from schemas.settings import get_settings
from tasks.ledger.run_records import read_run
from tasks.ledger.session import open_ledger


class ComparisonRow(BaseModel):
    """One bill analysed with one model."""

    bill: str
    generate: str
    status: str
    run_id: UUID | None
    quality_score: float | None = None
    passed: bool | None = None
    supported_impacts: int | None = None
    cost_usd: Decimal | None = None
    latency_seconds: float | None = None
    error: str | None = None


class Comparison(BaseModel):
    """All rows, by bill and then by model."""

    rows: list[ComparisonRow]


@flow(name="compare-models", flow_run_name="compare {generate}", persist_result=False)
async def compare_models(
    sources: Annotated[list[str], Field(title="Bills", description="Files, folders, URLs, ids of stored bills")],
    generate: Annotated[list[str], Field(title="Generate models", min_length=2)],
    research: str = "",
    review: str = "",
    max_rounds: Rounds = 1,
    queries: Queries = 6,
    project: Project = "",
    at_once: Annotated[int, Field(title="At once", ge=1, le=64)] = 4,
) -> Comparison:
    """Analyse each bill with each model, on the research done once for the bill.

    Raises:
        BadInput: fewer than two different models, or no bill.
    """
    names = list(dict.fromkeys(generate))
    if len(names) < 2:
        raise BadInput("compare needs two different models: give --generate twice")
    slots = asyncio.Semaphore(at_once)

    async def one_bill(source: str) -> list[ComparisonRow]:
        async with slots:
            requests = [
                AnalysisRequest(
                    source=source,
                    models=resolve_models(
                        AnalysisModels(research=research, generate=name, review=review), get_settings()
                    ),
                    max_rounds=max_rounds,
                    queries=queries,
                    project=project,
                )
                for name in names
            ]
            return await _compare(requests)

    async with open_ledger():
        rows = await asyncio.gather(*map(one_bill, expand_sources(sources)))
    return Comparison(rows=[row for group in rows for row in group])


async def _compare(requests: list[AnalysisRequest]) -> list[ComparisonRow]:
    """The first model's run does the research, the others are given it."""
    found = None
    rows = []
    for request in requests:
        outcome = await outcome_of(request, research=found, variant=request.models.generate)
        if outcome.report is not None and found is None:
            found = outcome.report.research
        rows.append(await _row(request, outcome))
    return rows


async def _row(request: AnalysisRequest, outcome: Outcome) -> ComparisonRow:
    row = ComparisonRow(
        bill=request.source,
        generate=request.models.generate,
        status=outcome.status,
        run_id=outcome.run_id,
        error=outcome.error,
    )
    report = outcome.report
    if report is None:
        return row
    record = await read_run(report.run_id)
    seconds = (record.completed_at - record.started_at).total_seconds() if record.completed_at else None
    return row.model_copy(
        update={
            "bill": str(report.bill.key),
            "quality_score": report.quality_score,
            "passed": report.passed,
            "supported_impacts": sum(impact.supported for impact in report.analysis.impacts),
            "cost_usd": report.cost_usd,
            "latency_seconds": seconds,
        }
    )
