"""The report of a refresh, the generations and an estimate: on a terminal, as JSON, and as a Prefect artifact."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from flows.presentation import console, money, table, write_json
from schemas.embedding import EmbeddingEstimate, GenerationRecord, RefreshReport

COLUMNS = ("", "added", "updated", "unchanged", "deleted")


def change_rows(report: RefreshReport) -> list[tuple[str, ...]]:
    """The changes of the report as rows of `COLUMNS`."""
    return [
        (name, *(f"{count:,}" for count in (change.added, change.updated, change.skipped, change.deleted)))
        for name, change in (("materials", report.materials), ("chunks", report.chunks))
    ]


def remarks(report: RefreshReport) -> list[str]:
    """What is to be known beside the counts, as sentences."""
    told = [_embedded(report)]
    if report.failed_count:
        told.append(f"set aside: {_counted(report.failed_count, 'text')}; --retry-failed tries again")
        told += [f"{each.content_hash[:12]}: {each.reason}" for each in report.failed]
    if (agreement := report.agreement) is not None:
        told += _agreement(report, agreement.sample, agreement.recall, agreement.overlap)
    if report.activated:
        told.append(f"search reads generation {report.generation} from now on")
    return [*told, *report.remarks]


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _embedded(report: RefreshReport) -> str:
    spent = f"{_counted(report.calls, 'call')}, {report.tokens:,} tokens, {money(report.cost_usd)}"
    return f"{_counted(report.embedded, 'text')} embedded with {report.model} in {report.seconds:.1f} s: {spent}"


def _agreement(report: RefreshReport, sample: int, recall: float | None, overlap: float | None) -> list[str]:
    told = []
    if recall is not None:
        told.append(f"the index of generation {report.generation} finds {recall:.1%} of the nearest of {sample} texts")
    if overlap is not None:
        told.append(f"{overlap:.0%} of the nearest are those of the generation before")
    return told


def as_markdown(report: RefreshReport) -> str:
    """The report as a page."""
    generation = "nothing to embed" if report.generation is None else f"generation {report.generation}"
    lines = [
        f"# Embeddings: {generation}",
        "",
        f"run {report.run_id}: {report.model}, {report.dimensions or '-'} dimensions, {report.chunker}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *("| " + " | ".join(row) + " |" for row in change_rows(report)),
        "",
        *(f"- {each}" for each in remarks(report)),
        "",
    ]
    return "\n".join(lines)


def show_refresh(report: RefreshReport, *, as_json: bool) -> int:
    """The report is shown; returns the exit code."""
    if as_json:
        write_json(report)
        return 0
    out = console()
    out.print(table("", COLUMNS, change_rows(report)))
    for each in remarks(report):
        out.print(f"• {each}", markup=False, soft_wrap=True)
    return 0


def show_estimate(estimate: EmbeddingEstimate, *, as_json: bool) -> int:
    """What a refresh would embed is shown; returns the exit code."""
    if as_json:
        write_json(estimate)
        return 0
    console().print(
        f"{_counted(estimate.chunks, 'chunk')} of {estimate.tokens:,} tokens to embed with {estimate.model}: about "
        f"{money(estimate.cost_usd)} ({_counted(estimate.materials, 'material')} new or changed)",
        markup=False,
        soft_wrap=True,
    )
    return 0


class Generations(BaseModel):
    """What `headrace embeddings list` says."""

    run_id: None = None
    status: str = "completed"
    generations: list[GenerationRecord]


def show_generations(generations: Sequence[GenerationRecord], *, as_json: bool) -> int:
    """The generations are shown; returns the exit code."""
    if as_json:
        write_json(Generations(generations=list(generations)))
        return 0
    out = console()
    if not generations:
        out.print("no generation yet: `headrace embed` makes the first")
        return 0
    columns = ("generation", "status", "model", "dimensions", "chunker", "vectors", "missing", "failed", "recall")
    rows = [
        (
            str(each.id), each.status, each.model, str(each.dimensions), each.chunker, f"{each.vectors:,}",
            f"{each.missing:,}", f"{each.failed:,}", "-" if each.recall is None else f"{each.recall:.1%}",
        )
        for each in generations
    ]  # fmt: skip
    out.print(table("", columns, rows))
    return 0


class Changed(BaseModel):
    """What became of one generation."""

    run_id: None = None
    status: str = "completed"
    message: str
    generation: GenerationRecord


def show_change(said: str, generation: GenerationRecord, *, as_json: bool) -> int:
    """What was done with the generation is said; returns the exit code."""
    if generation.missing and generation.status == "active":
        said += f"; {generation.missing:,} texts have no vector in it: `headrace embed --model {generation.model}`"
    changed = Changed(message=said, generation=generation)
    if as_json:
        write_json(changed)
    else:
        console().print(changed.message, markup=False, soft_wrap=True)
    return 0
