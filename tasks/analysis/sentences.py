"""Numbered sentences of a bill: the smallest stretches a model may cite.

No general splitter knows a bill: `42 U.S.C. 1437f`, `Sec. 3.`, list items that are clauses of their
own, sentences of a thousand words. What ends a sentence here:

- a full stop, unless it belongs to an abbreviation, an initial or an enumerator (`1.`, `(a).`);
- the end of a list item: punctuation before an enumerator (`; and (2) `), or a line that begins
  with one;
- a blank line, and in texts with a paragraph per line any line end, unless a page break caused it.

Fragments too short to be quoted are joined to a neighbour, sentences too long are cut, first at
semicolons, then at enumerators, commas and, at last, spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest

from blocks.documents.normalization import lines_are_wrapped, mask_page_furniture
from schemas.bills import MIN_QUOTE_WORDS, Section, Sentence, Span

MAX_SENTENCE_WORDS = 120
MAX_SENTENCE_CHARACTERS = 1_200
"""Cut here at the latest where nothing else does: tables, text without spaces."""


def split_sentences(text: str, sections: Sequence[Section]) -> list[Sentence]:
    """The sentences of all `sections` in order, numbered from 1.

    Together they hold all that is neither space nor page furniture (line numbers, running heads). A
    section's label with its caption is a sentence of its own.
    """
    masked = mask_page_furniture(text)
    wrapped = lines_are_wrapped(text)
    sentences: list[Sentence] = []
    for section in sections:
        for start, end in _section_sentences(text, masked, section, wrapped):
            number = len(sentences) + 1
            sentences.append(Sentence(number=number, section=section.ordinal, span=Span(start=start, end=end)))
    return sentences


def sentence_spans(text: str) -> list[Span]:
    """The sentences of a text that is no bill, or of a piece of one."""
    found = _sentences(text, mask_page_furniture(text), 0, len(text), 0, lines_are_wrapped(text))
    return [Span(start=start, end=end) for start, end in found]


def _section_sentences(text: str, masked: str, section: Section, wrapped: bool) -> Iterator[tuple[int, int]]:
    start, end = section.span.start, section.span.end
    body = section.body_start
    if body > start:
        heading = _trimmed(masked, start, body)
        if heading[1] > heading[0]:
            yield heading
        start = body
    yield from _sentences(text, masked, start, end, start + len(section.label) * (body == start), wrapped)


def _sentences(text: str, masked: str, start: int, end: int, scan_from: int, wrapped: bool) -> list[tuple[int, int]]:
    cuts = [start, *_boundaries(text, masked, scan_from, end, wrapped), end]
    fragments = [_trimmed(masked, a, b) for a, b in pairwise(cuts)]
    joined = _join_short(masked, [(a, b) for a, b in fragments if b > a])
    return [piece for a, b in joined for piece in _cut_long(masked, a, b)]


def _boundaries(text: str, masked: str, start: int, end: int, wrapped: bool) -> Iterator[int]:
    """Offsets at which a new sentence begins, ascending."""
    last = start
    for match in (_BREAK if wrapped else _BREAK_OR_LINE).finditer(masked, start, end):
        at = match.end()
        if match.lastgroup == "stop" and _is_no_stop(masked, last, match.start(), at):
            continue
        if match.lastgroup == "blank" and _is_page_break(text, masked, match):
            continue
        if match.lastgroup == "line" and not _ENDS_CLAUSE.search(masked, max(last, match.start() - 40), match.start()):
            continue
        yield at
        last = at


def _is_no_stop(masked: str, last: int, stop: int, at: int) -> bool:
    """True when the point at `stop` ends no sentence."""
    if masked[stop] != ".":
        return False
    if _ENUMERATOR_ONLY.fullmatch(masked, last, stop):
        return True
    word = _LAST_WORD.search(masked, max(last, stop - 24), stop)
    if word is None:
        return False
    token = word[0].lower()
    if token in _ABBREVIATIONS:
        return True
    if token in _MAY_END or (len(token) == 1 and token.isalpha()) or _INITIALS.fullmatch(token):
        return _STARTER.match(masked, at) is None
    return token in _BEFORE_NUMBER and masked[at].isdigit()


def _is_page_break(text: str, masked: str, match: re.Match[str]) -> bool:
    """True when the blank lines only come from a page's foot and head in the middle of a sentence."""
    start, end = match.span()
    if masked[start - 1 : start] in ".;:?!—\"'”’":
        return False
    return bool(text[start:end].strip()) or (end < len(masked) and masked[end].islower())


def _join_short(masked: str, fragments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`fragments` with those too short to be quoted joined to the one before or after."""
    joined: list[tuple[int, int]] = []
    waiting: int | None = None
    for (start, end), following in zip_longest(fragments, fragments[1:]):
        begins = start if waiting is None else waiting
        waiting = None
        if _words(masked, begins, end) >= MIN_QUOTE_WORDS:
            joined.append((begins, end))
        elif joined and _leans_back(masked, begins, end, following) and _fits(masked, joined[-1][0], end):
            joined[-1] = (joined[-1][0], end)
        elif following is None:
            joined.append((begins, end))
        else:
            waiting = begins
    return joined


def _leans_back(masked: str, start: int, end: int, following: tuple[int, int] | None) -> bool:
    """True when a fragment ends what went before rather than begins what follows."""
    if following is None or _CLOSED.search(masked, max(0, end - 8), end):
        return True
    return bool(_ENUMERATES.match(masked, following[0])) and not _ENUMERATES.match(masked, start)


def _cut_long(masked: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """`start:end` in pieces of at most `MAX_SENTENCE_WORDS` words, cut where it hurts least."""
    while (limit := _limit(masked, start, end)) < end:
        earliest = start + min(200, (limit - start) // 4)
        cut = limit
        for pattern in _CUTS:
            if found := [match.end() for match in pattern.finditer(masked, earliest, limit)]:
                cut = found[-1]
                break
        piece = _trimmed(masked, start, cut)
        if piece[1] > piece[0]:
            yield piece
        start = _trimmed(masked, cut, end)[0]
    if end > start:
        yield start, end


def _limit(masked: str, start: int, end: int) -> int:
    """The offset up to which a sentence from `start` may reach."""
    furthest = min(end, start + MAX_SENTENCE_CHARACTERS)
    for count, word in enumerate(_WORD.finditer(masked, start, furthest), 1):
        if count > MAX_SENTENCE_WORDS:
            return word.start()
    return furthest


def _words(masked: str, start: int, end: int) -> int:
    return len(masked[start:end].split())


def _fits(masked: str, start: int, end: int) -> bool:
    return _words(masked, start, end) <= MAX_SENTENCE_WORDS


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    leading = len(piece) - len(piece.lstrip())
    return start + leading, max(start + leading, start + len(piece.rstrip()))


_QUOTE = r"(?:``|''|[\"“”'‘’`])"
_ENUMERATOR = (
    rf"{_QUOTE}?\((?:[a-z]{{1,2}}|[A-Z]{{1,2}}|[ivxlIVXL]{{1,6}}|\d{{1,3}})\)"
    r"(?=[\s(A-Z\"“`])(?!(?:\(\w+\))*\s+(?:of|and|or|through|to)\b)"
)
_PLAIN_ENUMERATOR = rf"{_QUOTE}?(?:\d{{1,2}}|[a-zA-Z])\.(?=\s+\S)"
_STOP = (
    rf"(?P<stop>[.?!][)\]]*{_QUOTE}*[.;,]?)\s+(?=[A-Z0-9\"“‘`'(\[§$•*]|{_PLAIN_ENUMERATOR})"
    rf"|(?P<item>(?:[;:]|—|--|–){_QUOTE}*\s+(?:(?:and|or|AND|OR)\s+)?)(?={_ENUMERATOR})"
    rf"|(?P<blank>\n[^\S\n]*\n\s*)"
)
_ENUMERATES = re.compile(rf"{_ENUMERATOR}|{_PLAIN_ENUMERATOR}")
_BREAK = re.compile(_STOP + rf"|(?P<line>\n\s*)(?={_ENUMERATOR}|{_PLAIN_ENUMERATOR})")
_BREAK_OR_LINE = re.compile(_STOP + r"|(?P<paragraph>\n\s*)")
_ENDS_CLAUSE = re.compile(rf"(?:[.;:,?!]|—|--|–)\s*(?:{_QUOTE}|[)\]])*[.;,]?(?:\s*\b(?:and|or|AND|OR))?\s*\Z")
_CLOSED = re.compile(rf"(?:[.;?!,]|[;,]\s*(?:and|or|AND|OR))(?:{_QUOTE}|[)\].])*\Z")
_ENUMERATOR_ONLY = re.compile(rf"\W*{_QUOTE}?\(?[A-Za-z0-9]{{1,4}}(?:-[A-Za-z0-9]+)?")
_LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*\Z")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]")
_WORD = re.compile(r"\S+")
_CUTS = tuple(
    re.compile(pattern)
    for pattern in (
        r";\s+(?:(?:and|or)\s+)?",
        rf"(?<=\S)\s+(?={_ENUMERATOR})",
        r"(?::|—|--)\s*",
        r",\s+",
        r"\s+",
    )
)
_NEVER_END = """subsec subsecs subpar par pars cl ch art arts secs e.g i.e cf viz vs v mr mrs ms dr hon sen rep gov
gen st ave blvd mt ft dept pub stat fed reg rev ann vol vols pp nos jan feb mar apr jun jul aug sept oct nov dec
approx ca bros univ assn comm"""
_ABBREVIATIONS = frozenset(_NEVER_END.split())
_BEFORE_NUMBER = frozenset(["no", "sec", "section", "p", "art", "par"])
_SOMETIMES_END = "u.s u.s.c d.c a.m p.m etc inc co corp ltd seq al jr sr ph.d s.w n.w s.e n.e"
_MAY_END = frozenset(_SOMETIMES_END.split())
_STARTER = re.compile(
    r"(?i:The|A|An|No|Any|Each|Every|In|If|Such|This|These|That|Those|It|For|Nothing|Notwithstanding|When|Where"
    r"|Upon|Not|All|To|As|On|At|By|With|Whenever|Provided|However|There|Except|Unless|After|Before|Section)\b"
    r"|\("
)
