"""The numbers as a table for people, or as JSON."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.results import Comparison, Row, Turn
from benchmarks.trial import TITLES

if TYPE_CHECKING:
    from benchmarks.analysis import Outcome

COLUMNS = (
    "ms a document",
    "least",
    "× openai",
    "× LangGraph",
    "CPU ms",
    "servers' CPU ms",
    "MiB",
    "peak",
    "HTTP",
)


def report_text(outcome: BaseModel) -> str:
    """One JSON object."""
    return outcome.model_dump_json(indent=2)


def show_turn(turn: Turn) -> None:
    """One line of progress on stderr."""
    said = f"{turn.latency_ms:>4g} ms  repeat {turn.repeat + 1}  {turn.contestant:<17}"
    Console(stderr=True, highlight=False).print(f"{said} {turn.measured.milliseconds:8.1f} ms a document")


def show(outcome: Outcome) -> None:
    """Tables, aims and what was checked, on stdout."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    plan = outcome.plan
    console.print(f"{plan.documents} documents × 4 calls, {plan.at_once} documents at once, {plan.repeats} repeats")
    console.print(", ".join(f"{name} {version}" for name, version in outcome.versions.items()), style="dim")
    for latency_ms, rows in groupby(outcome.rows, key=lambda row: row.latency_ms):
        console.print(_table(latency_ms, list(rows)))
    for aim in outcome.aims:
        console.print(_sentence(aim))
    for record in outcome.records:
        console.print(record, style="dim")
    for fault in outcome.faults:
        console.print(f"WRONG: {fault}", style="bold red")


def _table(latency_ms: float, rows: list[Row]) -> Table:
    table = Table(title=f"provider answers after {latency_ms:g} ms", title_justify="left")
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "HTTP" else "right")
    for row in rows:
        table.add_row(
            TITLES[row.contestant],
            f"{row.milliseconds:.1f}",
            f"{row.least_milliseconds:.1f}",
            _times(row.to_bare),
            _times(row.to_langgraph),
            f"{row.cpu_milliseconds:.1f}",
            f"{row.servers_cpu_milliseconds:.1f}",
            f"{row.imported_mib:.0f}",
            f"{row.peak_mib:.0f}",
            row.transport,
        )
    return table


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _sentence(aim: Comparison) -> str:
    verdict = "reached" if aim.reached else "[bold]missed[/bold]"
    return (
        f"{TITLES[aim.contestant]} at {aim.latency_ms:g} ms: {aim.ratio:.2f} times {TITLES[aim.to]}"
        f" (aim: at most {aim.at_most:g}) {verdict}"
    )
