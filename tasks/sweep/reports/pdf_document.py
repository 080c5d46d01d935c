"""A report as a PDF, typeset by Typst: texts go there as data, so that none is markup."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import shorten
from typing import Any

from tasks.sweep.reports.fonts import pdf_families, pdf_fonts
from tasks.sweep.reports.parts import Answer, Grid, Part, Plots, ReportDocument, Section, Sentences, SideBySide
from tasks.sweep.reports.texts import breakable, cut, printable

TEMPLATE = Path(__file__).with_name("report.typ")
SHOWN_ANSWER = 1800
"""Characters of an answer; the other formats have all."""
SHOWN_CELL = 1000
SHOWN_HEADER = 90
LONG_CELL = 24
"""Characters from which on a column shares what room there is."""


def render_pdf(document: ReportDocument) -> bytes:
    """`document` as a PDF with the same bytes for the same contents."""
    import typst

    compiled = typst.compile(
        TEMPLATE.read_bytes(),
        font_paths=pdf_fonts(),
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs={"report": json.dumps(_report(document), ensure_ascii=False)},
        timestamp=int(document.as_of.timestamp()),
    )
    assert isinstance(compiled, bytes)
    return compiled


def _report(document: ReportDocument) -> dict[str, Any]:
    return {
        "title": _text(document.title),
        "header": printable(shorten(document.title, SHOWN_HEADER, placeholder="…")),
        "subtitle": _text(document.subtitle),
        "as_of": f"{document.as_of:%Y-%m-%d %H:%M:%S} UTC",
        "facts": document.facts,
        "sections": [_section(section) for section in document.sections],
        "appendix": [_grid(grid) for grid in document.appendix],
        "fonts": pdf_families(),
    }


def _text(said: str, most: int = SHOWN_CELL) -> str:
    return breakable(printable(cut(said, most)))


def _section(section: Section) -> dict[str, Any]:
    return {"title": section.title, "parts": [_part(part) for part in section.parts]}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Sentences():
            return {"kind": part.kind, "said": [_text(sentence) for sentence in part.said]}
        case Grid():
            return _grid(part)
        case Plots():
            shown = [{"svg": plot.svg.decode(), "caption": plot.caption, "wide": plot.wide} for plot in part.shown]
            return {"kind": part.kind, "shown": shown}
        case SideBySide():
            answers = [_answer(answer) for answer in (part.best, part.worst) if answer]
            return {"kind": part.kind, "prompt": _text(part.prompt), "answers": answers}


def _answer(answer: Answer) -> dict[str, str]:
    return {"label": _text(answer.label), "about": _text(answer.about), "text": _text(answer.text, SHOWN_ANSWER)}


def _grid(grid: Grid) -> dict[str, Any]:
    rows = [[_text(cell) for cell in row] for row in grid.rows]
    lengths = [max((len(row[place]) for row in rows), default=0) for place in range(len(grid.columns))]
    return {
        "kind": grid.kind,
        "title": grid.title,
        "note": grid.note,
        "columns": [_text(column) for column in grid.columns],
        "rows": rows,
        "numeric": grid.numeric,
        "long": [length > LONG_CELL and not numeric for length, numeric in zip(lengths, grid.numeric, strict=True)],
    }
