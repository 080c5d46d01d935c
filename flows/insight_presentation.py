"""What the commands of the keyword service show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flows.presentation import console, money, table, write_json
from schemas.insights import InsightAnswer, InsightReport


def show_insight(report: InsightReport, *, as_json: bool) -> int:
    """An insight with its cost and the id that feedback needs, or why there is none."""
    if as_json:
        write_json(report)
        return 0
    out = console()
    out.print(f"{report.insight_type} of {report.market}", markup=False)
    if report.answer is None:
        out.print(report.message, soft_wrap=True, markup=False)
    else:
        for name, value in report.answer.insight:
            _show_part(name.replace("_", " "), value)
        for line in _record(report.answer):
            out.print(line, soft_wrap=True, markup=False)
    cap = "not set" if report.daily_cap_usd is None else money(report.daily_cap_usd)
    out.print(f"Run {report.run_id}; daily cap {cap}", soft_wrap=True, markup=False)
    return 0


def _show_part(name: str, value: Any) -> None:
    """A list of records as a table, whatever else as a line."""
    out = console()
    if not isinstance(value, list):
        out.print(f"{name}: {value}", soft_wrap=True, markup=False)
    elif value and not isinstance(value[0], str):
        records = [_flat(item.model_dump()) for item in value]
        out.print(table(name, list(records[0]), [list(record.values()) for record in records]))
    else:
        for item in value or ["none"]:
            out.print(f"{name}: {item}", soft_wrap=True, markup=False)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Scores within the record become columns of their own."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _record(answer: InsightAnswer) -> Iterator[str]:
    if answer.unknown_terms:
        yield f"Not in the context: {', '.join(answer.unknown_terms)}"
    saved = f", replayed, {money(answer.saved_usd)} saved" if answer.replayed else ""
    yield f"{answer.model}: cost {money(answer.cost_usd)}{saved}, {answer.latency_ms} ms"
    yield f"Say what you think of it: headrace feedback {answer.request_id} positive|negative|neutral"
