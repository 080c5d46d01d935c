"""A JSON array of any length, read as a stream of batches.

The fast way parses a megabyte of elements at once. It guesses where the last whole element ends; that the stretch
up to there parses proves the guess, because a parser that stands at the array's own level after it would stand
there in the whole text too. Only where the guess fails are brackets counted.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from blocks.sources.json_salvage import Salvage, faithful, strictly
from blocks.sources.json_splitting import SPACE, last_comma
from blocks.sources.records import Batch, RecordChunk, as_chunk

LONGEST_RECORD = 32 << 20
"""Bytes that a record may have; a longer one is taken for a record whose end is missing."""
_KEPT_CARRY = 1 << 16
_BEGINNING = re.compile(rb'\{"[^"\\]*":(?:"[A-Za-z]{0,4})?')

Pieces = Callable[[int], Iterable[tuple[bytes, int]]]
"""From an offset on: pieces of text in order, each with the offset that follows it."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place to go on at: the next record's index, the offset of the next piece, and the text before that."""

    index: int
    offset: int
    carry: bytes


@dataclass(slots=True)
class JsonArray:
    """The records of one array.

    Attributes:
        pieces: reads the text.
        beginning: the place of the first element.
        tail: what may follow the array's closing bracket.
    """

    pieces: Pieces
    beginning: Mark
    tail: bytes = b""
    _marks: list[Mark] = field(default_factory=list)
    _separator: bytes = b"},{"
    _keys: tuple[str, ...] = ()

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """All places from `start` on, and perhaps some before it, in order."""
        mark = self._nearest(start)
        buffer, index, wanted = mark.carry, mark.index, 0
        for piece, following in self.pieces(mark.offset):
            buffer = buffer + piece if buffer else piece
            if len(buffer) < wanted:
                continue
            batch, consumed, ended = self._take(buffer, index)
            wanted = 0 if consumed else 2 * len(buffer)
            buffer, index = buffer[consumed:], batch.after
            yield batch
            if ended:
                return
            self._remember(Mark(index, following, buffer))
        yield self._salvage(buffer, index, final=True).batch

    def _nearest(self, start: int) -> Mark:
        place = bisect_right(self._marks, start, key=lambda mark: mark.index)
        return self._marks[place - 1] if place else self.beginning

    def _remember(self, mark: Mark) -> None:
        if len(mark.carry) <= _KEPT_CARRY and (not self._marks or mark.index > self._marks[-1].index):
            self._marks.append(mark)

    def _take(self, buffer: bytes, first: int) -> tuple[Batch, int, bool]:
        """The whole elements at the beginning of `buffer`, how many bytes they took, and whether the array ended."""
        for find in (self._guess, last_comma):
            cut = find(buffer)
            values = strictly(buffer[:cut]) if cut > 0 else None
            if values is not None:
                break
        else:
            cut = cut if cut > 0 else 0
        if values is not None and faithful(values, buffer[:cut]):
            self._learn(values, buffer)
            return Batch(range(first, first + len(values)), values, after=first + len(values)), cut + 1, False
        if cut == 0 and len(buffer) < LONGEST_RECORD:
            return Batch(after=first), 0, False
        salvage = self._salvage(buffer, first, give_up=cut == 0)
        return salvage.batch, salvage.consumed, salvage.ended

    def _guess(self, buffer: bytes) -> int:
        return buffer.rfind(self._separator) + 1

    def _learn(self, values: list[Any], buffer: bytes) -> None:
        """How records of this array begin is known, so that guesses seldom hit an object inside one."""
        if not self._keys:
            self._keys = tuple(values[0])[:2]
            beginning = _BEGINNING.match(buffer)
            self._separator = b"}," + beginning[0] if beginning else self._separator

    def _salvage(self, text: bytes, first: int, *, final: bool = False, give_up: bool = False) -> Salvage:
        salvage = Salvage(text, final, give_up, self._keys, Batch(indexes=[], after=first))
        if final and self._read_end(salvage):
            return salvage
        salvage.read(self.tail)
        self._keys = self._keys or salvage.keys
        return salvage

    def _read_end(self, salvage: Salvage) -> bool:
        """Whether the last stretch is as it should be, whole elements and the closing bracket, and was read."""
        text = salvage.text.rstrip(SPACE).removesuffix(self.tail).rstrip(SPACE)
        first = salvage.batch.after
        values = strictly(text[:-1]) if text.endswith(b"]") else None
        if values is None or not faithful(values, text[:-1]):
            return False
        salvage.batch = Batch(range(first, first + len(values)), values, after=first + len(values))
        return True


def array_chunks(table: str, batches: Iterable[Batch], size: int, start: int) -> Iterator[RecordChunk]:
    """The places from `start` on, `size` at a time."""
    pending = Batch(after=start)
    begin = start
    for batch in batches:
        pending = _joined(pending, batch)
        while pending.after - begin >= size:
            yield from _chunk(table, pending, begin, begin + size)
            begin += size
        pending = _between(pending, begin, pending.after)
    if pending.after > begin:
        yield from _chunk(table, pending, begin, pending.after)


def _chunk(table: str, batch: Batch, begin: int, end: int) -> Iterator[RecordChunk]:
    """The places from `begin` to `end` as a chunk, unless nothing stands there."""
    cut = _between(batch, begin, end)
    if cut.records or cut.unreadable:
        yield as_chunk(table, cut)


def _joined(left: Batch, right: Batch) -> Batch:
    if not left.records and not left.unreadable:
        return right
    if not right.records and not right.unreadable:
        return left
    indexes = _as_range(left.indexes, right.indexes)
    return Batch(
        indexes if indexes is not None else [*left.indexes, *right.indexes],
        left.records + right.records,
        left.unreadable + right.unreadable,
        left.notes + right.notes,
        right.after,
    )


def _as_range(left: Any, right: Any) -> range | None:
    whole = isinstance(left, range) and isinstance(right, range) and left.stop == right.start
    return range(left.start, right.stop) if whole else None


def _between(batch: Batch, begin: int, end: int) -> Batch:
    """The places of `batch` from `begin` up to `end`."""
    low = bisect_left(batch.indexes, begin)
    high = bisect_left(batch.indexes, end)
    return Batch(
        batch.indexes[low:high],
        batch.records[low:high],
        [piece for piece in batch.unreadable if begin <= piece.index < end],
        [note for note in batch.notes if begin <= note[0] < end],
        end,
    )
