"""Sweeps on a terminal, as JSON and as a Prefect artifact."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.markup import escape

from flows.presentation import console, money, table, write_json
from flows.sweep_passes import pass_sentences
from schemas.sweep_results import Best, SweepPlan, SweepReport, SweepStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TOP = 5


def show_plan(plan: SweepPlan, to: Console) -> None:
    """What the sweep comes to, before it is asked."""
    most = "at most " if plan.strategy in {"tpe", "race"} else ""
    to.print(
        f"{plan.name}: {most}{plan.combinations:,} combinations, {plan.calls:,} calls ({plan.strategy})", markup=False
    )
    if plan.answered:
        to.print(f"the ledger has {plan.answered:,} of these answers already: nothing is paid for them")
    to.print(table("", ("model", "calls", "tokens in", "tokens out", "about", "at most"), _plan_rows(plan)))
    limit = "no limit is set" if plan.max_cost_usd is None else f"the limit is {money(plan.max_cost_usd)}"
    to.print(f"about {_rounded(plan.cost_usd)}, at most {_rounded(plan.most_usd)}; {limit} (max_cost_usd)")
    if plan.minutes is not None:
        besides = ", and what the judge takes" if plan.judge else ""
        to.print(f"about {plan.minutes:.1f} minutes{besides}")
    if plan.probe_usd is not None:
        to.print(f"one answer of each model was asked for to tell: {money(plan.probe_usd)}", style="dim")


def _plan_rows(plan: SweepPlan) -> list[tuple[str, ...]]:
    named = [(escape(each.model), each) for each in plan.models]
    named += [(f"{escape(each.model)} ({what})", each)
              for each, what in ((plan.meaning, "meaning"), (plan.judge, "judge")) if each is not None]  # fmt: skip
    return [
        (name, f"{each.calls:,}", f"{each.input_tokens:,}", f"{each.output_tokens:,}", _about(each.cost_usd),
         money(each.most_usd))
        for name, each in named
    ]  # fmt: skip


def _about(usd: Decimal | None) -> str:
    return _rounded(usd)


def _rounded(usd: Decimal | None) -> str:
    """Dollars as an estimate has them: no more than four decimals."""
    return "an unknown amount" if usd is None else money(round(usd, 4))


def show_sweep(report: SweepReport, *, as_json: bool) -> int:
    """What came of the sweep; 0."""
    if as_json:
        write_json(report)
        return 0
    to = console()
    for sentence in sentences(report):
        to.print(sentence, markup=False)
    if report.best:
        to.print(table("", _COLUMNS, [[escape(cell) for cell in _best_row(each)] for each in report.best[:TOP]]))
    for conclusion in report.conclusions:
        to.print(f"• {conclusion}", markup=False)
    to.print(f"`headrace sweep-analysis {report.experiment_id}` shows the numbers behind that")
    return 0


_COLUMNS = ("overall", "answers", "model", "parameters", "system prompt")


def _best_row(best: Best) -> tuple[str, ...]:
    parameters = ", ".join(f"{name} {value:g}" for name, value in best.parameters.items())
    return (f"{best.points:.1f}", str(best.responses), best.model or "", parameters, best.system_prompt or "")


def sentences(report: SweepReport) -> list[str]:
    """The report in words."""
    answered = report.stored - report.failed
    told = [f"{report.name}: {answered:,} answers to {report.combinations:,} combinations, {money(report.cost_usd)}"]
    if report.replayed:
        saved = f", which saved {money(report.saved_usd)}" if report.saved_usd else ""
        told.append(f"{report.replayed:,} of them were in the ledger: nothing was paid for them{saved}")
    if report.retried:
        told.append(f"{report.retried:,} of them came after a retry")
    if report.failed:
        reasons = ", ".join(f"{name}: {count:,}" for name, count in report.failures.items())
        told.append(f"{report.failed:,} calls failed and are kept with their reason ({reasons})")
    if report.saved > 0 and report.strategy != "grid":
        told.append(f"{report.saved:,} calls of the whole grid were not made ({report.strategy})")
    if report.mean_score is not None:
        told.append(f"mean quality {100 * report.mean_score:.1f} of 100")
    return [*told, *pass_sentences(report.judge, report.meaning)]


def as_markdown(report: SweepReport) -> str:
    """The report as a page."""
    lines = [f"# Sweep {report.name}", "", *[f"- {each}" for each in sentences(report)], ""]
    if report.best:
        lines += [_markdown_row(_COLUMNS), _markdown_row(["---"] * len(_COLUMNS))]
        lines += [_markdown_row(_best_row(each)) for each in report.best]
    if report.conclusions:
        lines += ["", "## What that shows", "", *[f"- {each}" for each in report.conclusions]]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def show_status(status: SweepStatus, *, as_json: bool) -> int:
    """How far the sweep is; 0."""
    if as_json:
        write_json(status)
        return 0
    to = console()
    for line in status_lines(status):
        to.print(line, markup=False)
    for shown in failure_tables(status):
        to.print(shown)
    return 0


def status_lines(status: SweepStatus) -> list[str]:
    """How far the sweep is, in words."""
    told = [f"{status.name}: {status.status}, {status.progress:.1f} %"]
    told.append(f"{status.completed_calls:,} of {status.total_calls:,} answers, {status.failed_calls:,} failed, "
                f"{money(status.cost_usd)}")  # fmt: skip
    if status.replayed:
        told.append(f"{status.replayed:,} were in the ledger, which saved {money(status.saved_usd)}")
    if status.retried:
        told.append(f"{status.retried:,} came after a retry")
    if status.best_score is not None and status.mean_score is not None:
        told.append(f"overall: best {100 * status.best_score:.1f}, mean {100 * status.mean_score:.1f} of 100")
    if status.estimated_completion is not None:
        told.append(f"done at about {status.estimated_completion:%Y-%m-%d %H:%M:%S} UTC")
    told += pass_sentences(status.judge, status.meaning)
    if status.error_message:
        told.append(status.error_message)
    return told


def failure_tables(status: SweepStatus) -> list[Table]:
    """What failed, and why; none where nothing did."""
    tables = []
    if status.failed_responses:
        rows = [(escape(each.model or ""), f"{each.responses:,}", each.reason, escape(each.message or ""))
                for each in status.failed_responses]  # fmt: skip
        tables.append(table("Responses that failed", ("model", "responses", "reason", "for one"), rows))
    if status.failed_attempts:
        tries = [
            (escape(each.model), f"{each.attempts:,}", f"{each.responses:,}", f"{each.answered:,}", each.reason,
             escape(each.message or ""))
            for each in status.failed_attempts
        ]  # fmt: skip
        columns = ("model", "attempts", "responses", "answered since", "reason", "for one")
        tables.append(table("Attempts that failed", columns, tries))
    return tables
