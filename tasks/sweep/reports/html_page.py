"""A report as one HTML file: plots within it, no script, nothing fetched."""

from __future__ import annotations

import base64
from pathlib import Path

from tasks.sweep.reports.parts import ReportDocument
from tasks.sweep.reports.texts import printable

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render_html(document: ReportDocument) -> bytes:
    """`document` as a page; whatever texts say stays text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              finalize=lambda said: printable(said) if type(said) is str else said)  # fmt: skip
    environment.filters["data_uri"] = svg_uri
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(report=document)
    return page.encode()


def svg_uri(svg: bytes) -> str:
    """The plot as the address of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
