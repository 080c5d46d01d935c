"""The report of a sweep on a terminal, as JSON and as artifacts of Prefect."""

from __future__ import annotations

from flows.presentation import console, table, write_json
from schemas.sweep_reports import ReportContents, SweepReportFiles
from tasks.sweep.reports.tables import exact, marginals


def show_report_files(report: SweepReportFiles, *, as_json: bool) -> int:
    """What was written, and the conclusions in it; 0."""
    if as_json:
        write_json(report)
        return 0
    to = console()
    to.print(f"{report.name}: {report.responses:,} responses", markup=False)
    for sentence in report.conclusions:
        to.print(f"• {sentence}", markup=False)
    to.print(table("", ("format", "bytes", "file"), [(each.format, f"{each.bytes:,}", each.path)
                                                      for each in report.files]))  # fmt: skip
    return 0


def as_markdown(report: SweepReportFiles) -> str:
    """What was written, as a page."""
    lines = [f"# Report of {report.name}", "", *[f"- {sentence}" for sentence in report.conclusions], ""]
    lines += [f"- {each.format}: `{each.path}` ({each.bytes:,} bytes)" for each in report.files]
    return "\n".join(lines) + "\n"


def means_table(contents: ReportContents) -> list[dict[str, str]]:
    """Mean scores at each value of each parameter, for the metric that stands for all."""
    means = marginals(contents)
    rows = (dict(zip(means.columns, map(exact, row), strict=True)) for row in means.rows)
    return [row for row in rows if row["metric"] == contents.metric]


def heat_map_png(contents: ReportContents) -> bytes | None:
    """The first heat map, else the first parameter's means; None where nothing can be drawn."""
    from tasks.sweep.reports.plots import draw_heat_map, draw_marginal

    if contents.heat_maps:
        return draw_heat_map(contents.heat_maps[0], "png")
    drawn = [found for found in contents.analysis.insights if found.metric == contents.metric]
    return draw_marginal(drawn[0], form="png") if drawn else None
