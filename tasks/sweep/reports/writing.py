"""The files of a report: each whole or not there."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from schemas.errors import BadInput
from schemas.sweep_reports import FORMATS, ReportContents, ReportFile, ReportFormat
from tasks.sweep.reports.document import lay_out
from tasks.sweep.reports.parts import ReportDocument

LONGEST_STEM = 60
MOST_BYTES = 180
"""Of these characters: a file system takes 255 for a name."""


def write_report(contents: ReportContents, folder: Path, formats: Sequence[ReportFormat]) -> tuple[ReportFile, ...]:
    """`folder` holds the report in each of `formats`, in the order of `FORMATS`; earlier ones are replaced.

    Raises:
        BadInput: the folder cannot be written.
    """
    folder = folder.expanduser()
    laid_out = cache(lambda: lay_out(contents))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(
            _write(folder / f"{stem(contents)}.{form}", form, contents, laid_out) for form in FORMATS if form in formats
        )
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space there" if full else "name another folder"
        raise BadInput(f"{folder} cannot be written ({error.strerror or type(error).__name__}): {advice}") from error


def render(
    contents: ReportContents, form: ReportFormat, laid_out: Callable[[], ReportDocument], file: BinaryIO
) -> None:
    """The file has the report in one format; `laid_out` gives it laid out for readers, where the format is for them."""
    if form == "json":
        file.write(TypeAdapter(ReportContents).dump_json(contents, indent=2))
    elif form == "csv":
        from tasks.sweep.reports.csv_file import write_csv

        write_csv(contents, file)
    elif form == "xlsx":
        from tasks.sweep.reports.spreadsheet import render_xlsx

        file.write(render_xlsx(contents))
    elif form == "html":
        from tasks.sweep.reports.html_page import render_html

        file.write(render_html(laid_out()))
    else:
        from tasks.sweep.reports.pdf_document import render_pdf

        file.write(render_pdf(laid_out()))


def stem(contents: ReportContents) -> str:
    """Name of the files without its end: the experiment's, and enough of its id to tell it from others so called."""
    words = re.sub(r"[^\w]+", "-", contents.name.lower()).strip("-_")[:LONGEST_STEM]
    words = words.encode()[:MOST_BYTES].decode(errors="ignore").strip("-_")
    told = re.sub(r"[^\w]", "", contents.experiment_id)[-8:]
    return "-".join(part for part in (words, told) if part) or "report"


def _write(
    path: Path, form: ReportFormat, contents: ReportContents, laid_out: Callable[[], ReportDocument]
) -> ReportFile:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            render(contents, form, laid_out, file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return ReportFile(format=form, path=str(path), bytes=size)


def chosen_formats(said: Sequence[str]) -> tuple[ReportFormat, ...]:
    """Formats by name, also several in one text between commas; all where none is named.

    Raises:
        BadInput: there is no such format.
    """
    names = [name.strip().lower() for each in said for name in each.split(",") if name.strip()]
    known: dict[str, Any] = {form: form for form in FORMATS}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"there is no format {unknown[0]}; there are {', '.join(FORMATS)}")
    return tuple(form for form in FORMATS if form in names) or FORMATS
