"""The report of a test between variants, in words: sentences and tables that the terminal and an artifact share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from flows.presentation import console, money, table, write_json
from schemas.ab_reports import Comparison, Estimate, TestReport, VariantReport

QUALITY = ("variant", "model", "users", "rated", "positive first", "rate of users", "positive of all", "rate of all")
COST = ("variant", "calls", "failed", "cost", "cost a call", "latency mean", "p50", "p95")
READINGS = ("day (UTC)", "rated", "difference", "from", "to", "")
SHOWN_DAYS = 14
METHOD = (
    "Rates of users count the first rating of each, with Wilson's interval; rates of all ratings and means know that "
    "those of one user belong together. The comparison is a confidence sequence (Robbins' normal mixture; Johari et "
    "al. 2022, Waudby-Smith et al. 2024): it may be read every day without more false alarms."
)

Table = tuple[str, Sequence[str], list[tuple[Any, ...]]]


def show_ab_report(report: TestReport, *, as_json: bool) -> int:
    """The report on the terminal, or as one object."""
    if as_json:
        write_json(report)
        return 0
    out = console()
    for part in _parts(report):
        _show(out, part)
    return 0


def _show(out: Console, part: str | Table) -> None:
    if isinstance(part, str):
        out.print(part, soft_wrap=True, markup=False)
    else:
        out.print(table(*part))


def as_markdown(report: TestReport) -> str:
    """The report as an artifact."""
    lines = [f"# {report.test.name}", ""]
    for part in _parts(report):
        if isinstance(part, str):
            lines += [part, ""]
            continue
        title, columns, rows = part
        lines += [f"**{title}**", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def _parts(report: TestReport) -> Iterator[str | Table]:
    test = report.test
    purpose = f" on {test.purpose}" if test.purpose else ""
    state = f"stopped {test.stopped_at:%F %H:%M}" if test.stopped_at else f"running, read {report.read_at:%F %H:%M}"
    yield f"{test.name}{purpose}: since {test.started_at:%F %H:%M}, {state} (UTC)"
    yield "Quality", QUALITY, [_quality(variant) for variant in report.variants]
    yield "Cost and latency", COST, [_cost(variant) for variant in report.variants]
    for comparison in report.comparisons:
        yield sentence(comparison, test.minimum_effect)
        if comparison.by_day:
            shown = comparison.by_day[-SHOWN_DAYS:]
            rows = [
                (
                    reading.day,
                    reading.rated,
                    _points(reading.difference),
                    _points(reading.lower),
                    _points(reading.upper),
                    "decided" if reading.decided else None,
                )
                for reading in shown
            ]
            yield f"{comparison.variant} less {comparison.control}, in points", READINGS, rows
    for warning in report.warnings:
        yield f"Warning: {warning}."
    yield METHOD


def _quality(variant: VariantReport) -> tuple[Any, ...]:
    return (
        variant.name,
        variant.model,
        variant.users,
        variant.rated,
        variant.first_positive,
        _rate(variant.rate),
        f"{variant.positive} of {variant.ratings}",
        _rate(variant.rate_of_all),
    )


def _cost(variant: VariantReport) -> tuple[Any, ...]:
    cost, latency = variant.cost_per_call, variant.latency
    of_call = None if cost.value is None else _between(cost, "${:.6f}")
    return (
        variant.name,
        variant.calls,
        variant.failed or None,
        money(variant.cost_usd) if variant.calls else None,
        of_call,
        None if latency.value is None else _between(latency, "{:.0f} ms"),
        None if variant.latency_p50 is None else f"{variant.latency_p50:.0f} ms",
        None if variant.latency_p95 is None else f"{variant.latency_p95:.0f} ms",
    )


def _between(found: Estimate, form: str) -> str:
    shown = form.format(found.value)
    return (
        shown if found.lower is None else f"{shown} ({form.format(max(found.lower, 0))} to {form.format(found.upper)})"
    )


def _rate(found: Estimate) -> str | None:
    return None if found.value is None else f"{found.value:.1%} ({found.lower:.1%} to {found.upper:.1%})"


def _points(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:+.1f}"


def sentence(comparison: Comparison, effect: float) -> str:
    """What the comparison says, and what is missing."""
    names = f"{comparison.variant} against {comparison.control}"
    if comparison.difference is None:
        return f"{names}: too few users have rated to say anything. {_missing(comparison, effect)}"
    found = (
        f"{names}: {_points(comparison.difference)} points ({_points(comparison.lower)} to "
        f"{_points(comparison.upper)}), p = {comparison.p:.2g}"
    )
    if comparison.verdict == "open":
        return f"{found}. No difference is established. {_missing(comparison, effect)}"
    return f"{found}. {comparison.variant} is {comparison.verdict}, established on {comparison.decided_on}."


def _missing(comparison: Comparison, effect: float) -> str:
    aim = f"a difference of {100 * effect:g} points, found 4 times in 5"
    if comparison.still_needed == 0:
        return f"The {comparison.needed} rated users for {aim}, are there."
    pace = f", {comparison.days_needed} days at the pace so far" if comparison.days_needed is not None else ""
    return f"{comparison.still_needed} of the {comparison.needed} rated users for {aim}, are missing{pace}."
