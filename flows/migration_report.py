"""The report of a migration: on a terminal, as JSON, and as a Prefect artifact."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from flows.artifacts import publish_page
from flows.running import prefect_flow_run_id
from schemas.errors import DatabaseUnavailable, HeadraceError
from schemas.migration import SHOWN, MigrationReport, RollbackReport, Staying
from tasks.migration.migrating import MigrationRequest
from tasks.migration.rejects import count_rejects

if TYPE_CHECKING:
    from rich.console import Console


async def publish(report: MigrationReport | RollbackReport) -> None:
    """Inside a Prefect flow run the report is an artifact, its versions kept under the source's name."""
    markdown = as_markdown(report) if isinstance(report, MigrationReport) else _rollback_markdown(report)
    await publish_page(markdown, report.run_id, "migration", report.source_name)


async def publish_failure(request: MigrationRequest, run_id: UUID, error: HeadraceError) -> None:
    """Inside a Prefect flow run, why the run ended and what it rejected until then are an artifact."""
    if prefect_flow_run_id() is None:
        return
    rejected: dict[str, int] = {}
    with suppress(DatabaseUnavailable):  # which may be why it ended
        rejected = await count_rejects(run_id)
    await publish_page(_failure_markdown(request, run_id, error, rejected), run_id, "migration", request.name)


NAMES = 10
"""How many of the rows that broke a rule a page or terminal names; JSON names more."""
KEPT = "source_records"
CONVERSIONS = "Conversions"
COLUMNS = ("table", "read", "rejected", "inserted", "updated", "unchanged", "gone", "proof")


def table_rows(report: MigrationReport) -> list[tuple[str, ...]]:
    """The tables of the report as rows of `COLUMNS`."""
    rows = []
    for table in report.tables:
        proof = "dry run" if report.dry_run else "equal" if table.reconciled else "DIFFERENT"
        counts = (table.read, table.rejected, table.inserted, table.updated, table.unchanged, table.gone)
        rows.append((printable(table.table), *(f"{count:,}" for count in counts), proof))
    return rows


def remarks(report: MigrationReport) -> list[str]:
    """What is to be known beside the counts, as sentences."""
    told = [f"run {report.loaded_by} loaded this very source and it is all still here"] if report.already_done else []
    for rule in (*report.unfit, *report.rules):
        samples = rule.samples[:NAMES]
        shown = ", ".join(samples) + _more(samples, rule.count)
        told.append(f"{rule.rule} ({rule.policy}): {_counted(rule.count, 'row')}: {rule.sentence} ({shown})")
    told += [f"{each.table}.{each.field}: {_counted(each.count, 'value')} refused as secret" for each in report.refused]
    for table in report.tables:
        for fate, ids in table.samples.items():
            told.append(f"{table.table}: {_fate(report, fate)} {', '.join(ids)}{_more(ids, getattr(table, fate))}")
        if table.pruned:
            told.append(f"{table.table}: {_counted(table.pruned, 'row')} {_fate(report, 'pruned')}")
        told += [_why_they_stay(table.table, each) for each in table.staying]
        if table.placeholders:
            told.append(f"{table.table}: {_counted(table.placeholders, 'placeholder')}")
        if table.repairs:
            told.append(f"{table.table}: {_counted(table.repairs, 'repair')} while reading")
    if rejected := sum(table.rejected for table in report.tables):
        run = report.loaded_by or report.run_id
        told.append(
            f"rejected: {_counted(rejected, 'record')}; `headrace rejects {run}` shows each with its place and reason"
        )
    if kept := [table.table for table in report.tables if table.target == KEPT]:
        told.append(f"{', '.join(kept)}: kept as they are in {KEPT}")
    return [printable(each) for each in (*told, *report.notes)]


def printable(text: str) -> str:
    """`text`, which may be of the source, without what a terminal would obey."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _why_they_stay(table: str, staying: Staying) -> str:
    """What a prune leaves, and what stands in its way."""
    rows = f"{_counted(staying.count, 'row')} that the source no longer has {'stays' if staying.count == 1 else 'stay'}"
    why = "changed here after loading"
    if staying.referred_by:
        why = f"referred to by {staying.referred_by} {', '.join(staying.referring)}{_cut(staying.referring)}"
    return f"{table}: {rows}, {why}: {', '.join(staying.samples)}{_more(staying.samples, staying.count)}"


def _cut(shown: Sequence[str]) -> str:
    """Of as many as are shown at most there may be more."""
    return " …" if len(shown) == SHOWN else ""


def _fate(report: MigrationReport, fate: str) -> str:
    return f"to be {fate}" if report.dry_run and fate != "gone" else fate


def _more(shown: Sequence[str], count: int) -> str:
    return " …" if count > len(shown) else ""


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def pace(report: MigrationReport) -> str:
    """How many rows were read, in what time, and how many a second where that is more than a few."""
    done = f"{report.rows:,} {'row' if report.rows == 1 else 'rows'} in {report.seconds:.1f} s"
    return f"{done}, {report.rows_per_second:,.0f} a second" if report.rows_per_second >= 10 else done


def as_markdown(report: MigrationReport) -> str:
    """The report as a page."""
    kind_of_run = "dry run" if report.dry_run else "run"
    lines = [
        f"# {report.kind}: {report.source}",
        "",
        f"{kind_of_run} {report.run_id}: {pace(report)}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table_rows(report)),
        "",
    ]
    for title, found in (("Remarks", remarks(report)), (CONVERSIONS, conversions(report))):
        if found:
            lines += [f"## {title}", "", *(f"- {each}" for each in found), ""]
    return "\n".join(lines)


def conversions(report: MigrationReport) -> list[str]:
    """Where each table went, and what was changed on the way."""
    told = (f"{table.table} → {table.target}: {'; '.join(table.conversions)}" for table in report.tables)
    return [printable(each) for each in told]


def conversions_by_sentence(report: MigrationReport) -> list[str]:
    """What was changed on the way, each sentence once with the tables that it is true of."""
    tables: dict[str, list[str]] = {}
    moved = [table for table in report.tables if table.target != KEPT and (table.read or table.placeholders)]
    for table in moved:
        for sentence in table.conversions:
            tables.setdefault(sentence, []).append(table.table)
    everywhere = len(moved) if len(moved) > 1 else None
    told = [f"{'all' if len(names) == everywhere else ', '.join(names)}: {each}" for each, names in tables.items()]
    return [printable(each) for each in told]


def _rollback_markdown(report: RollbackReport) -> str:
    rows = [f"| {table.target} | {table.deleted:,} | {table.restored:,} |" for table in report.tables]
    heading = [f"# Run {report.of_run} taken back", "", "| table | deleted | restored |", "|---|---|---|"]
    return "\n".join([*heading, *rows, ""])


def _failure_markdown(request: MigrationRequest, run_id: UUID, error: HeadraceError, rejected: dict[str, int]) -> str:
    """Why the run ended, and what it rejected until then."""
    lines = [f"# {request.kind}: {request.source}", "", f"run {run_id} **failed**: {printable(str(error))}", ""]
    if rejected:
        lines += ["| rejected for | records |", "|---|---|"]
        lines += [f"| {printable(rule)} | {count:,} |" for rule, count in rejected.items()]
    return "\n".join([*lines, ""])


def show_migration(report: MigrationReport, *, as_json: bool) -> int:
    """The report is shown; returns the exit code."""
    if as_json:
        print(report.model_dump_json())
        return 0
    console = _console()
    _print_table(console, COLUMNS, table_rows(report))
    for each in remarks(report):
        console.print(f"• {each}", markup=False, highlight=False)
    if found := [] if report.already_done else conversions_by_sentence(report):
        console.print(f"{CONVERSIONS}:")
        for each in found:
            console.print(f"• {each}", markup=False, highlight=False)
    if report.dry_run:
        console.print(f"Nothing was loaded: a dry run ({report.run_id}).")
    else:
        console.print(f"{pace(report)}. {_way_back(report)}", highlight=False)
    return 0


def _way_back(report: MigrationReport) -> str:
    """How what was loaded can be taken back; a run that found it in place did not load it."""
    if report.loaded_by is None and not any(table.inserted or table.updated or table.pruned for table in report.tables):
        return "Nothing was changed."
    return f"`headrace rollback {report.loaded_by or report.run_id}` takes it back."


def show_rollback(report: RollbackReport, *, as_json: bool) -> int:
    """The report is shown; returns the exit code."""
    if as_json:
        print(report.model_dump_json())
        return 0
    rows = [(table.target, f"{table.deleted:,}", f"{table.restored:,}") for table in report.tables]
    _print_table(_console(), ("table", "deleted", "restored"), rows)
    return 0


def _console() -> Console:
    from rich.console import Console

    return Console()


def _print_table(console: Console, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, collapse_padding=True, pad_edge=False)  # so that a usual one fits into 80 columns
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a name of the source is no markup
    console.print(table)
