"""Elements of a damaged or odd stretch of a JSON array: what can be read is read, the rest is named.

Good neighbours are parsed together; a stretch that a strict parser refuses or would change is split until the
culprits are alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from blocks.sources.json_record import no_record, read_record
from blocks.sources.json_splitting import SPACE, elements, last_comma, later_objects
from blocks.sources.records import Batch, Unreadable, shown

_FAN = 8
_CANDIDATES = 16
_RESTARTS = 64
_LONGEST_TOKEN = 12
"""Characters of what may be torn at the end of a text: a literal, a pair of escapes."""
_LONGEST_CANDIDATE = 1 << 18
_WINDOW_BYTES = 1 << 12
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


def damage(text: bytes) -> int | None:
    """Where `text`, elements that may go on, can be told to be wrong before its end; None where it cannot."""
    try:
        orjson.loads(b"[" + text)
    except orjson.JSONDecodeError as error:
        if 0 < error.pos < len(error.doc) - _LONGEST_TOKEN:
            return len(error.doc[1 : error.pos].encode())
    return None


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
    _indexes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batch.indexes = self._indexes

    def read(self, tail: bytes) -> None:
        """`batch` has all of the stretch that can be told; `tail` may follow the array's bracket."""
        at: int | None = 0
        size = _WINDOW_BYTES
        while at is not None:
            window = self.text[at : at + size]
            wrong = damage(window)
            if wrong is None and at + size >= len(self.text):
                at = self._read_rest(at, tail)
                continue
            comma = last_comma(window[:wrong])
            if comma >= 0:
                at = self._read_run(at, at + comma)
            elif wrong is not None:
                at = self._read_damaged(at, tail)
            size = _WINDOW_BYTES if wrong is not None else 4 * size if comma < 0 else 2 * size

    def _read_run(self, begin: int, end: int) -> int:
        """Whole elements have been read; returns where to go on."""
        text = self.text[begin:end]
        values = strictly(text)
        if values is not None and faithful(values, text):
            self._add(values)
            return end + 1
        self._resume_at = None
        self._read_spans([(first + begin, after + begin, stop) for first, after, stop in elements(text)])
        return self._resume_at or end + 1

    def _read_damaged(self, begin: int, tail: bytes) -> int | None:
        """The damaged element that begins here has been told; returns where to go on, None at the end."""
        size = _WINDOW_BYTES
        while True:
            _, end, stop = next(elements(self.text[begin : begin + size]))
            if stop or begin + size >= len(self.text):
                break
            following = self._next_record(begin, begin + size)
            if following is not None:
                self._name("the record has no end", self.text[begin:following])
                return following
            size *= 4
        if stop != ",":
            return self._read_rest(begin, tail)
        self._resume_at = None
        self._read_one((begin, begin + end, stop))
        return self._resume_at or begin + end + 1

    def _read_rest(self, at: int, tail: bytes) -> int | None:
        """All from here to the end has been told; returns a place to go on at if there is one."""
        self._resume_at = None
        self._restarts += 1
        spans = [(begin + at, end + at, stop) for begin, end, stop in elements(self.text[at:])]
        last = spans.pop()
        closed = bool(spans) and spans[-1][2] == "]"
        self._read_spans([] if closed and self._is_empty(spans) else spans)
        if self._resume_at is not None:
            return self._resume_at
        self.consumed = last[0]
        if closed:
            self._after_the_bracket(last, tail)
        elif self.final or (self.give_up and last[0] == 0):
            self._unfinished(last)
        return self._resume_at

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
        if values is not None and len(values) == len(spans):
            if faithful(values, text):
                self._add(values)
                return
            if dict not in set(map(type, values)):
                for (begin, end, _), value in zip(spans, values, strict=True):
                    self._name(no_record(value), self.text[begin:end].strip(SPACE))
                return
        step = -(-len(spans) // _FAN)
        for begin in range(0, len(spans), step):
            self._read_spans(spans[begin : begin + step])

    def _add(self, records: list[Any]) -> None:
        first = self.batch.after
        self._indexes.extend(range(first, first + len(records)))
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
