"""A bill split under its headings, in the styles of Congress and of state legislatures.

A heading stands at the start of a line, after something has ended: `under\\nsection 12. The` is a
cross reference. Recognised are

- sections: `SEC. 3.`, `SECTION 1.`, `Section 12-a`, `Sec. 101`, `§ 4.`, `NEW SECTION. Sec. 2.`, and
  Missouri's `620.2022.`; quoted ones (`` ``SEC. 116. ``) belong to the law that the bill amends;
- divisions: `TITLE II`, `Article 7-D`, `PART A`, `Subtitle B - …`, `CHAPTER 45--…`, Markdown headings;
- `2. Findings` running on in the line, where the bill begins with `1. Short title` and has no others.

A bill without headings is cut into windows. Whatever is found, the spans joined are the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from blocks.documents.normalization import lines_are_wrapped, mask_page_furniture
from schemas.bills import Section, SectionKind, Span
from tasks.analysis.grouping import split_span

WINDOW_TOKENS = 800
"""Size of the windows of a bill without headings."""

CONTENTS_ENTRY_CHARACTERS = 200
"""A table of contents has no longer entries."""

MAX_CAPTION_CHARACTERS, MAX_CAPTION_WORDS = 400, 40


@dataclass(frozen=True)
class _Heading:
    """A heading found in the text.

    Attributes:
        sign: how it is written: with a word (`SEC. 3.`), `§`, a statute's number, a plain number, or as a
            division.
        quoted: opens with a quotation mark, so it belongs to the law that the bill amends.
        resumed: no heading of the text; the bill's own section goes on here after a quotation.
    """

    start: int
    label_end: int
    kind: SectionKind
    label: str
    sign: Literal["word", "§", "statute", "number", "division"]
    number: str
    quoted: bool = False
    resumed: bool = False

    @property
    def identity(self) -> tuple[bool, str]:
        """Equal for a heading and its entry in a table of contents."""
        return self.sign == "division", self.number


def split_sections(text: str, *, window_tokens: int = WINDOW_TOKENS) -> list[Section]:
    """The sections of `text` in order, a preamble first where text comes before the first heading.

    The spans of the sections joined give back `text`; a text without a heading is cut into windows
    of about `window_tokens` tokens between sentences.
    """
    masked = mask_page_furniture(text)
    headings = _with_resumptions(masked, _without_contents(masked, list(_headings(masked))))
    if all(heading.sign == "division" for heading in headings):
        headings = sorted([*headings, *_run_in_headings(masked)], key=lambda heading: heading.start)
    if not headings:
        return _windows(text, window_tokens)
    return _sections(masked, _with_amendments(headings))


def _headings(masked: str) -> Iterator[_Heading]:
    wrapped = lines_are_wrapped(masked)
    for match in _HEADING.finditer(masked):
        start = match.start("label")
        if match["quote"]:
            start = match.start("quote")
        if match["hashes"]:
            start = match.start("hashes")
        if wrapped and not match["hashes"] and not _starts_afresh(masked, start):
            continue
        yield _heading_of(match, start)


def _heading_of(match: re.Match[str], start: int) -> _Heading:
    label = re.sub(r"\s+", " ", match["label"]).strip(" *")
    quoted = bool(match["quote"])
    if number := match["number"] or match["statute"]:
        sign: Literal["word", "§", "statute"] = "§" if match["sign"] else "statute" if match["statute"] else "word"
        kind: SectionKind = "amendment" if quoted else "section"
        return _Heading(start, match.end("label"), kind, label, sign, number.upper(), quoted)
    if caption := match["caption"]:
        return _Heading(start, match.start("caption"), "division", "", "division", caption.upper(), quoted)
    number = re.sub(r"\s+", " ", match["division"]).upper()
    return _Heading(start, match.end("label"), "division", label, "division", number, quoted)


def _starts_afresh(masked: str, start: int) -> bool:
    """True when what comes before the line of `start` has ended, so that no sentence runs on into it."""
    before = masked[max(0, start - 600) : start]
    stripped = before.rstrip()
    if not stripped or before[len(stripped) :].count("\n") > 1:
        return True
    if _ENDED.search(stripped):
        return True
    *_, earlier, previous = ["", "", *stripped.split("\n")]
    if _HEADING.match(previous) or (previous.isupper() and _HEADING.match(earlier)):
        return True
    return _LABEL_IN_CAPITALS.match(masked, start) is not None and not previous.isupper()


def _without_contents(masked: str, headings: list[_Heading]) -> list[_Heading]:
    """`headings` without the entries of tables of contents.

    Entries stand in a run of headings with nothing but a caption between them, and each names a
    heading that stands elsewhere in a shorter run: the one with the text.
    """
    lengths = _run_lengths(masked, headings)
    best: dict[tuple[bool, str], tuple[int, int]] = {}
    for place, (heading, length) in enumerate(zip(headings, lengths, strict=True)):
        candidate = (length, -place)  # the last of equal ones stands nearest to the text
        best[heading.identity] = min(candidate, best.get(heading.identity, candidate))
    count = Counter(heading.identity for heading in headings)

    def is_entry(place: int, heading: _Heading) -> bool:
        if count[heading.identity] > 1 and _CONTENTS.match(masked, heading.label_end):
            return True
        return lengths[place] > 1 and best[heading.identity] != (lengths[place], -place)

    return [heading for place, heading in enumerate(headings) if not is_entry(place, heading)]


def _run_lengths(masked: str, headings: list[_Heading]) -> list[int]:
    """For each heading, how many stand in its run without text between them; 0 for a heading with text."""
    bodies = zip(headings, _ends(masked, headings), strict=False)
    lengths: list[int] = []
    for is_bare, group in groupby(_is_bare(masked[heading.label_end : end]) for heading, end in bodies):
        length = len(list(group))
        lengths += [length if is_bare else 0] * length
    return lengths


def _is_bare(body: str) -> bool:
    """True for no more than a caption."""
    stripped = body.strip()
    if len(stripped) > CONTENTS_ENTRY_CHARACTERS or stripped.count("\n") > 2:
        return False
    return not _BLANK_LINE.search(stripped) and not _PROVIDES.search(stripped)


def _ends(masked: str, headings: Sequence[_Heading]) -> list[int]:
    return [heading.start for heading in headings[1:]] + [len(masked)]


def _with_resumptions(masked: str, headings: list[_Heading]) -> list[_Heading]:
    """`headings` with the bill's own section named again where a quoted one inside it ends.

    A quotation no longer than an entry in a table of sections is no section of its own.
    """
    found: list[_Heading] = []
    own: _Heading | None = None
    for heading, end in zip(headings, _ends(masked, headings), strict=False):
        if not heading.quoted:
            own = heading
            found.append(heading)
            continue
        closed = _QUOTATION_CLOSED.search(masked, heading.label_end, end)
        resumes = closed.end() if closed else end
        if resumes - heading.start > CONTENTS_ENTRY_CHARACTERS or heading.kind == "division":
            found.append(heading)
            if own and masked[resumes:end].strip():
                label = f"{own.label} (continued)"
                found.append(replace(own, start=resumes, label_end=resumes, label=label, resumed=True))
    return found


def _with_amendments(headings: list[_Heading]) -> list[_Heading]:
    """`headings` with those marked that belong to another law although nothing quotes them.

    New York sets out `§ 344.` of a law between its own `Section 1.` and `§ 2.`, Missouri
    `620.2022.` after `Section A.`: what does not continue the bill's own count is the law's.
    """
    counted = 0
    has_own = any(heading.sign == "word" for heading in headings)
    marked = []
    for heading in headings:
        if heading.kind == "section" and has_own and heading.sign != "word" and heading.number != str(counted + 1):
            heading = replace(heading, kind="amendment")
        elif heading.kind == "section" and heading.number.isdigit() and not heading.resumed:
            counted = int(heading.number)
        marked.append(heading)
    return marked


def _run_in_headings(masked: str) -> Iterator[_Heading]:
    """`1. Short title`, `2. Findings` …, each but the first anywhere in a line, its caption up to the line's end."""
    if not _FIRST_RUN_IN.match(masked):
        return
    position, number = 0, 1
    while match := re.compile(_RUN_IN.format(number=number), re.MULTILINE).search(masked, position):
        start, label_end = match.span("label")
        yield _Heading(start, label_end, "section", match["label"], "number", str(number))
        position, number = label_end, number + 1


def _sections(masked: str, headings: Sequence[_Heading]) -> list[Section]:
    sections: list[Section] = []

    def add(kind: SectionKind, label: str, heading: str, start: int, end: int, body: int) -> None:
        span = Span(start=start, end=end)
        sections.append(
            Section(ordinal=len(sections), kind=kind, label=label, heading=heading, span=span, body_start=body)
        )

    wrapped = lines_are_wrapped(masked)
    if masked[: headings[0].start].strip():
        add("preamble", "", "", 0, headings[0].start, 0)
    for heading, end in zip(headings, _ends(masked, headings), strict=True):
        start = sections[-1].span.end if sections else 0
        caption, body = _caption(masked, heading, end, wrapped)
        add(heading.kind, heading.label, caption, start, end, body if body else start)
    return sections


def _caption(masked: str, heading: _Heading, end: int, wrapped: bool) -> tuple[str, int]:
    """The caption after a label and the offset at which the text after it begins; 0 where it runs into the text."""
    if heading.resumed:
        return "", 0
    limit = min(end, heading.label_end + MAX_CAPTION_CHARACTERS)
    if heading.sign == "division":
        match = _DIVISION_CAPTION.match(masked, heading.label_end, limit)
        return (_one_line(match[1]), match.end()) if match else ("", heading.label_end)
    if heading.sign == "number":
        captions = [(_LINE_CAPTION, _VERB)]
    else:
        line_caption = _PARAGRAPH_CAPTION if wrapped else _LINE_CAPTION
        captions = [(_CAPITALS_CAPTION, _DUTY), (_CAPTION, _VERB), (line_caption, _VERB)]
    for pattern, verb in captions:
        match = pattern.match(masked, heading.label_end, limit)
        if match and len(match[1].split()) <= MAX_CAPTION_WORDS and not verb.search(match[1]):
            return _one_line(match[1]), match.end()
    instruction = _INSTRUCTION.match(masked, heading.label_end, limit)
    return (_one_line(instruction[1]), 0) if instruction else ("", 0)


def _one_line(text: str) -> str:
    return re.sub(r"(?<=[A-Za-z])-\n\s*|\s+", lambda found: " " if found[0][0] != "-" else "", text).strip(" -—–:")


def _windows(text: str, window_tokens: int) -> list[Section]:
    pieces = split_span(text, Span(start=0, end=len(text)), window_tokens)
    return [
        Section(ordinal=i, kind="window", label=f"Passage {i + 1}", heading="", span=span, body_start=span.start)
        for i, (span, _) in enumerate(pieces)
    ]


_QUOTE = r"(?:``|''|[\"“‘`])"
_NUMBER = r"\d+[A-Za-z]{0,3}(?:[-–.]\d*[A-Za-z]{0,3}(?=[-–.\s:—]|$))*?"
_KEYWORDS = "DIVISION|SUBDIVISION|TITLE|SUBTITLE|PART|SUBPART|CHAPTER|SUBCHAPTER|ARTICLE"
_HEADING = re.compile(
    rf"""^[ \t\f]*(?P<hashes>\#{{1,6}}[ \t]+)?(?P<quote>{_QUOTE})?(?P<label>\*{{0,2}}(?:
        (?:NEW[ ]SECTION\.\s+)?
        (?:(?P<sign>§{{1,2}})|SECTION|Section|SEC|Sec)\.?[ \t]*(?P<number>{_NUMBER}|(?<=[ ])[A-Z])
            (?:\.(?=[\s*]|--|—|$)|:|(?=[ \t]*(?:(?:--|—|–)(?!\d)|$)))
      | (?P<statute>\d{{1,4}}\.\d{{2,5}}[a-z]?)\.(?=[ \t]+["“(A-Z0-9])
      | (?P<division>(?:{_KEYWORDS}|{_KEYWORDS.title()})\s+(?:[IVXLCM]+|\d{{1,3}}|[A-Z]{{1,2}})(?:-[A-Z\d]{{1,3}})?)
            (?:\.?(?=[ \t]*$)|(?=[ \t]*(?:--|—|–|:|-[ ])))
      | (?(hashes)(?P<caption>[^\n]+)|(?!))
    )\*{{0,2}})""",
    re.MULTILINE | re.VERBOSE,
)
_ENDED = re.compile(r"(?:[.;:?!\"”'’\]_*—✔]|--|[;,]\s+(?:and|or|AND|OR)|assembled,)\Z")
_LABEL_IN_CAPITALS = re.compile(r"(?:SECTION|SEC)\b")
_QUOTATION_CLOSED = re.compile(r"(?:''|[”\"])[.;,]*(?:\s+(?:and|or))?[ \t]*\n(?=\s*[^\s`“\"'‘])")
_CONTENTS = re.compile(r"[^\n]*\n\s*\d[\w-]*\.\s")  # the next line is an entry without a sign
_FIRST_RUN_IN = re.compile(r"\s*1\. [A-Z][^\n.]{2,100}?[ \t]*\n")
_RUN_IN = r"(?:^|(?<=[.;:)\]”\"’'] ))(?P<label>{number}\.) (?=[A-Z][^\n.]{{2,200}}$)"
_DIVISION_CAPTION = re.compile(
    r"\.?[ \t]*(?:--|—|–|-|:)?\s*([^a-z\n]{2,200}\n[^a-z.\d\n]{3,100}|[^\n]{2,200})(?:\n[^\S\n]*|$)"
)
_CAPITALS_CAPTION = re.compile(r"\s*(?:--|—|–)?\s*([^a-z.]*[A-Z][^a-z.]*(?:[.][^a-z.\s][^a-z.]*)*)\.(?:\s+|--|—|$)")
_CAPTION = re.compile(r"\s*(?:--|—|–|-[ ])?\s*([A-Z][^.:\n]{2,140}(?:\n[^.:\n]{2,100})?)\.(?:\s+|--|—|$)")
_LINE_CAPTION = re.compile(r"[ \t]*(?:--|—|–|-[ ])?[ \t]*([A-Z][^.\n]{2,200})\n[^\S\n]*")
_PARAGRAPH_CAPTION = re.compile(_LINE_CAPTION.pattern + r"\n\s*")
_INSTRUCTION = re.compile(
    r"\s*([A-Z][^\n]*(?:\n[^\n]+){0,4}?\s(?:as\s+follows:|(?:is|are)\s+(?:repealed|amended)[^.:]*[.:]))"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_DUTY = re.compile(r"\b(?:SHALL|MAY|MUST|HAS|HAVE|MEANS?|AMENDED)\b")
_PROVIDES = re.compile(r"\b(?:shall|may|must|takes?|repealed|amended|expires?)\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:shall|is|are|was|were|may|must|has|have|means|mean|takes|take|expires|expire|applies|apply|amended)\b",
    re.IGNORECASE,
)
