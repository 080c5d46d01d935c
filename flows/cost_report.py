"""What `headrace costs` shows: costs beside the limits, a chart, tables; one object or CSV for machines."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from flows.charts import bars
from flows.presentation import budget_table, console, money, table, write_json
from schemas.errors import BadInput
from tasks.ledger.costs import CostGroup, CostLine, CostReport
from tasks.ledger.rebuild import Rebuild

CHART_WIDTH = 70
OUTCOMES = {
    "succeeded": "answered",
    "failed": "failed",
    "unknown": "outcome unknown, at worst",
    "reserved": "in flight, reserved",
    "replayed": "replayed",
}
COLUMNS = ("calls", "failed", "unknown", "cost", "replays", "saved", "tokens in / out")
NARROW_COLUMNS = ("calls", "cost", "of note")
WIDE = 120
"""Columns from which on a table has room for all that is known of a sum."""
NOBODY = "(no user)"


class _Report(CostReport):
    run_id: None = None
    status: str = "completed"


class _Rebuild(Rebuild):
    run_id: None = None
    status: str = "completed"


def show_costs(report: CostReport, *, as_json: bool, csv_to: str = "") -> int:
    """The report on the terminal, as one object, or as CSV in the file `csv_to` (`-`: standard output).

    Raises:
        BadInput: the file cannot be written, or two things are wanted on standard output.
    """
    if csv_to == "-" and as_json:
        raise BadInput("--csv - and --json both want standard output; give --csv a file")
    if csv_to == "-":
        write_csv(report.groups, sys.stdout)
        return 0
    if csv_to:
        _write_file(report.groups, Path(csv_to))
    if as_json:
        write_json(_Report.model_construct(**dict(report)))
        return 0
    out = console()
    _show_summary(out, report)
    _show_chart(out, report)
    if report.limits:
        out.print(budget_table("Limits", report.limits))
    else:
        out.print("Limits: none is set")
    if not report.outcomes:
        out.print(f"No calls from {report.since} to {report.until}.")
    else:
        _show_details(out, report)
    if csv_to:
        out.print(f"written to {csv_to}", soft_wrap=True, markup=False)
    return 0


def _show_details(out: Console, report: CostReport) -> None:
    _show_outcomes(out, report)
    for group in report.groups:
        _show_sums(out, f"By {group.by}", group.by, [(_name(line), line) for line in group.lines])


def _show_summary(out: Console, report: CostReport) -> None:
    lines = [("today", report.today), ("this month", report.month)]
    if (report.since, report.until) != (report.month_began, report.present_day):
        lines.append((f"{report.since} to {report.until}", report.total))
    out.print(f"Days begin at midnight in {report.timezone}.", markup=False)
    _show_sums(out, "Costs", "", lines)


def _show_sums(out: Console, title: str, heading: str, lines: Sequence[tuple[str, CostLine]]) -> None:
    """A line for each sum; on a narrow terminal with fewer columns, so that none is cut off."""
    if out.width < WIDE:
        rows = [(name, line.calls, describe_cost(line), _besides(line)) for name, line in lines]
        out.print(table(title, (heading, *NARROW_COLUMNS), rows))
    else:
        out.print(table(title, (heading, *COLUMNS), [(name, *_cells(line)) for name, line in lines]))


def _besides(line: CostLine) -> str:
    """Calls that were not simply answered, and those that needed none."""
    counts = {"failed": line.failed_calls, "unknown": line.unknown_calls, "replayed": line.replays}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)


def _show_chart(out: Console, report: CostReport) -> None:
    if not any(day.spent_usd is None or day.spent_usd > 0 for day in report.days):
        return
    top = max((day.spent_usd for day in report.days if day.spent_usd is not None), default=Decimal(0))
    chart = bars([(day.day, day.spent_usd) for day in report.days], width=min(CHART_WIDTH, out.width - 2))
    out.print(f"Costs of the days from {report.since} to {report.until}, at most {money(top)} on one", markup=False)
    for line in chart:
        out.print(f"  {line}", markup=False, soft_wrap=True)


def _show_outcomes(out: Console, report: CostReport) -> None:
    """A line for each way a call can end, failed and unknown ones included, and one for unpriced calls."""
    rows: list[Sequence[Any]] = []
    for line in report.outcomes:
        replayed = line.key == "replayed"
        cost = "$0" if replayed else money(line.open_usd) if line.key == "reserved" else describe_cost(line)
        count = line.replays if replayed else line.calls
        rows.append((OUTCOMES.get(str(line.key), line.key), count, cost, _saved(line)))
    out.print(table("Outcomes", ("outcome", "calls", "cost", "saved"), rows))


def _cells(line: CostLine) -> tuple[Any, ...]:
    return (
        line.calls,
        line.failed_calls or None,
        f"{line.unknown_calls}, {money(line.unknown_usd)} at worst" if line.unknown_calls else None,
        describe_cost(line),
        line.replays or None,
        _saved(line),
        f"{line.input_tokens} / {line.output_tokens}",
    )


def describe_cost(line: CostLine) -> str:
    """What is spent; calls of unknown price are said, with their number."""
    if not line.unpriced_calls:
        return money(line.spent_usd)
    calls = "1 call" if line.unpriced_calls == 1 else f"{line.unpriced_calls} calls"
    return f"unknown ({calls})" if line.spent_usd is None else f"{money(line.spent_usd)} + unknown ({calls})"


def _saved(line: CostLine) -> str | None:
    return money(line.saved_usd) if line.replays else None


def _name(line: CostLine) -> str:
    return NOBODY if line.key is None else line.key


def write_csv(groups: Sequence[CostGroup], file: TextIO) -> None:
    """A row for each line of each group, under a header; money in plain decimals, unknown amounts empty."""
    writer = csv.writer(file, lineterminator="\n")
    names = [name for name in CostLine.model_fields if name != "key"]
    writer.writerow(["by", "key", *names])
    writer.writerows(_csv_rows(groups, names))
    file.flush()


def _csv_rows(groups: Sequence[CostGroup], names: Sequence[str]) -> Iterator[list[object]]:
    for group in groups:
        for line in group.lines:
            yield [group.by, line.key, *(_plain(getattr(line, name)) for name in names)]


def _plain(value: Any) -> Any:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else value


def _write_file(groups: Sequence[CostGroup], path: Path) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(groups, file)
    except OSError as error:
        raise BadInput(f"--csv {path} cannot be written: {error.strerror}") from error


def show_rebuild(rebuild: Rebuild, *, as_json: bool) -> int:
    """How many counters there are, and those that had to be put right."""
    if as_json:
        write_json(_Rebuild.model_construct(**dict(rebuild)))
        return 0
    out = console()
    if not rebuild.differences:
        out.print(f"all {rebuild.counters} counters are what the calls come to")
        return 0
    rows = [
        (
            f"{item.scope_kind} {item.scope_id}",
            item.period,
            f"{item.period_start:%F}",
            f"{money(item.reserved_before_usd)} → {money(item.reserved_usd)}",
            f"{money(item.spent_before_usd)} → {money(item.spent_usd)}",
        )
        for item in rebuild.differences
    ]
    title = f"{len(rows)} of {rebuild.counters} counters were put right"
    out.print(table(title, ("scope", "period", "since", "reserved", "spent"), rows))
    return 0
