"""What commands show: Rich on the terminal, one JSON object for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from schemas.analysis import BillReport
from tasks.ledger.budgets import BudgetState
from tasks.ledger.run_records import RunDetail, RunRecord

if TYPE_CHECKING:  # these import Prefect, for which who only reads the ledger need not wait
    from flows.analysis import Outcome
    from flows.comparison import Comparison, ComparisonRow

WIDE = 140
"""Columns from which on a table of runs has one line a run."""
PIPE_WIDTH = 240
"""Columns of output that no terminal shows: wide enough for a table to keep a row on a line."""


SMALLEST_SHOWN = Decimal("0.000001")
NEVER_WRAPPED = ("step", "status", "cost", "started (UTC)")
ID_WIDTH = 36
"""Characters of a run's id, which is never broken: it is there to be copied."""


def console() -> Console:
    """Standard output, for people."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def write_json(value: BaseModel) -> None:
    """`value` as one line of JSON on standard output, whatever the terminal's encoding; money is decimal text."""
    line = json.dumps(value.model_dump(), default=_plain, ensure_ascii=False)
    sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    match value:
        case Decimal():
            return f"{value.normalize():f}"
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def money(amount: Decimal | None) -> str:
    """US dollars for people: unknown is said, a free call is 0."""
    if amount is None:
        return "unknown"
    if 0 < amount < SMALLEST_SHOWN:
        return f"<${SMALLEST_SHOWN}"
    return "$0" if amount == 0 else f"${amount:.6f}".rstrip("0").rstrip(".")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table with plain text cells."""
    made = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for name in columns:
        made.add_column(
            name, overflow="fold", no_wrap=name in NEVER_WRAPPED, min_width=ID_WIDTH if name == "run" else len(name)
        )
    for row in rows:
        made.add_row(*["" if cell is None else str(cell) for cell in row])
    return made


class Summary(BaseModel):
    """The machine's view of one analysis."""

    run_id: str
    status: str
    bill: str
    title: str | None
    source: str
    analysis: dict[str, Any]
    review: dict[str, Any]
    passed: bool
    quality_score: float
    rounds: int
    research: dict[str, Any]
    models: dict[str, str]
    coverage: dict[str, Any]
    cost_usd: Decimal | None


def summarize(report: BillReport) -> Summary:
    """What `--json` shows of a report."""
    whole = report.model_dump(mode="json")
    return Summary(
        run_id=str(report.run_id),
        bill=str(report.bill.key),
        title=report.bill.title,
        source=report.bill.source,
        rounds=len(report.rounds),
        cost_usd=report.cost_usd,
        **{name: whole[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = (
    "status",
    "analysis",
    "review",
    "passed",
    "quality_score",
    "research",
    "models",
    "coverage",
)


def show_report(report: BillReport, *, as_json: bool) -> int:
    """The report of one bill, its run and its cost."""
    if as_json:
        write_json(summarize(report))
        return 0
    out = console()
    if out.is_terminal:
        out.print(Markdown(report.report))
    else:
        out.print(report.report, markup=False, soft_wrap=True)
    verdict = "passed review" if report.passed else "did not pass review"
    out.print(
        f"Run {report.run_id}: {verdict}, quality {report.quality_score:.2f}, cost {money(report.cost_usd)}",
        soft_wrap=True,
    )
    return 0


class Outcomes(BaseModel):
    """Many analyses; `status` is `failed` when any of them is."""

    run_id: None = None
    status: str
    outcomes: list[dict[str, Any]]


def show_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> int:
    """What became of each bill; the exit code is 1 when some failed, their own when all failed alike."""
    failed = any(outcome.status != "completed" for outcome in outcomes)
    if as_json:
        shown = [_outcome(outcome) for outcome in outcomes]
        write_json(Outcomes(status="failed" if failed else "completed", outcomes=shown))
        return _exit_code(outcomes)
    rows = [
        (
            outcome.source,
            outcome.status,
            f"{outcome.report.quality_score:.2f}" if outcome.report else "",
            ("yes" if outcome.report.passed else "no") if outcome.report else "",
            money(outcome.report.cost_usd) if outcome.report else "",
            outcome.run_id,
        )
        for outcome in outcomes
    ]
    out = console()
    out.print(table("Analyses", ("bill", "status", "quality", "passed", "cost", "run"), rows))
    _print_reasons(out, ((outcome.source, outcome.error) for outcome in outcomes))
    return _exit_code(outcomes)


def _exit_code(outcomes: Iterable[Outcome | ComparisonRow]) -> int:
    """That of all where they share it, be it 0; else 1."""
    codes = {outcome.exit_code for outcome in outcomes}
    return codes.pop() if len(codes) == 1 else 1


def _outcome(outcome: Outcome) -> dict[str, Any]:
    if outcome.report is not None:
        return summarize(outcome.report).model_dump()
    return {
        "run_id": str(outcome.run_id) if outcome.run_id else None,
        "status": outcome.status,
        "source": outcome.source,
        "error": {"code": outcome.error_code, "message": outcome.error},
    }


def show_comparison(comparison: Comparison, *, as_json: bool) -> int:
    """Models side by side; the exit code is 1 when some failed, their own when all failed alike."""
    failed = any(row.status != "completed" for row in comparison.rows)
    if as_json:
        write_json(_Listing(status="failed" if failed else "completed", rows=_rows(comparison.rows)))
        return _exit_code(comparison.rows)
    rows = [
        (
            row.bill,
            row.generate,
            row.status,
            None if row.quality_score is None else f"{row.quality_score:.2f}",
            None if row.passed is None else ("passed" if row.passed else "not passed"),
            row.supported_impacts,
            money(row.cost_usd) if row.status == "completed" else "",
            None if row.model_seconds is None else f"{row.model_seconds:.1f} s",
        )
        for row in comparison.rows
    ]
    columns = ("bill", "generate", "status", "quality", "verdict", "supported", "cost", "latency")
    out = console()
    out.print(table("Comparison", columns, rows))
    _print_reasons(out, ((f"{row.bill}, {row.generate}", row.error) for row in comparison.rows))
    return _exit_code(comparison.rows)


def _print_reasons(out: Console, reasons: Iterable[tuple[str, str | None]]) -> None:
    """A line for each thing that failed, under the table that shows it."""
    for subject, reason in reasons:
        if reason:
            out.print(f"{subject}: {reason}", soft_wrap=True, markup=False)


class _Listing(BaseModel):
    run_id: str | None = None
    status: str = "completed"
    rows: list[dict[str, Any]]


def _rows(models: Iterable[BaseModel]) -> list[dict[str, Any]]:
    return [model.model_dump() for model in models]


def show_runs(records: Sequence[RunRecord], *, as_json: bool) -> int:
    """The latest runs."""
    if as_json:
        write_json(_Listing(rows=_rows(records)))
        return 0
    shown = console()
    if shown.width < WIDE:  # an id and a path do not fit side by side
        rows: list[Sequence[Any]] = [
            (f"{record.id}\n{record.flow} {record.subject}", *_state_of(record)) for record in records
        ]
        shown.print(table("Runs", ("run", "status", "cost", "started (UTC)"), rows))
        return 0
    rows = [(record.id, record.flow, record.subject, *_state_of(record)) for record in records]
    shown.print(table("Runs", ("run", "flow", "subject", "status", "cost", "started (UTC)"), rows))
    return 0


def _state_of(record: RunRecord) -> tuple[str, str, str]:
    return record.status, money(record.cost_usd), f"{record.started_at:%F %R}"


class _Detail(BaseModel):
    run_id: str
    status: str
    detail: RunDetail


def show_run(detail: RunDetail, *, as_json: bool) -> int:
    """One run with its steps."""
    run = detail.run
    if as_json:
        write_json(_Detail(run_id=str(run.id), status=run.status, detail=detail))
        return 0
    out = console()
    reason = f": {run.error.get('message')}" if run.error else ""
    out.print(f"{run.flow} {run.subject}: {run.status}{reason}", soft_wrap=True, markup=False)
    tries = f", {detail.attempts} tries" if detail.attempts > 1 else ""
    out.print(f"Run {run.id}, project {run.project}, cost {money(run.cost_usd)}{tries}", soft_wrap=True, markup=False)
    rows = [
        (
            step.name,
            step.status,
            step.attempts,
            step.model,
            None if step.seconds is None else f"{step.seconds:.1f} s",
            f"{step.calls} + {step.replays} replayed" if step.replays else step.calls,
            f"{step.input_tokens} / {step.output_tokens}",
            money(step.cost_usd),
        )
        for step in detail.steps
    ]
    out.print(table("", ("step", "status", "tries", "model", "time", "calls", "tokens", "cost"), rows))
    _print_reasons(out, ((step.name, step.error) for step in detail.steps))
    return 0


def show_budgets(states: Sequence[BudgetState], *, as_json: bool) -> int:
    """Limits with what is used of them; what has no limit is said to have none."""
    if as_json:
        write_json(_Listing(rows=_rows(states)))
        return 0
    if not any(state.limit_usd is not None for state in states):
        console().print("No budget is set: nothing limits what may be spent. Set one with `headrace budget set`.")
    if states:
        console().print(budget_table("Budgets", states))
    return 0


def budget_table(title: str, states: Sequence[BudgetState]) -> Table:
    """A line for each period; a limit that is not set is said not to be."""
    rows = [
        (
            f"{state.scope_kind} {state.scope_id}",
            state.period,
            "the beginning" if state.period == "total" else f"{state.period_start:%F}",
            "not set" if state.limit_usd is None else money(state.limit_usd),
            _soft_limit(state),
            money(state.spent_usd),
            money(state.reserved_usd),
        )
        for state in states
    ]
    return table(title, ("scope", "period", "since", "limit", "warn at", "spent", "reserved"), rows)


def _soft_limit(state: BudgetState) -> str:
    if state.warn_usd is None:
        return "not set"
    said = f" (reached {state.warned_at:%F %R} UTC)" if state.warned_at else ""
    return f"{money(state.warn_usd)}{said}"


class Finding(BaseModel):
    """One thing `doctor` looked at; `mend` is the command or setting that puts it right."""

    subject: str
    ok: bool
    says: str
    mend: str | None = None


class _Findings(BaseModel):
    run_id: None = None
    status: str
    findings: list[Finding]


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> int:
    """What is well and what is not; the exit code is 1 when anything is not."""
    failed = not all(finding.ok for finding in findings)
    if as_json:
        write_json(_Findings(status="failed" if failed else "completed", findings=list(findings)))
        return int(failed)
    out = console()
    for finding in findings:
        mark = "[green]ok [/]" if finding.ok else "[red]bad[/]"
        out.print(mark, escape(f"{finding.subject}: {finding.says}"), soft_wrap=True)
        if finding.mend:
            out.print(f"    mend: {finding.mend}", soft_wrap=True, markup=False)
    return int(failed)


def say(result: BaseModel, *, as_json: bool) -> int:
    """A result whose `message` is for people."""
    if as_json:
        write_json(result)
    else:
        console().print(getattr(result, "message", str(result)), soft_wrap=True, markup=False)
    return 0
