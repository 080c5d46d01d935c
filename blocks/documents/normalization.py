"""Text made comparable, with a way back to the original offsets.

Two forms of a bill are used to find a quote:

- `normalize`: readable; one space between words, plain quotes and dashes, words joined again that
  were broken at a line end.
- `matching_key`: what must be equal for a quote to count as exact: letters, digits and punctuation
  without white space, quotation marks, and hyphens between letters. White space goes altogether
  because PDF extraction glues words together and tears them apart; hyphens go because a broken
  `non-\\nprofit` may have been `non-profit` or `nonprofit`.

What the page adds (line numbers, running heads, footnotes that explain the typography) is hidden by
`mask_page_furniture`, which writes spaces over it so that offsets stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from schemas.bills import ADDED_OPEN, MARK_CLOSE, STRUCK_OPEN, Span

WRAPPED_LINE = 120
"""A text whose lines are mostly longer holds a paragraph, not a printed line, in each."""

MIN_NUMBERED_LINES = 5
"""Fewer lines that count upwards may be anything."""


@dataclass(frozen=True)
class NormalizedText:
    """A rewritten text and the runs that lead back to the text it was made from.

    Run `i` covers `text[starts[i]:starts[i + 1]]` and stands for `origins[i]` to `ends[i]` of the
    original. Runs of equal length on both sides map character by character, others as a whole.
    """

    text: str
    starts: array[int] = field(repr=False)
    origins: array[int] = field(repr=False)
    ends: array[int] = field(repr=False)

    def original_span(self, start: int, end: int) -> Span:
        """The characters of the original that `text[start:end]` was made from.

        Raises:
            ValueError: the offsets are not a span of `text`.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"{start}:{end} is no span of a text of {len(self.text)} characters")
        if not self.starts:
            return Span(start=0, end=0)
        first = self._original(start, last=False) if start < len(self.text) else self.ends[-1]
        return Span(start=first, end=self._original(end - 1, last=True) if end > start else first)

    def offset_of(self, original: int) -> int:
        """The offset in `text` of the first character made from `original` or what follows it."""
        run = bisect_right(self.ends, original)
        if run == len(self.ends):
            return len(self.text)
        following = self.starts[run + 1] if run + 1 < len(self.starts) else len(self.text)
        inside = max(0, original - self.origins[run])
        if following - self.starts[run] == self.ends[run] - self.origins[run]:
            return self.starts[run] + inside
        return following if inside else self.starts[run]

    def _original(self, offset: int, *, last: bool) -> int:
        run = bisect_right(self.starts, offset) - 1
        begins, origin, end = self.starts[run], self.origins[run], self.ends[run]
        following = self.starts[run + 1] if run + 1 < len(self.starts) else len(self.text)
        if following - begins == end - origin:
            return origin + (offset - begins) + last
        return end if last else origin


def normalize(text: str) -> NormalizedText:
    """`text` with white space, quotes, dashes and line-end hyphenation made uniform."""
    return _rewrite(_fold(text), _UNEVEN, _even)


def matching_key(text: str, *, fold_case: bool = True) -> NormalizedText:
    """`text` as quotes are compared: without white space, quotation marks and hyphens between letters."""
    folded = _fold(text)
    if fold_case:
        folded = folded.lower() if len(folded.lower()) == len(folded) else "".join(map(_lower, folded))
    return _rewrite(folded, _INSIGNIFICANT, _spelled_out)


def mask_page_furniture(text: str) -> str:
    """`text` at equal length, with line numbers, running heads and page footnotes as spaces."""
    masked = _FURNITURE.sub(_blank, text)
    return _mask_line_numbers(masked)


def mask_amendment_marks(text: str) -> str:
    """`text` at equal length as it reads when amended: struck words hidden, added ones unmarked."""
    if STRUCK_OPEN not in text and ADDED_OPEN not in text:
        return text
    return _ADDED.sub(_unmark, _STRUCK.sub(_blank, text))


def lines_are_wrapped(text: str) -> bool:
    """True when lines are printed lines; False when each line is a whole paragraph."""
    in_long_lines = sum(len(line) for line in text.splitlines() if len(line) > WRAPPED_LINE)
    return in_long_lines <= 0.2 * len(text)


def _rewrite(text: str, pattern: re.Pattern[str], replace: Callable[[str], str]) -> NormalizedText:
    pieces: list[str] = []
    starts, origins, ends = array("i"), array("i"), array("i")
    length = position = 0

    def keep(piece: str, origin: int, end: int) -> None:
        nonlocal length
        pieces.append(piece)
        starts.append(length)
        origins.append(origin)
        ends.append(end)
        length += len(piece)

    for match in pattern.finditer(text):
        start, end = match.span()
        if start > position:
            keep(text[position:start], position, start)
        if replacement := replace(match[0]):
            keep(replacement, start, end)
        position = end
    if position < len(text):
        keep(text[position:], position, len(text))
    return NormalizedText("".join(pieces), starts, origins, ends)


def _fold(text: str) -> str:
    return text.translate(_ONE_TO_ONE)


def _lower(character: str) -> str:
    lowered = character.lower()
    return lowered if len(lowered) == 1 else character


def _even(found: str) -> str:
    if found == "''":
        return '"'
    if found[0] == "-" or found[0] in _INVISIBLE:
        return ""
    return _spelled_out(found) or " "


def _spelled_out(found: str) -> str:
    return unicodedata.normalize("NFKC", found) if "ﬀ" <= found[0] <= "ﬆ" else ""


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _unmark(match: re.Match[str]) -> str:
    return " " * len(ADDED_OPEN) + match[1] + " " * len(MARK_CLOSE)


def _mask_line_numbers(text: str) -> str:
    if not _lines_are_numbered(text):
        return text
    numbered = list(_LEADING_NUMBER.finditer(text))
    values = [int(match[1]) for match in numbered]
    counted = {i for i in range(1, len(values)) if values[i] == values[i - 1] + 1}
    # A count starts again at 1 (or at 2, where the first line carries the section's own number).
    counted |= {i - 1 for i in counted} | {i for i, value in enumerate(values) if value <= 2}
    parts, position = [], 0
    for i in sorted(counted):
        start, end = numbered[i].span(1)
        parts += [text[position:start], " " * (end - start)]
        position = end
    return "".join([*parts, text[position:]])


def _lines_are_numbered(text: str) -> bool:
    """True when most lines of most of the text begin with a number one above the last; a table is not."""
    numbered = list(_NUMBERED_PROSE.finditer(text))
    values = [int(match[1]) for match in numbered]
    if sum(after == before + 1 for before, after in pairwise(values)) < MIN_NUMBERED_LINES:
        return False
    between = len(_FILLED_LINE.findall(text, numbered[0].start(), numbered[-1].end()))
    return len(numbered) >= 0.6 * between >= 0.24 * len(_FILLED_LINE.findall(text))


_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_ONE_TO_ONE = (
    dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032`\u00b4"), "'")
    | dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"), '"')
    | dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"), "-")
    | dict.fromkeys(map(ord, "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))), " ")
)
_UNEVEN = re.compile(
    rf"(?<=[^\W\d_])-[ \t]*[\r\n]\s*(?=[^\W\d_])|[^\S ]\s*|\s{{2,}}|''|[{_INVISIBLE}]+|[\ufb00-\ufb06]"
)
_INSIGNIFICANT = re.compile(
    rf"""[\s"{_INVISIBLE}]+"""
    r"""|(?<![^\W_])'|'(?![^\W_])"""  # a quotation mark, not an apostrophe inside a word
    r"""|-(?!\s*\d)|(?<=[^\W\d_])-"""  # hyphens and dashes; those of 2023-2024 and -5 stay
    r"""|[\ufb00-\ufb06]"""
)
_FILLED_LINE = re.compile(r"\S[^\n]*")
_LEADING_NUMBER = re.compile(r"^[ \t]*(\d{1,3})(?=[ \t]|$)", re.MULTILINE)
_NUMBERED_PROSE = re.compile(r"^[ \t]*(\d{1,3})[ \t]+[^\n]*[^\W\d_]{2}", re.MULTILINE)
_MARKED = rf"((?:(?!\[\[|{re.escape(MARK_CLOSE)}).)*){re.escape(MARK_CLOSE)}"  # no mark within a mark
_STRUCK = re.compile(re.escape(STRUCK_OPEN) + _MARKED, re.DOTALL)
_ADDED = re.compile(re.escape(ADDED_OPEN) + _MARKED, re.DOTALL)
_FURNITURE = re.compile(
    r"""^[ \t]*(?:
        EXPLANATION\s*(?:--|—)\s*Matter\s(?:(?!\n\s*\n).){1,400}?(?:proposed\slanguage|to\sbe\somitted)\.  # footnotes
      | LBD\d[\w-]*                                                     # New York's drafting number
      | (?:[A-Z]{1,4}\.?[ ]?){1,2}[ ]?\d{1,5}(?:-{1,2}[A-Z])?[ ]+\d{1,4}  # "HB 2240 2", "A. 4021--A  2"
      | \d{1,4}[ ]+(?:[A-Z]{1,4}\.?[ ]?){1,2}[ ]?\d{1,5}(?:-{1,2}[A-Z])?  # "2  HB 2240"
      | •[ ]?[A-Z][A-Za-z. ]{0,12}\d{1,5}[ ][A-Z]{2,4}                  # Congress: "•HR 264 PCS"
      | [\ue000-\uf8ff✔]                                                # a printer's glyph
      | VerDate[ ][^\n]*                                                # Congress: the printer's line
    )[ \t]*$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
