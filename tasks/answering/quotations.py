"""What a reply quotes and cites, held against the passages that the model was shown. No I/O.

A reply is Markdown of the model's own. What stands in it between quotation marks, or as a block quote, is looked up as
the quotes of an answer are (`tasks.answering.claims`), first in the passage whose number follows it. Where it stands it
is cited, by that passage's number. Where it stands nowhere it loses its marks and its number: it may be said, but not
as the material's words. Titles of passages, and what was said in the conversation, may be quoted as well. A number of a
passage that was not shown goes. Code is left alone, as are quotations of one or two words, which are terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from schemas.answering import THE_MATERIALS_DO_NOT_SAY, CitedPassage, DroppedClaim, Passage
from schemas.bills import Span
from tasks.answering.claims import SHORTEST_QUOTE, cite, count_words, find_passage, find_quote

CODE = "\ufdd0"
"""Stands for a character of code while quotations are looked for; no text has it."""

_CODE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[^\n]*$|\Z)|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINE = r"(?:[^{0}\n]|\n(?![ \t]*\n))+"
_MARKS = (('"', '"'), ("“", "”"), ("„", "“"), ("„", "”"), ("«", "»"), ("»", "«"), ("「", "」"), ("『", "』"))
_QUOTED = re.compile(
    r"(?m:^ {0,3}>.*(?:\n {0,3}>.*)*)|"
    + "|".join(f"{opened}{_LINE.format(closed)}{closed}" for opened, closed in _MARKS)
)
_BLOCK_MARK = re.compile(r"^ {0,3}> ?", re.MULTILINE)
_ATTRIBUTION = re.compile(r"\n[ \t]*(?:--|[—–-])[^\n]*\Z")
_ENDING = re.compile(r"(?:[ \t]*\[\d+\])*[ \t]*\Z")
_NUMBERS = re.compile(r"(?:[ \t]*[.,;:]?[ \t]*\(?\[\d+(?:[ \t]*,[ \t]*\d+)*\]\)?)+")
_NUMBER = re.compile(r"[ \t]*(?<![\w\\^_=({,])\[(\d+)\](?!\()")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class CheckedReply:
    """A reply that shows as quotations only what stands in the passages, what it cites, and what was no quotation."""

    text: str
    references: tuple[CitedPassage, ...] = ()
    dropped: tuple[DroppedClaim, ...] = ()


@dataclass
class _Check:
    """A reply while it is checked; `edits` are stretches of it and what stands there instead."""

    reply: str
    masked: str
    known: dict[int, Passage]
    said: Sequence[str]
    edits: dict[tuple[int, int], str] = field(default_factory=dict)
    cited: dict[tuple[int, int, int], CitedPassage] = field(default_factory=dict)
    dropped: list[DroppedClaim] = field(default_factory=list)

    def cite(self, passage: Passage, span: Span) -> None:
        """The words at `span` of the passage are cited."""
        self.cited.setdefault((passage.number, span.start, span.end), cite(passage, passage.number, span))

    def edit(self, start: int, end: int, text: str = "") -> None:
        """`text` stands instead of the characters from `start` to `end`."""
        self.edits[start, end] = text

    @property
    def text(self) -> str:
        """The reply as edited."""
        pieces, done = [], 0
        for (start, end), text in sorted(self.edits.items()):
            pieces += [self.reply[done:start], text]
            done = end
        return "".join([*pieces, self.reply[done:]])


def check_reply(reply: str, passages: Sequence[Passage], said: Sequence[str] = ()) -> CheckedReply:
    """The reply in which what is shown as a quotation stands in `passages`, and every number names one of them.

    Args:
        passages: what the model was shown of the materials.
        said: what else it was shown and may quote: the conversation, and what is known of a page.
    """
    masked = _CODE.sub(lambda found: CODE * len(found[0]), reply)
    check = _Check(reply, masked, {passage.number: passage for passage in passages}, said)
    for one in _quotations(reply, masked):
        _check_quotation(check, one)
    _check_numbers(check)
    references = tuple(check.cited[place] for place in sorted(check.cited))
    return CheckedReply(
        check.text if check.text.strip() else THE_MATERIALS_DO_NOT_SAY, references, tuple(check.dropped)
    )


@dataclass(frozen=True)
class _Quotation:
    """What stands between two places of a reply, its marks included.

    Attributes:
        quote: without the marks.
        numbers: that follow it, or of a block quote end it, and are at `place`; empty where there are none.
    """

    start: int
    end: int
    is_block: bool
    quote: str
    numbers: tuple[int, ...]
    place: tuple[int, int]


def _quotations(reply: str, masked: str) -> Iterator[_Quotation]:
    """The quotations of a reply that are long enough to be looked up."""
    for found in _QUOTED.finditer(masked):
        start, end = found.span()
        is_block = found[0].lstrip(" ").startswith(">")
        after = _ENDING.search(masked, start, end) if is_block else _NUMBERS.match(masked, end)
        place = after.span() if after else (end, end)
        inside = _in_block(reply[start : place[0]]) if is_block else reply[start + 1 : end - 1]
        if count_words(inside) >= SHORTEST_QUOTE:
            numbers = tuple(int(each) for each in _DIGITS.findall(masked, *place))
            yield _Quotation(start, end, is_block, inside, numbers, place)


def _in_block(block: str) -> str:
    """The words of a block quote, without who is said to have written them."""
    said = _ATTRIBUTION.sub("", _BLOCK_MARK.sub("", block)).strip()
    return said.strip("".join(mark for pair in _MARKS for mark in pair))


def _check_quotation(check: _Check, one: _Quotation) -> None:
    """It is cited, or loses its marks."""
    if found := find_passage(one.quote, one.numbers, check.known):
        check.cite(*found)
        _name(check, one, found[0].number)
        return
    if any(find_quote(one.quote, passage.heading) for passage in check.known.values()):
        return
    if one.numbers:
        check.edit(*one.place, text=_stop(check, one))
    if not any(find_quote(one.quote, text) for text in check.said):
        words = " ".join(one.quote.split())
        check.dropped.append(DroppedClaim(text=words, reason="it stands in no passage that was shown"))
        _take_marks_off(check, one)


def _name(check: _Check, one: _Quotation, number: int) -> None:
    """The number of the passage where a quotation stands is beside it, or at least in its paragraph."""
    if number in one.numbers:
        return
    begun = max(check.masked.rfind("\n\n", 0, one.start), 0)
    ended = check.masked.find("\n\n", one.end)
    paragraph = check.masked[begun : ended if ended >= 0 else None]
    if one.numbers or f"[{number}]" not in paragraph:
        check.edit(*one.place, text=f" [{number}]{_stop(check, one)}")


def _stop(check: _Check, one: _Quotation) -> str:
    """The punctuation before the numbers of a quotation."""
    return "".join(each for each in check.reply[slice(*one.place)].partition("[")[0] if each in ".,;:")


def _take_marks_off(check: _Check, one: _Quotation) -> None:
    if not one.is_block:
        check.edit(one.start, one.start + 1)
        check.edit(one.end - 1, one.end)
        return
    for mark in _BLOCK_MARK.finditer(check.masked, one.start, one.end):
        check.edit(*mark.span())


def _check_numbers(check: _Check) -> None:
    """Passages that are named are cited as a whole where no words of them are; numbers of others go."""
    quoted = {number for number, _, _ in check.cited}
    for start, end, number in _named(check):
        passage = check.known.get(number)
        if passage is None:
            check.edit(start, end)
        elif number not in quoted:
            check.cite(passage, Span(start=0, end=len(passage.content)))


def _named(check: _Check) -> Iterator[tuple[int, int, int]]:
    """Numbers in brackets that are not edited already, each with its place."""
    for found in _NUMBER.finditer(check.masked):
        if not any(start < found.end() and found.start() < end for start, end in check.edits):
            yield found.start(), found.end(), int(found[1])
    for listed in re.finditer(r"\[(\d+(?:[ \t]*,[ \t]*\d+)+)\](?!\()", check.masked):
        numbers = [int(each) for each in _DIGITS.findall(listed[1])]
        if all(number in check.known for number in numbers):  # or else it may be an interval, or an array
            yield from ((*listed.span(), number) for number in numbers)
