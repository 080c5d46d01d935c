"""Experiments and responses side by side, on a terminal and as JSON."""

from __future__ import annotations

from decimal import Decimal

from rich.markup import escape

from flows.presentation import console, money, table, write_json
from schemas.experiments import ComparedResponse, ExperimentComparison, MetricDifference, ResponseComparison, Side
from schemas.sweep_statistics import Level
from tasks.sweep.statistics.sentences import between, level_of, name_of, points, settings_of

SHOWN_CHARACTERS = 500
"""Of each answer; `--json` has all of it."""

_OF_METRICS = ("metric", "first", "second", "difference", "95 %", "p adjusted", "better", "worse")
_OF_SIDES = ("", "experiment", "id", "responses", "failed", "cells", "cost", "a response", "latency")


class _Experiments(ExperimentComparison):
    run_id: None = None
    status: str = "completed"


class _Responses(ResponseComparison):
    run_id: None = None
    status: str = "completed"


def show_compared_experiments(found: ExperimentComparison, *, as_json: bool) -> int:
    """Sentences first, then scores, then cost and latency."""
    if as_json:
        write_json(_Experiments(**dict(found)))
        return 0
    out = console()
    out.print(_head(found), markup=False, soft_wrap=True)
    for each in found.metrics:
        out.print(f"• {each.sentence}", markup=False)
    out.print(table(f"Scores ({found.analysis_version})", _OF_METRICS, [_row(each) for each in found.metrics]))
    sides = [_side(place, side) for place, side in (("first", found.first), ("second", found.second))]
    out.print(table("", _OF_SIDES, sides))
    return 0


def _head(found: ExperimentComparison) -> str:
    differs = [
        f"{name_of(name)} ({_level(name, one)} and {_level(name, other)})"
        for name, (one, other) in found.differs.items()
    ]
    but = f" but for {', '.join(differs)}" if differs else ""
    alike = f"{found.common_cells:,} cell{'' if found.common_cells == 1 else 's'} asked alike{but}"
    return f"{found.first.name} and {found.second.name}: {alike}"


def _level(name: str, value: Level) -> str:
    return "none" if value is None and name == "model" else level_of(name, value)


def _row(found: MetricDifference) -> tuple[object, ...]:
    return (
        name_of(found.metric),
        points(found.first),
        points(found.second),
        f"{'+' if found.difference > 0 else ''}{points(found.difference)}",
        "" if found.interval is None else between(found.interval),
        "" if found.p_adjusted is None else f"{found.p_adjusted:.4f}",
        found.better,
        found.worse,
    )


def _side(place: str, side: Side) -> tuple[object, ...]:
    return (
        place,
        escape(side.name),
        side.experiment_id,
        side.responses,
        side.failed or None,
        side.cells,
        money(side.total_cost_usd),
        "" if side.cost_usd is None else money(Decimal(str(side.cost_usd))),
        "" if side.latency_ms is None else f"{side.latency_ms:,.0f} ms",
    )


def show_compared_responses(found: ResponseComparison, *, as_json: bool) -> int:
    """Scores beside one another, then what was asked, what it cost, and the answers."""
    if as_json:
        write_json(_Responses(**dict(found)))
        return 0
    out = console()
    rows = [
        (name_of(each.metric), *("" if score is None else points(score) for score in (each.first, each.second)),
         "" if each.difference is None else f"{'+' if each.difference > 0 else ''}{points(each.difference)}")
        for each in found.metrics
    ]  # fmt: skip
    out.print(table(f"Scores ({found.analysis_version})", ("metric", "first", "second", "difference"), rows))
    facts = list(zip(_facts(found.first), _facts(found.second), strict=True))
    out.print(table("", ("", "first", "second"), [(name, escape(one), escape(two)) for (name, one), (_, two) in facts]))
    if found.first.prompt != found.second.prompt or found.first.system_prompt != found.second.system_prompt:
        out.print("They were asked with different prompts.")
    for place, response in (("first", found.first), ("second", found.second)):
        out.print(f"\n{place}: {_answer(response)}", markup=False, soft_wrap=True)
    return 0


def _facts(response: ComparedResponse) -> list[tuple[str, str]]:
    tokens = (response.input_tokens, response.output_tokens)
    return [
        ("id", response.id),
        ("experiment", response.experiment),
        ("status", response.status),
        ("model", response.model or "not said"),
        ("parameters", settings_of(response.parameters)),
        ("tokens in / out", " / ".join("?" if count is None else f"{count:,}" for count in tokens)),
        ("cost", money(response.cost_usd)),
        ("latency", "not known" if response.latency_ms is None else f"{response.latency_ms:,} ms"),
    ]


def _answer(response: ComparedResponse) -> str:
    said = response.content if response.content is not None else f"no answer: {response.error_message or 'unknown'}"
    return said if len(said) <= SHOWN_CHARACTERS else f"{said[:SHOWN_CHARACTERS]}… ({len(said):,} characters)"
