"""Elements of a damaged or odd stretch of a JSON array: what can be read is read, the rest is named.

Good neighbours are parsed together; a stretch that a strict parser refuses or would change is split until the
culprits are alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from blocks.sources.json_record import read_record
from blocks.sources.json_splitting import SPACE, elements, later_objects
from blocks.sources.records import Batch, Unreadable, shown

_FAN = 8
_CANDIDATES = 16
_RESTARTS = 64
_LONGEST_CANDIDATE = 1 << 20
_LONG_INTEGER = re.compile(rb"[:\[,]\s*-?\d{19}")
_FIRST_KEY = re.compile(rb'\s*\{\s*"([^"\\]*)"')
_ZEROS = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))

Span = tuple[int, int, str]


def strictly(text: bytes) -> list[Any] | None:
    """The elements in `text`, None when it is not valid JSON."""
    try:
        values: list[Any] = orjson.loads(b"[%b]" % text)
    except orjson.JSONDecodeError:
        return None
    return values


def faithful(values: list[Any], text: bytes) -> bool:
    """Whether `values`, parsed from `text`, are records that hold all that stood in it and can be stored.

    Written again, they are mostly the same bytes, which proves it. Else what parsing can lose is looked for: keys
    that stand twice, integers beyond 64 bits, NUL.
    """
    if not values or set(map(type, values)) != {dict}:
        return False
    try:
        written = orjson.dumps(values)
    except orjson.JSONEncodeError:
        return False  # nested too deeply
    if b"\\u0000" in text:
        return False
    if len(written) == len(text) + 2 and written[1:-1] == text:
        return True
    return (
        written.count(b'":') == _key_count(text)
        and b"\\u0022" not in text
        and not (b"0" * 19 in text.translate(_ZEROS) and _LONG_INTEGER.search(text))
    )


def _key_count(text: bytes) -> int:
    return text.count(b'":') or len(re.findall(rb'"\s+:', text))


@dataclass(slots=True)
class Salvage:
    """One stretch of an array, from the beginning of an element.

    Attributes:
        text: the stretch.
        final: nothing comes after it.
        give_up: its last element is not waited for any longer.
        keys: the first keys of this table's records, by which a record is known again after a damaged one.
        consumed: how far it was read.
        ended: the array ended, or what is left cannot be read.
    """

    text: bytes
    final: bool
    give_up: bool
    keys: tuple[str, ...]
    batch: Batch
    consumed: int = 0
    ended: bool = False
    _resume_at: int | None = None
    _restarts: int = 0

    def read(self, tail: bytes) -> None:
        """`batch` has all of the stretch that can be told; `tail` may follow the array's bracket."""
        at: int | None = 0
        while at is not None:
            self._resume_at = None
            self._read_from(at, tail)
            at = self._resume_at
            self._restarts += 1

    def _read_from(self, at: int, tail: bytes) -> None:
        spans = [(begin + at, end + at, stop) for begin, end, stop in elements(self.text[at:])]
        last = spans.pop()
        closed = bool(spans) and spans[-1][2] == "]"
        self._read_spans([] if closed and self._is_empty(spans) else spans)
        if self._resume_at is not None:
            return
        self.consumed = last[0]
        if closed:
            self._after_the_bracket(last, tail)
        elif self.final or self.give_up:
            self._unfinished(last)

    def _is_empty(self, spans: list[Span]) -> bool:
        """Whether nothing but space stands before the bracket of an array without elements."""
        begin, end, _ = spans[-1]
        return len(spans) == 1 and self.batch.after == 0 and not self.text[begin:end].strip(SPACE)

    def _read_spans(self, spans: list[Span]) -> None:
        """All of `spans` is in the batch, or a later place to go on at is set."""
        if not spans or self._resume_at is not None:
            return
        if len(spans) == 1:
            self._read_one(spans[0])
            return
        text = self.text[spans[0][0] : spans[-1][1]]
        values = strictly(text)
        if values is not None and len(values) == len(spans) and faithful(values, text):
            self._add(values)
            return
        step = -(-len(spans) // _FAN)
        for begin in range(0, len(spans), step):
            self._read_spans(spans[begin : begin + step])

    def _add(self, records: list[Any]) -> None:
        first = self.batch.after
        self.batch.indexes = [*self.batch.indexes, *range(first, first + len(records))]
        self.batch.records.extend(records)
        self.batch.after += len(records)
        self.keys = self.keys or tuple(records[0])[:2]

    def _read_one(self, span: Span) -> None:
        begin, end, _ = span
        text = self.text[begin:end].strip(SPACE)
        if not text:
            self._name("nothing stands where a record should be", b"")
            return
        found, notes = read_record(text, self.batch.after)
        if isinstance(found, Unreadable):
            following = self._next_record(begin, end)
            if following is not None:
                self._resume_at = following
                self._name(f"{found.reason}; the next record begins {following - begin:,} bytes on", text)
            else:
                self._name(found.reason, text)
            return
        self.batch.notes.extend((self.batch.after, note) for note in notes)
        self._add([found])

    def _next_record(self, begin: int, end: int) -> int | None:
        """Where in the damaged element from `begin` to `end` a record like its neighbours begins."""
        if self._restarts >= _RESTARTS:
            return None
        damaged = self.text[begin:end]
        first = _FIRST_KEY.match(damaged)
        for tried, offset in enumerate(later_objects(damaged)):
            if tried == _CANDIDATES:
                break
            candidate = self.text[begin + offset : begin + offset + _LONGEST_CANDIDATE]
            _, length, _ = next(elements(candidate))
            values = strictly(candidate[:length])
            if not values or not isinstance(values[0], dict) or not values[0]:
                continue
            keys = tuple(values[0])[:2]
            if keys == self.keys or (not self.keys and first and first[1] == keys[0].encode()):
                return begin + offset
        return None

    def _name(self, reason: str, text: bytes) -> None:
        self.batch.unreadable.append(Unreadable(self.batch.after, reason, shown(text)))
        self.batch.after += 1

    def _after_the_bracket(self, last: Span, tail: bytes) -> None:
        self.ended = True
        rest = self.text[last[0] :].strip(SPACE)
        self.consumed = len(self.text)
        if rest not in (tail, b""):
            self._name("text follows the end of the array", rest)

    def _unfinished(self, last: Span) -> None:
        rest = self.text[last[0] :].strip(SPACE)
        self._resume_at = self._next_record(last[0], last[1])
        if self._resume_at is not None:
            self._name("the record has no end", rest)
            return
        self.ended, self.consumed = True, len(self.text)
        if not rest:
            self._name("the source ends before the array does", b"")
            return
        found, _ = read_record(rest, self.batch.after)
        if isinstance(found, Unreadable):
            reason = "the source ends in the middle of the record" if self.final else "the record has no end"
            self._name(reason, rest)
        else:
            self._read_one((last[0], last[1], ""))
            self._name("the source ends before the array does", b"")
