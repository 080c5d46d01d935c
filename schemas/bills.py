"""A bill as text: where it came from, how it is keyed, and the spans that everything later points to.

All offsets count characters of `Document.text`, start included, end excluded.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.errors import BadInput

MediaType = Literal["text/plain", "text/markdown", "text/html", "application/xml", "text/x-tex", "application/pdf"]
SectionKind = Literal["preamble", "division", "section", "amendment", "window"]
LocatedStatus = Literal["exact", "approximate", "missing"]

MIN_QUOTE_WORDS = 6
"""A shorter quote fits too many places to support a claim."""

STRUCK_OPEN, ADDED_OPEN, MARK_CLOSE = "[[struck: ", "[[added: ", "]]"
"""How struck and added text of HTML and XML amendments is shown in `Document.text`."""

UNKNOWN = "UNKNOWN"


class Frozen(BaseModel):
    """Base of the value types here."""

    model_config = ConfigDict(frozen=True)


class Span(Frozen):
    """Characters `start` to `end` (excluded) of a text."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"a span cannot end ({self.end}) before it starts ({self.start})")
        return self

    def of(self, text: str) -> str:
        """The characters of `text` in this span."""
        return text[self.start : self.end]


class Document(Frozen):
    """A bill as it was read.

    Attributes:
        source: path, URL without user name and password, or `-` for standard input.
        text: what it says; line ends are `\\n`, pages of a PDF are separated by a form feed.
        encoding: of the bytes; None for PDF, which has none.
        sha256: of the bytes, 64 hexadecimal digits.
    """

    source: str
    media_type: MediaType
    text: str
    encoding: str | None
    sha256: str


class Section(Frozen):
    """A stretch of a bill under one heading; the sections of a bill cover it without gap or overlap.

    Attributes:
        ordinal: 0 for the first section of the bill, counting up.
        kind: `preamble` (before the first heading), `division` (title, part, article, chapter),
            `section`, `amendment` (a section of another law set out in this bill) or `window`
            (a bill without headings).
        label: as the bill writes it (`SEC. 3.`, `§ 4.`, `620.2022.`); empty for a preamble,
            `Passage 1` and so on for windows.
        heading: the caption, or the amending instruction that stands in its place; may be empty.
        body_start: where the text after label and caption begins; the start of the span where there is no caption.
    """

    ordinal: int = Field(ge=0)
    kind: SectionKind
    label: str
    heading: str
    span: Span
    body_start: int


class Sentence(Frozen):
    """A sentence or list item; `number` counts from 1 across the bill, `section` is an ordinal."""

    number: int = Field(ge=1)
    section: int = Field(ge=0)
    span: Span


class SectionPart(Frozen):
    """A section, or the piece of a long one, that goes to a model in one call.

    Attributes:
        section: ordinal of the section.
        part, parts: which piece this is, counting from 1, of how many.
        tokens: as counted by the caller's counter; an upper bound for pieces.
    """

    section: int = Field(ge=0)
    part: int = Field(ge=1)
    parts: int = Field(ge=1)
    span: Span
    tokens: int = Field(ge=0)


class Located(Frozen):
    """Where a quote stands in a bill.

    Attributes:
        quote: as it was given.
        status: `exact`, `approximate` (the nearest text is kept beside it) or `missing`.
        start, end: offsets in the bill's original text; None when missing.
        text: the bill's own text there, original characters; empty when missing.
        similarity: 1.0 when exact, else 0 to 1 for the nearest text found.
        words: words of the quote.
        occurrences: places where an exact quote stands (counting stops at 100).
    """

    quote: str
    status: LocatedStatus
    start: int | None = None
    end: int | None = None
    text: str = ""
    similarity: float = 0.0
    words: int = 0
    occurrences: int = 0

    @property
    def supports(self) -> bool:
        """True when the quote may support a claim: found exactly and long enough."""
        return self.status == "exact" and self.words >= MIN_QUOTE_WORDS


class BillKey(Frozen):
    """What a bill is known by: `HR 5` exists in many sessions and jurisdictions.

    The parts are normalised, so that `H.R. 5`, `hr-5` and `HR 05` are one key.
    """

    jurisdiction: str
    bill_id: str
    session: str

    @field_validator("jurisdiction")
    @classmethod
    def _normalise_jurisdiction(cls, value: str) -> str:
        plain = _plain(value)
        return _JURISDICTIONS.get(plain, plain)

    @field_validator("bill_id")
    @classmethod
    def _normalise_bill_id(cls, value: str) -> str:
        return normalize_bill_id(value)

    @field_validator("session")
    @classmethod
    def _normalise_session(cls, value: str) -> str:
        plain = _plain(value)
        congress = re.fullmatch(r"(\d+)(?:ST|ND|RD|TH)(?: CONGRESS)?", plain)
        return congress[1] if congress else plain

    def __str__(self) -> str:
        return f"{self.jurisdiction}/{self.bill_id}/{self.session}"

    @classmethod
    def parse(cls, text: str) -> BillKey:
        """The key written as `JURISDICTION/BILL/SESSION` (`US/HR 5/117`).

        Raises:
            BadInput: there are not three parts, or one is empty.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(_plain(part) for part in parts):
            raise BadInput(f"{text!r} is no bill key; write JURISDICTION/BILL/SESSION, as in US/HR 5/117")
        return cls(jurisdiction=parts[0], bill_id=parts[1], session=parts[2])


def normalize_bill_id(value: str) -> str:
    """`value` with case, dots, spaces and leading zeros made uniform: `H.R. 05` becomes `HR5`.

    A hyphen stays where removing it would join two numbers (`HB 1-23` is not `HB 123`). Text that is
    no letters-and-number id, such as a file name, becomes capitals joined by hyphens.
    """
    plain = re.sub(r"[\W_]+", "-", _plain(value)).strip("-")
    parts = re.fullmatch(r"(\d?[^\W\d_]+(?:-[^\W\d_]+)*)-?0*(\d+)(-?)([^\W_]*)", plain)
    if parts is None:
        return plain or UNKNOWN
    letters, number, gap, suffix = parts.groups()
    joint = gap if suffix[:1].isdigit() else ""
    return letters.replace("-", "") + number + joint + suffix


def guess_bill_key(source: str, text: str) -> BillKey:
    """The most likely key of a bill whose caller named none; what is not known is `UNKNOWN`.

    Looks at the file name (`US-113-hr1552.txt`, `BILLS-117hr5376rh.xml`, `NY-2023-A9088.txt`), then
    at the first lines of the text, and falls back on the file name's stem.
    """
    stem = PurePosixPath(re.sub(r"[?#].*", "", source).replace("\\", "/")).stem or "bill"
    return _key_of_file_name(stem) or _key_of_opening(stem, text[:4000])


def _key_of_file_name(stem: str) -> BillKey | None:
    if match := _CONGRESS_FILE.fullmatch(stem):
        rest = f"-{match['rest']}" if match["rest"] else ""
        bill_id = normalize_bill_id(f"{match['kind']}{match['number']}") + rest
        return BillKey(jurisdiction="US", bill_id=bill_id, session=match["session"])
    if match := _STATE_FILE.fullmatch(stem):
        return BillKey(**match.groupdict())
    return None


def _key_of_opening(stem: str, opening: str) -> BillKey:
    found = {name: pattern.search(opening) for name, pattern in _OPENINGS.items()}
    if (congress := found["congress"]) and (number := found["congress_bill"]):
        return BillKey(jurisdiction="US", bill_id=number[1] + number[2], session=congress[1])
    state, bill, session = found["state"], found["bill"], found["session"]
    return BillKey(
        jurisdiction=state[1] if state else UNKNOWN,
        bill_id=f"{bill[1][0]}B {bill[2]}" if bill else stem,
        session=next(group for group in session.groups() if group) if session else UNKNOWN,
    )


def _plain(value: str) -> str:
    folded = unicodedata.normalize("NFKC", value)
    folded = re.sub(r"[‐‑‒–—―−]", "-", folded)
    return re.sub(r"\s+", " ", folded).strip().upper()


_CONGRESS_FILE = re.compile(
    r"(?:BILLS-|US-)?(?P<session>\d{2,3})-?(?P<kind>hr|s|hjres|sjres|hconres|sconres|hres|sres)-?"
    r"(?P<number>\d+)(?P<version>[a-z]{2,4}\d?)?(?:-(?P<rest>\w+))?",
    re.IGNORECASE,
)
_STATE_FILE = re.compile(r"(?P<jurisdiction>[A-Z]{2})-(?P<session>\d{2,4}(?:-\d{4})?)-(?P<bill_id>[A-Za-z]+\W?\d.*)")
_OPENINGS = {
    "congress": re.compile(r"\b(\d{2,3})(?:st|nd|rd|th)\s+congress", re.IGNORECASE),
    "congress_bill": re.compile(
        r"^\W*(H\.\s*R\.|S\.|[HS]\.\s*(?:J\.\s*|Con\.\s*)?Res\.)\s*(\d+)\s*$", re.MULTILINE | re.IGNORECASE
    ),
    "state": re.compile(r"\b(?i:state of) ([A-Z][a-z]+(?: +[A-Z][a-z]+)?|[A-Z]{2,}(?: +[A-Z]{2,})?)\b"),
    "bill": re.compile(r"\b(HOUSE|SENATE|ASSEMBLY) BILL (?:NO\. ?)?(\d+)\b", re.IGNORECASE),
    "session": re.compile(
        r"\b(\d{4}(?:-\d{4})?) regular session|(\d+)(?:st|nd|rd|th) (?:general assembly|legislature)",
        re.IGNORECASE,
    ),
}
_STATES = """
AL Alabama, AK Alaska, AZ Arizona, AR Arkansas, CA California, CO Colorado, CT Connecticut, DE Delaware,
FL Florida, GA Georgia, HI Hawaii, ID Idaho, IL Illinois, IN Indiana, IA Iowa, KS Kansas, KY Kentucky,
LA Louisiana, ME Maine, MD Maryland, MA Massachusetts, MI Michigan, MN Minnesota, MS Mississippi,
MO Missouri, MT Montana, NE Nebraska, NV Nevada, NH New Hampshire, NJ New Jersey, NM New Mexico,
NY New York, NC North Carolina, ND North Dakota, OH Ohio, OK Oklahoma, OR Oregon, PA Pennsylvania,
RI Rhode Island, SC South Carolina, SD South Dakota, TN Tennessee, TX Texas, UT Utah, VT Vermont,
VA Virginia, WA Washington, WV West Virginia, WI Wisconsin, WY Wyoming, DC District of Columbia,
US United States, US USA, US U.S., US Federal, US Congress
"""
_JURISDICTIONS = {
    name.upper(): code for code, _, name in (entry.strip().partition(" ") for entry in _STATES.split(","))
}
