"""What the commands about the quality of answers show, and the page that a flow run leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from flows.presentation import console, money, table, write_json
from schemas.sweep_statistics import (
    Correlation,
    Interval,
    Level,
    ModelComparison,
    ParameterInsight,
    ParetoFront,
    QualityTrend,
    QualityTrends,
    SweepAnalysis,
)
from tasks.sweep.statistics.analysis import headline
from tasks.sweep.statistics.sentences import between, level_of, name_of, points, probability, settings_of

SHOWN_POINTS = 10


class QualityReport(BaseModel):
    """Trends, and models compared; `comparison` is None where nothing has scores."""

    run_id: UUID | None = None
    status: Literal["completed"] = "completed"
    quality: QualityTrends
    comparison: ModelComparison | None = None


class _Analysis(SweepAnalysis):
    run_id: None = None
    status: Literal["completed"] = "completed"


class _Comparison(ModelComparison):
    run_id: None = None
    status: Literal["completed"] = "completed"


def show_analysis(analysis: SweepAnalysis, metrics: Collection[str], *, as_json: bool) -> int:
    """What was concluded: sentences first, then the tables of `metrics`, of the headline metric if there are none."""
    if as_json:
        write_json(_Analysis.model_construct(**dict(_only(analysis, metrics))))
        return 0
    out = console()
    out.print(f"{analysis.name} ({analysis.analysis_version}): {_counts(analysis)}", soft_wrap=True, markup=False)
    for sentence in _sentences(analysis, metrics):
        out.print(f"• {sentence}", markup=False)
    if not analysis.responses:
        return 0
    for metric in metrics or (headline(analysis.metrics),):
        _show_metric(analysis, metric)
    return 0


def _only(analysis: SweepAnalysis, metrics: Collection[str]) -> SweepAnalysis:
    if not metrics:
        return analysis
    return analysis.model_copy(
        update={
            name: tuple(found for found in getattr(analysis, name) if found.metric in metrics)
            for name in ("insights", "interactions", "optima", "pareto")
        }
    )


def _counts(analysis: SweepAnalysis) -> str:
    counts = f"{analysis.responses:,} responses of {analysis.combinations:,} combinations"
    counts += f" and {len(analysis.prompts)} prompt{'s' if len(analysis.prompts) != 1 else ''}"
    besides = {"failed": analysis.failed, "without scores": analysis.unscored, "after a retry": analysis.retried}
    return ", ".join([counts, *(f"{count:,} {what}" for what, count in besides.items() if count)])


def _sentences(analysis: SweepAnalysis, metrics: Collection[str]) -> Iterator[str]:
    if not metrics:
        yield from analysis.sentences
        return
    chosen = _only(analysis, metrics)
    yield from (found.sentence for found in chosen.optima)
    yield from (found.sentence for found in chosen.insights)
    yield from (found.sentence for found in chosen.interactions if found.significant)


def _show_metric(analysis: SweepAnalysis, metric: str) -> None:
    out = console()
    insights = [found for found in analysis.insights if found.metric == metric]
    for found in insights:
        out.print(_means_table(found))
    if any(found.pearson for found in insights):
        out.print(_correlation_table(insights))
    for optimum in (found for found in analysis.optima if found.metric == metric):
        rows = [
            (settings_of(c.settings), c.responses, points(c.mean), points(c.estimate), between(c.interval),
             probability(c.probability), _price(c.cost_usd), _milliseconds(c.latency_ms))
            for c in optimum.candidates
        ]  # fmt: skip
        columns = ("combination", "responses", "mean", "estimate", "95 %", "is best", "cost", "latency")
        out.print(table(f"Probably the best for {name_of(metric)}", columns, rows))
    for front in (found for found in analysis.pareto if found.metric == metric and len(found.against) == 1):
        _show_front(front)


def _means_table(found: ParameterInsight) -> object:
    levels: list[Level] = [mean.value for mean in found.means]
    rows = [
        (level_of(found.parameter, mean.value, levels), mean.responses, points(mean.mean), _about(mean.interval),
         "" if mean.best_probability is None else probability(mean.best_probability),
         "yes" if mean.in_range and found.significant else "", _price(mean.cost_usd), _milliseconds(mean.latency_ms))
        for mean in found.means
    ]  # fmt: skip
    columns = (name_of(found.parameter), "responses", "mean", "95 %", "is best", "recommended", "cost", "latency")
    return table(f"{name_of(found.metric)} by {name_of(found.parameter)}", columns, rows)


def _correlation_table(insights: Sequence[ParameterInsight]) -> object:
    rows = [
        (name_of(found.parameter), kind, f"{one.coefficient:+.3f}", _ends(one), one.strength, one.n,
         f"{one.p_value:.4f}", f"{one.p_adjusted:.4f}")
        for found in insights
        for kind, one in (("Pearson", found.pearson), ("Spearman", found.spearman))
        if one
    ]  # fmt: skip
    columns = ("parameter", "correlation", "r", "95 %", "strength", "n", "p", "p adjusted")
    return table("Correlations", columns, rows)


def _ends(found: Correlation) -> str:
    return f"{found.interval.low:+.3f} to {found.interval.high:+.3f}" if found.interval else ""


def _show_front(front: ParetoFront) -> None:
    if not front.points:
        return
    against = "cost" if front.against == ("cost_usd",) else "latency"
    rows = [
        (settings_of(point.settings), points(point.score), _price(point.cost_usd), _milliseconds(point.latency_ms))
        for point in front.points[:SHOWN_POINTS]
    ]
    columns = ("combination", name_of(front.metric), "cost", "latency")
    console().print(table(f"Pareto front of {name_of(front.metric)} and {against}", columns, rows))


def _about(interval: Interval | None) -> str:
    return between(interval) if interval else ""


def _price(cost: float | None) -> str:
    return "" if cost is None else money(Decimal(str(cost)))


def _milliseconds(latency: float | None) -> str:
    return "" if latency is None else f"{latency:,.0f} ms"


def show_trends(report: QualityReport, *, as_json: bool) -> int:
    """Trends, then models, sentences before tables."""
    if as_json:
        write_json(report)
        return 0
    out, found = console(), report.quality
    if not found.trends:
        out.print("There are no scores of these days, models and metrics.")
        return 0
    out.print(f"{found.responses:,} responses of {found.experiments:,} experiments; days are in UTC.", markup=False)
    for trend in found.trends:
        out.print(f"• {trend.sentence}", markup=False)
    rows = [_trend_row(trend) for trend in found.trends]
    out.print(table("Trends", _TREND_COLUMNS, rows))
    if report.comparison:
        _show_comparison(report.comparison)
    return 0


_TREND_COLUMNS = ("metric", "model", "version", "days", "responses", "last", "a day", "95 %", "p adjusted", "best")


def _trend_row(trend: QualityTrend) -> tuple[object, ...]:
    return (
        name_of(trend.metric),
        trend.model,
        trend.analysis_version,
        len(trend.points),
        sum(point.responses for point in trend.points),
        points(trend.points[-1].mean),
        "" if trend.slope_per_day is None else points(trend.slope_per_day, 2),
        "" if trend.interval is None else between(trend.interval, 2),
        "" if trend.p_adjusted is None else f"{trend.p_adjusted:.4f}",
        f"{trend.best_period.since} to {trend.best_period.until}",
    )


def show_comparison(comparison: ModelComparison, *, as_json: bool) -> int:
    """Models compared."""
    if as_json:
        write_json(_Comparison.model_construct(**dict(comparison)))
        return 0
    _show_comparison(comparison)
    return 0


def _show_comparison(comparison: ModelComparison) -> None:
    out = console()
    for difference in comparison.differences:
        out.print(f"• {difference.sentence}", markup=False)
    rows = [
        (model.model, points(model.mean), model.responses, model.failed or None, _price(model.cost_usd),
         _milliseconds(model.latency_ms))
        for model in comparison.models
    ]  # fmt: skip
    title = f"Models by {name_of(comparison.metric)} ({comparison.analysis_version})"
    out.print(table(title, ("model", "mean", "responses", "failed", "cost", "latency"), rows))


def as_markdown(report: QualityReport) -> str:
    """The report as a page."""
    lines = ["# Quality trends", ""]
    lines += [f"- {trend.sentence}" for trend in report.quality.trends] or ["There are no scores."]
    if report.quality.trends:
        lines += ["", *_markdown_table(_TREND_COLUMNS, [_trend_row(trend) for trend in report.quality.trends])]
    if report.comparison:
        lines += ["", f"## Models by {name_of(report.comparison.metric)}", ""]
        lines += [f"- {difference.sentence}" for difference in report.comparison.differences]
        rows = [(model.model, points(model.mean), model.responses, model.failed) for model in report.comparison.models]
        lines += ["", *_markdown_table(("model", "mean", "responses", "failed"), rows)]
    return "\n".join(lines) + "\n"


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join('' if cell is None else str(cell).replace('|', '&#124;') for cell in row)} |"
