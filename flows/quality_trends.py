"""How the scores of experiments went over days, and which model did better on the same prompts.

from flows.quality_trends import quality_trends
from flows.running import run_flow

report = await run_flow(quality_trends, {"since": "2026-03-01"})
"""

from __future__ import annotations

from datetime import date

from prefect import flow

from flows.artifacts import publish_page
from flows.quality_report import QualityReport, as_markdown
from flows.running import note_run, prefect_flow_run_id
from schemas.errors import BadInput
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.sweep.model_comparison import ComparisonQuestion, compare_models_paired
from tasks.sweep.trends import TrendQuestion, measure_trends

QUALITY_TRENDS = "quality-trends"


@flow(name=QUALITY_TRENDS, flow_run_name="quality trends", persist_result=False)
async def quality_trends(
    since: date | None = None,
    until: date | None = None,
    models: list[str] = [],  # noqa: B006 - Prefect makes the form from it and nobody changes it
    metrics: list[str] = [],  # noqa: B006
    analysis_version: str = "",
    project: str = "",
) -> QualityReport:
    """Bring the daily sums of scores up to date, and tell trends by model and metric and models from one another.

    Args:
        since: First day, in UTC; empty: from the first response on
        until: Last day; empty: to the last response
        models: Only these models; empty: all
        metrics: Only these metrics; empty: all. Models are compared by the first of them, by overall if there is none
        analysis_version: Only scores of this version; empty: all, each by itself
        project: Whose run it is; empty: HEADRACE_PROJECT

    Raises:
        BadInput: the days are in the wrong order.
    """
    trends_of = TrendQuestion(since, until, tuple(models), tuple(metrics), analysis_version)
    metric = metrics[0] if metrics else "overall"
    compared = ComparisonQuestion((), tuple(models), metric, since, until, analysis_version)
    async with open_ledger() as ledger:
        request = RunRequest(
            flow=QUALITY_TRENDS,
            subject=f"{since or 'first'} to {until or 'last'}",
            project=project or ledger.settings.project,
            parameters={
                "since": since.isoformat() if since else None,
                "until": until.isoformat() if until else None,
                "models": models,
                "metrics": metrics,
                "analysis_version": analysis_version,
            },
            prefect_flow_run_id=prefect_flow_run_id(),
        )
        async with open_run(request) as run:
            note_run(run)
            found = await measure_trends(trends_of)
            try:
                comparison = await compare_models_paired(compared)
            except BadInput:  # no scores: the trends are empty too, and say so
                comparison = None
            run.result = {"experiments": found.experiments, "responses": found.responses, "trends": len(found.trends)}
    report = QualityReport(run_id=run.id, quality=found, comparison=comparison)
    await publish_page(as_markdown(report), run.id, QUALITY_TRENDS)
    return report
