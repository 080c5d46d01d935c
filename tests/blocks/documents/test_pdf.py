from __future__ import annotations

import asyncio

import pytest

from schemas.bills import Document
from schemas.errors import BadInput
from tasks.analysis.sections import split_sections
from tests.blocks.documents.made_pdf import pdf_with
from tests.blocks.documents.standard_input import fetch_from_standard_input

PAGES = [
    ["SECTION 1. RENTS.", "The owner (or agent) shall not raise the rent of a dwell-", "ing by more than 6 percent."],
    ["SECTION 2. FEES – “all-in”.", "The fee is $40."],
]


async def read(data: bytes) -> Document:
    return await fetch_from_standard_input(data)


async def test_a_pdf_is_read_page_by_page() -> None:
    document = await read(pdf_with(PAGES))
    assert (document.media_type, document.encoding) == ("application/pdf", None)
    first, second = document.text.split("\n\f\n")
    assert (
        first
        == "SECTION 1. RENTS.\nThe owner (or agent) shall not raise the rent of a dwell-\ning by more than 6 percent."
    )
    assert second == "SECTION 2. FEES – “all-in”.\nThe fee is $40."
    assert [section.label for section in split_sections(document.text)] == ["SECTION 1.", "SECTION 2."]


async def test_a_scan_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"^standard input has no text layer; run OCR first$"):
        await read(pdf_with([[], []]))


async def test_a_locked_pdf_is_refused() -> None:
    locked = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >> /ID [<00> <00>]" % (
        b"41" * 32,
        b"42" * 32,
    )
    with pytest.raises(BadInput, match="locked by a password"):
        await read(pdf_with(PAGES, encryption=locked))


@pytest.mark.parametrize("data", [b"%PDF-1.4\n", b"%PDF-1.7 and then nothing that is one", pdf_with(PAGES)[:300]])
async def test_a_damaged_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="damaged PDF"):
        await read(data)


async def test_two_pdfs_at_once_are_both_read() -> None:
    texts = [pdf_with([[f"SECTION 1. The fee is {number} dollars."]] * 5) for number in range(8)]
    documents = await asyncio.gather(*(read(text) for text in texts))
    assert [f"{number} dollars" in document.text for number, document in enumerate(documents)] == [True] * 8
