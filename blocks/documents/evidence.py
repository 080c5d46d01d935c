"""Is a quote in the bill? Decided without a model.

A quote is exact when its letters, digits and punctuation stand in the bill in the same order. What
is allowed to differ: white space, quotation marks, hyphens and dashes between words, line numbers
and running heads inside a sentence, punctuation at the quote's two ends, struck text left out of a
marked amendment, and capitals. (New York writes new matter in capitals; a quote in small letters is
the same quote if all else is equal. The bill's own characters are what is kept.) A quote with an
ellipsis is exact when its pieces stand in order within one section.

Everything else is at best approximate: "shall" is near "shall not". For the same reason a quote
that begins right after, or ends right before, a negation (`The board shall | not …`) is approximate.
"""

from __future__ import annotations

import heapq
import math
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from blocks.documents.normalization import (
    NormalizedText,
    mask_amendment_marks,
    mask_page_furniture,
    matching_key,
    normalize,
)
from schemas.bills import Located, Section, Span

NEAR = 0.8
"""Similarity from which the nearest text is called approximate rather than the quote missing."""

MIN_PIECE_WORDS = 3
"""A shorter piece beside an ellipsis could be found anywhere."""

MAX_OCCURRENCES = 100
MAX_NEAR_CHARACTERS = 4_000
"""Of a longer quote, only so much is compared when it is not there exactly."""

_FIRST_PIECES = 2_000
_WINDOWS, _BUCKET, _POSITIONS = 4, 16, 3_000
_FITTING_STEPS = 12


@dataclass(frozen=True)
class NormalizedBill:
    """A bill's text made ready for finding quotes in it; each form is made when it is first needed."""

    text: str
    sections: tuple[Section, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, text: str, sections: Sequence[Section] = ()) -> NormalizedBill:
        """The bill with `text`, split into `sections`."""
        return cls(text, tuple(sections))

    def reading(self, span: Span) -> str:
        """The text of `span` in one line, without line numbers and running heads: fit for a prompt."""
        return " ".join(span.of(self.masked).split())

    def section_at(self, offset: int) -> Span:
        """The span of the section that holds `offset`; the whole text where there are no sections."""
        for section in self.sections:
            if section.span.start <= offset < section.span.end:
                return section.span
        return Span(start=0, end=len(self.text))

    @cached_property
    def masked(self) -> str:
        """The text at equal length with line numbers and running heads as spaces."""
        return mask_page_furniture(self.text)

    def forms(self) -> Iterator[tuple[str, NormalizedText]]:
        """The forms a quote may be taken from, each with its key: clean, as amended, as printed."""
        yield self.masked, self._clean
        if self._amended is not None:
            yield self._amended
        if self._printed is not None:
            yield self.text, self._printed

    @cached_property
    def _clean(self) -> NormalizedText:
        return matching_key(self.masked)

    @cached_property
    def _amended(self) -> tuple[str, NormalizedText] | None:
        amended = mask_amendment_marks(self.masked)
        return None if amended == self.masked else (amended, matching_key(amended))

    @cached_property
    def _printed(self) -> NormalizedText | None:
        return None if self.masked == self.text else matching_key(self.text)

    @cached_property
    def words(self) -> _WordIndex:
        """Where each word stands, for finding the neighbourhood of an inexact quote."""
        return _WordIndex.of(self.masked)


@dataclass(frozen=True)
class _WordIndex:
    """The words of a text in small letters: offsets of each, and the positions at which each word stands."""

    normalized: NormalizedText
    lowered: str
    starts: array[int]
    positions: dict[str, array[int]]

    @classmethod
    def of(cls, text: str) -> _WordIndex:
        normalized = normalize(text)
        lowered = _lowered(normalized.text)
        starts = array("i")
        positions: dict[str, array[int]] = defaultdict(lambda: array("i"))
        for number, word in enumerate(_WORD.finditer(lowered)):
            starts.append(word.start())
            positions[word[0]].append(number)
        return cls(normalized, lowered, starts, dict(positions))


def locate(quote: str, bill: NormalizedBill, near: Span | None = None) -> Located:
    """Where `quote` stands in `bill`, and whether exactly.

    Of several exact places the one closest to `near` is taken, else the first. `similarity` of an
    inexact quote is the normalised InDel similarity (rapidfuzz's ratio) to the nearest text, 0 to 1.
    """
    words = len(_WORD.findall(quote))
    if not words:
        return Located(quote=quote, status="missing")
    pieces = _pieces(quote)
    for masked, key in bill.forms() if pieces else ():
        if places := _places(pieces, bill, masked, key):
            best = min(places, key=lambda span: _distance(span, near)) if near else places[0]
            return _located(quote, "exact", bill, _with_stop(quote, masked, best), words, 1.0, len(places))
    return _nearest(quote, bill, words)


def _pieces(quote: str) -> list[str]:
    """The keys of what stands between the ellipses of `quote`; none if a piece is too short to mean anything."""
    pieces = [piece.strip(_TRIMMED) for piece in _ELLIPSIS.split(quote) if _WORD.search(piece)]
    if len(pieces) > 1 and any(len(_WORD.findall(piece)) < MIN_PIECE_WORDS for piece in pieces):
        return []
    return [key for piece in pieces if (key := matching_key(piece).text.strip(_TRIMMED))]


def _places(pieces: list[str], bill: NormalizedBill, masked: str, key: NormalizedText) -> list[Span]:
    """The spans of the original at which the quote stands, whole or as pieces in order."""
    firsts = _occurrences(pieces[0], masked, key, 0, len(masked))
    if len(pieces) == 1:
        return list(islice(firsts, MAX_OCCURRENCES))
    found = (_in_order(pieces, first, bill, masked, key) for first in islice(firsts, _FIRST_PIECES))
    return list(islice((span for span in found if span), MAX_OCCURRENCES))


def _in_order(pieces: list[str], first: Span, bill: NormalizedBill, masked: str, key: NormalizedText) -> Span | None:
    """The span from `first` to the last of `pieces`, each after the one before and in the same section."""
    section_end = bill.section_at(first.start).end
    end = first.end
    for piece in pieces[1:]:
        span = next(_occurrences(piece, masked, key, end, section_end), None)
        if span is None:
            return None
        end = span.end
    return Span(start=first.start, end=end)


def _occurrences(wanted: str, masked: str, key: NormalizedText, start: int, end: int) -> Iterator[Span]:
    """Spans between the original offsets whose key is `wanted`, cut neither in a word nor beside a `not`."""
    last = key.offset_of(end)
    at = key.text.find(wanted, key.offset_of(start), last)
    while at >= 0:
        span = key.original_span(at, at + len(wanted))
        if _stands_alone(masked, span):
            yield span
        at = key.text.find(wanted, at + 1, last)


def _stands_alone(masked: str, span: Span) -> bool:
    """True when `span` cuts no word or number in two and leaves out no negation right beside it."""
    before, after = masked[max(0, span.start - 40) : span.start], masked[span.end : span.end + 40]
    first, last = masked[span.start], masked[span.end - 1]
    if _cuts_word(before[-1:], first) or _cuts_word(last, after[:1]):
        return False
    if first.isdigit() and _NUMBER_BEFORE.search(before):
        return False
    if last.isdigit() and _NUMBER_AFTER.match(after):
        return False
    return not (_NEGATION_BEFORE.search(before) or _NEGATION_AFTER.match(after))


def _cuts_word(left: str, right: str) -> bool:
    """True between two letters or digits of a script that puts blanks between words."""
    return left.isalnum() and right.isalnum() and not (_UNSPACED.match(left) or _UNSPACED.match(right))


def _nearest(quote: str, bill: NormalizedBill, words: int) -> Located:
    """The text most like `quote`, as approximate where it is like enough."""
    from rapidfuzz import fuzz

    index = bill.words
    wanted = _lowered(normalize(quote).text).strip()[:MAX_NEAR_CHARACTERS]
    score, found = 0.0, (0, 0)
    for start, end in _windows(wanted, index):
        alignment = fuzz.partial_ratio_alignment(wanted, index.lowered[start:end], score_cutoff=score)
        if alignment is not None and alignment.score > score:
            score, found = alignment.score, (start + alignment.dest_start, start + alignment.dest_end)
    if not score:
        return Located(quote=quote, status="missing", words=words)
    fitted = _fitted(wanted, index, *found)
    span = _widened(bill.masked, index.normalized.original_span(*fitted))
    span = _with_stop(quote, bill.masked, span)
    similarity = fuzz.ratio(wanted, _lowered(normalize(span.of(bill.masked)).text)) / 100
    if similarity < NEAR:
        return Located(quote=quote, status="missing", similarity=round(similarity, 4), words=words)
    return _located(quote, "approximate", bill, span, words, similarity, 0)


def _fitted(wanted: str, index: _WordIndex, start: int, end: int) -> tuple[int, int]:
    """`start:end` grown or shrunk word by word at both ends for as long as it gets more like `wanted`."""
    from rapidfuzz import fuzz

    count = len(index.starts)
    first, last = max(0, bisect_right(index.starts, start) - 1), bisect_left(index.starts, end)

    def edges(bounds: tuple[int, int]) -> tuple[int, int]:
        after = index.starts[bounds[1]] if bounds[1] < count else len(index.lowered)
        begins = index.starts[bounds[0]]
        return begins, begins + len(index.lowered[begins:after].rstrip(_TRIMMED))

    def likeness(bounds: tuple[int, int]) -> float:
        begins, after = edges(bounds)
        return float(fuzz.ratio(wanted, index.lowered[begins:after]))

    best = (first, last)
    for _ in range(_FITTING_STEPS):
        first, last = best
        nearby = [(first - 1, last), (first, last + 1), (first + 1, last), (first, last - 1)]
        possible = [bounds for bounds in nearby if 0 <= bounds[0] < bounds[1] <= count]
        better = max(possible, key=likeness, default=best)
        if best[0] < best[1] and likeness(better) <= likeness(best):
            break
        best = better
    return edges(best) if best[0] < best[1] else (start, end)


def _windows(wanted: str, index: _WordIndex) -> Iterator[tuple[int, int]]:
    """Character ranges of the bill that share most, and most uncommon, words with `wanted`.

    Each place of an uncommon word says where the quote would begin; where most agree is looked at.
    """
    numbered = list(enumerate(_WORD.findall(wanted)))
    known = sorted((len(index.positions[word]), number, word) for number, word in numbered if word in index.positions)
    votes: defaultdict[int, float] = defaultdict(float)
    looked_at = 0
    for count, number, word in known:
        for position in index.positions[word][:_POSITIONS]:
            votes[(position - number) // _BUCKET] += math.log(1 + len(index.starts) / count)
        looked_at += count
        if looked_at > _POSITIONS:
            break
    neighbours = {begin: votes[begin] + votes.get(begin + 1, 0.0) for begin in list(votes)}
    for begin in heapq.nlargest(_WINDOWS, neighbours, key=neighbours.__getitem__):
        first = max(0, (begin - 1) * _BUCKET)
        last = (begin + 3) * _BUCKET + len(numbered)
        yield index.starts[first], index.starts[last] if last < len(index.starts) else len(index.lowered)


def _widened(masked: str, span: Span) -> Span:
    """`span` without loose space at its ends, grown by whole words until it cuts nothing in two."""
    piece = span.of(masked)
    start = span.start + len(piece) - len(piece.lstrip())
    end = max(start, span.start + len(piece.rstrip()))
    for _ in range(4):
        if start == end or _stands_alone(masked, Span(start=start, end=end)):
            break
        before, after = _LAST_TOKEN.search(masked, max(0, start - 40), start), _NEXT_TOKEN.match(masked, end)
        if before and not _stands_alone(masked, Span(start=start, end=len(masked))):
            start = before.start()
        elif after:
            end = after.end()
    return Span(start=start, end=end)


def _with_stop(quote: str, masked: str, span: Span) -> Span:
    """`span` with the closing punctuation of the bill, where the quote has some too."""
    closing = _CLOSING.match(masked, span.end)
    if closing is None or quote.rstrip()[-1:].isalnum():
        return span
    return Span(start=span.start, end=closing.end())


def _located(
    quote: str, status: str, bill: NormalizedBill, span: Span, words: int, similarity: float, occurrences: int
) -> Located:
    return Located.model_validate(
        {
            "quote": quote,
            "status": status,
            "start": span.start,
            "end": span.end,
            "text": span.of(bill.text),
            "similarity": round(similarity, 4),
            "words": words,
            "occurrences": occurrences,
        }
    )


def _distance(span: Span, near: Span) -> int:
    return max(near.start - span.end, span.start - near.end, 0)


def _lowered(text: str) -> str:
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else text


_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’.,-][^\W_]+)*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_TRIMMED = " \t\r\n.,;:…"
_ELLIPSIS = re.compile(r"\[?(?:\.\s?\.\s?\.(?:\s?\.)*|…+)\]?|(?:\*\s?){3,}")
_NEGATION_BEFORE = re.compile(r"\b(?:no|not|never|neither|nor)[\s\"'`“‘]+\Z", re.IGNORECASE)
_NEGATION_AFTER = re.compile(r"[\s\"'`”’]+(?:not|never|no)\b", re.IGNORECASE)
_NUMBER_BEFORE = re.compile(r"\d[.,]?\Z")
_NUMBER_AFTER = re.compile(r"[.,]?\d")
_CLOSING = re.compile(r"[.,;:]*(?:''|[\"”’])?[.,;:]*")
_LAST_TOKEN = re.compile(r"\S+\s*\Z")
_NEXT_TOKEN = re.compile(r"\s*\S+")
