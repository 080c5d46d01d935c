"""Step 1: a bill is read, split, keyed and stored; and stored bills are loaded again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors
from blocks.documents import fetch_document
from blocks.documents.evidence import NormalizedBill
from schemas.analysis import BillRef
from schemas.bills import UNKNOWN, BillKey, Document, Section, Sentence, Span, guess_bill_key
from schemas.canonical import postgres_text
from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from schemas.tables import Bill
from tasks.analysis.sections import split_sections
from tasks.analysis.sentences import split_sentences
from tasks.ledger.rows import insert_rows
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

log = logging.getLogger(__name__)

STDIN = "-"
TITLE_CHARACTERS = 300
TITLE_WITHIN = 4000
"""A title stands within so many characters of the start."""
_LONG_TITLE = re.compile(
    r"^[ \t\d]*(?:AN\s+ACT|A\s+BILL)\b\s*.+?(?=\n[^\S\n]*\n|\Z)", re.MULTILINE | re.DOTALL | re.IGNORECASE
)
_ENACTING = re.compile(r"\bBe it enacted\b", re.IGNORECASE)
_SHORT_TITLE = re.compile(
    r"\bmay\s+be\s+cited\s+as\s+(?:the\s+)?[\"“`']*([A-Z].{3,200}?\bAct\b(?:\s+of\s+\d{4})?)", re.DOTALL
)


@dataclass(frozen=True)
class BillText:
    """A stored bill in memory, split into sections and numbered sentences."""

    ref: BillRef
    text: str
    sections: list[Section]

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Sentences of all sections, numbered from 1."""
        return split_sentences(self.text, self.sections)

    @cached_property
    def normalized(self) -> NormalizedBill:
        """What quotes are looked up in."""
        return NormalizedBill.of(self.text, self.sections)

    def reading(self, span: Span) -> str:
        """The text of `span` on one line, without the line numbers and running heads of a printed bill."""
        return self.normalized.reading(span)

    def section_title(self, ordinal: int) -> str:
        """Label and heading of a section, on one line."""
        section = self.sections[ordinal]
        return " ".join(f"{section.label} {section.heading}".split()) or "Opening"


@step("read", version="1")
async def read_bill(source: str, jurisdiction: str = "", bill_id: str = "", session: str = "") -> BillRef:
    """The bill at `source` is stored with its sections; returns where.

    Args:
        source: path, URL, `-` for standard input, or a stored bill's id or `JURISDICTION/BILL/SESSION`.
        jurisdiction, bill_id, session: the bill's key; what is empty is guessed from name and text.

    Raises:
        BadInput: the source cannot be read as a bill; the message says why and what would be right.
    """
    async with open_ledger() as ledger:
        stored = await find_bill(ledger.engine, source)
        if stored is not None:
            return stored
        document = await fetch_document(source)
        document = document.model_copy(update={"text": postgres_text(document.text)})
        key = _key(document, jurisdiction, bill_id, session)
        if UNKNOWN in (key.jurisdiction, key.bill_id, key.session):
            log.info("%s is stored as %s; --jurisdiction, --bill-id and --session say what it is", source, key)
        return await _store(ledger.engine, document, key)


def _key(document: Document, jurisdiction: str, bill_id: str, session: str) -> BillKey:
    guess = guess_bill_key(document.source, document.text)
    return BillKey(
        jurisdiction=jurisdiction or guess.jurisdiction,
        bill_id=bill_id or guess.bill_id,
        session=session or guess.session,
    )


async def find_bill(engine: AsyncEngine, name: str) -> BillRef | None:
    """The stored bill of this id or key, its latest text; None where `name` is neither.

    Raises:
        NotFound: it has the form of an id, and no bill has it.
    """
    wanted = _stored_name(name)
    if wanted is None:
        return None
    query = select(Bill.id, Bill.text).order_by(Bill.id.desc()).limit(1)
    if isinstance(wanted, UUID):
        query = query.where(Bill.id == wanted)
    else:
        parts = wanted.model_dump()
        query = query.where(*[getattr(Bill, column) == value for column, value in parts.items()])
    with database_errors():
        async with engine.connect() as connection:
            row = (await connection.execute(query)).first()
    if row is not None:
        return (await load_bill(engine, row.id)).ref
    raise NotFound(f"no file and no stored bill is called {name}; give a path, a URL or a stored bill's key")


def _stored_name(name: str) -> UUID | BillKey | None:
    """The id or key that `name` is, unless it is a file's path, a URL or standard input."""
    if name == STDIN or "://" in name or Path(name).exists():
        return None
    try:
        return UUID(name)
    except ValueError:
        pass
    try:
        return BillKey.parse(name) if not Path(name).suffix else None
    except BadInput:
        return None


_INSERT_BILL = text("""
    INSERT INTO bills (id, jurisdiction, bill_id, session, title, source, media_type, text, text_sha256)
    VALUES (:id, :jurisdiction, :bill_id, :session, :title, :source, :media_type, :text, :text_sha256)
    ON CONFLICT (jurisdiction, bill_id, session, text_sha256) DO NOTHING
    RETURNING id
""")
_SAME_BILL = text("""
    SELECT id FROM bills WHERE jurisdiction = :jurisdiction AND bill_id = :bill_id AND session = :session
        AND text_sha256 = :text_sha256
""")


async def _store(engine: AsyncEngine, document: Document, key: BillKey) -> BillRef:
    sections = await asyncio.to_thread(split_sections, document.text)
    row = {
        "id": new_id(),
        **key.model_dump(),
        "title": _title(document.text),
        "source": document.source,
        "media_type": document.media_type,
        "text": document.text,
        "text_sha256": hashlib.sha256(document.text.encode()).hexdigest(),
    }
    with database_errors():
        async with engine.begin() as connection:
            row["id"] = await connection.run_sync(_insert, row, sections)
    return _ref(row, len(sections))


def _insert(connection: Connection, row: dict[str, Any], sections: list[Section]) -> UUID:
    """The bill with its sections, once: the same text under the same key keeps its row."""
    inserted = connection.execute(_INSERT_BILL, row).scalar()
    if inserted is None:
        same: UUID = connection.execute(_SAME_BILL, row).scalar_one()
        return same
    rows = [
        {
            "bill_id": inserted,
            "ordinal": section.ordinal,
            "label": section.label or None,
            "heading": section.heading or None,
            "start": section.span.start,
            "end": section.span.end,
            "text": section.span.of(row["text"]),
        }
        for section in sections
    ]
    insert_rows(connection, "bill_sections", rows)
    stored: UUID = inserted
    return stored


def _title(body: str) -> str | None:
    """The long title after `AN ACT`, else the name the act gives itself, else the first line that says something."""
    opening = body[:TITLE_WITHIN]
    if found := _LONG_TITLE.search(opening):
        said = _ENACTING.split(found[0])[0]
    elif found := _SHORT_TITLE.search(opening):
        said = found[1]
    else:
        said = next((line for line in opening.splitlines() if len(line.strip()) > len(UNKNOWN)), "")
    on_one_line = re.sub(r"(?<=\w)- (?=[a-z])", "-", " ".join(said.strip(" #").split()))
    return shorten(on_one_line, TITLE_CHARACTERS, placeholder=" …") or None


def _ref(row: dict[str, Any], sections: int) -> BillRef:
    key = BillKey(jurisdiction=row["jurisdiction"], bill_id=row["bill_id"], session=row["session"])
    return BillRef(
        id=row["id"],
        key=key,
        title=row["title"],
        text_sha256=row["text_sha256"],
        characters=len(row["text"]),
        sections=sections,
        source=row["source"],
    )


_in_use: WeakValueDictionary[UUID, BillText] = WeakValueDictionary()


async def load_bill(engine: AsyncEngine, bill_id: UUID) -> BillText:
    """The stored bill `bill_id`; while anyone keeps what this returned, others are given the same."""
    if (present := _in_use.get(bill_id)) is not None:
        return present
    query = select(Bill.__table__).where(Bill.id == bill_id)
    with database_errors():
        async with engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise NotFound(f"there is no stored bill {bill_id}", bill_id=str(bill_id))
    sections = await asyncio.to_thread(split_sections, row["text"])
    return _in_use.setdefault(bill_id, BillText(_ref(dict(row), len(sections)), row["text"], sections))
