"""A report as an Excel workbook: a sheet a table, numbers as numbers to their last digit, texts never formulas."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any

from schemas.sweep_reports import ReportContents, Value
from tasks.sweep.reports.csv_file import whole_responses
from tasks.sweep.reports.tables import Table, all_tables, exact
from tasks.sweep.reports.texts import cut, printable

MOST_CHARACTERS = 32_767
"""Of a cell of Excel."""
NOTED = 60
"""Characters that say how much was cut."""
WIDEST = 48
MOST_ROWS = 1_048_575


def render_xlsx(contents: ReportContents) -> bytes:
    """The workbook; its dates are the report's."""
    from xlsxwriter import Workbook

    out = BytesIO()
    book = Workbook(out, {"in_memory": True})
    created = contents.as_of.replace(tzinfo=None, microsecond=0)
    book.set_properties({"title": printable(contents.name)[:255], "created": created})
    bold, wrapped = book.add_format({"bold": True, "bottom": 1}), book.add_format({"text_wrap": True, "valign": "top"})
    for table in all_tables(contents):
        _write(book, whole_responses(contents) if table.name == "responses" else table, bold, wrapped)
    book.close()
    return out.getvalue()


def _write(book: Any, table: Table, bold: Any, wrapped: Any) -> None:
    sheet = book.add_worksheet(table.name.capitalize(), _exact_sheet())
    first = table.name in {"summary", "spec", "prompts", "conclusions"}
    for column, name in enumerate(table.columns):
        sheet.write_string(0, column, name, bold)
        texts = [len(exact(row[column])) for row in table.rows[:500]]
        sheet.set_column(column, column, min(WIDEST if not first else 100, 2 + max([len(name), *texts])))
    for number, row in enumerate(table.rows[:MOST_ROWS], 1):
        _write_row(sheet, number, row, wrapped if first else None)
    sheet.freeze_panes(1, 0)
    if table.rows:
        sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)


def _write_row(sheet: Any, number: int, row: Sequence[Value], style: Any) -> None:
    for column, value in enumerate(row):
        if isinstance(value, bool) or value is None:
            sheet.write_string(number, column, exact(value), style) if value is not None else None
        elif isinstance(value, int | float | Decimal):
            sheet.write_number(number, column, value, style)
        else:
            sheet.write_string(number, column, cut(printable(exact(value)), MOST_CHARACTERS - NOTED), style)


def _exact_sheet() -> Any:
    """A worksheet whose numbers are whole: the library's own are cut after 16 digits, and a float may need 17."""
    from xlsxwriter.worksheet import Worksheet

    class ExactWorksheet(Worksheet):  # type: ignore[misc]
        def _xml_number_element(self, number: int | float | Decimal, attributes: Any = ()) -> None:
            named = "".join(f' {key}="{self._escape_attributes(value)}"' for key, value in attributes)
            self.fh.write(f"<c{named}><v>{exact(number)}</v></c>")

    return ExactWorksheet
