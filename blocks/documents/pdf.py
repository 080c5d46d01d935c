"""Text of PDF documents."""

from __future__ import annotations

from threading import Lock
from typing import Any

from schemas.errors import BadInput

_PDFIUM = Lock()
"""PDFium is not safe to use from two threads at once, even on two documents."""

_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD in fpdfview.h


def pdf_text(data: bytes, name: str) -> str:
    """The text layer of a PDF, pages separated by a form feed on a line of its own.

    Raises:
        BadInput: it is damaged, locked, or a scan without text.
    """
    with _PDFIUM:
        pages = _pages(data, name)
    if not any(page.strip() for page in pages):
        raise BadInput(f"{name} has no text layer; run OCR first")
    return "\n\f\n".join(pages)


def _pages(data: bytes, name: str) -> list[str]:
    import pypdfium2  # type: ignore[import-untyped]
    from pypdfium2 import PdfiumError

    try:
        document = pypdfium2.PdfDocument(data)
    except PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise BadInput(f"{name} is locked by a password; give an unlocked copy") from None
        raise BadInput(f"{name} is a damaged PDF; give an intact copy") from None
    try:
        return [_page_text(document, number) for number in range(len(document))]
    except PdfiumError:
        raise BadInput(f"{name} has a damaged page; give an intact copy") from None
    finally:
        document.close()


def _page_text(document: Any, number: int) -> str:
    page = document[number]
    try:
        layer = page.get_textpage()
        try:
            text: str = layer.get_text_bounded()
        finally:
            layer.close()
    finally:
        page.close()
    # PDFium writes U+FFFE (or U+0002) for a hyphen at a line's end together with the line's end.
    return text.replace("\ufffe", "-\n").replace("\x02", "-\n").replace("\x00", "").strip()
