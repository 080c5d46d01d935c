"""The table that one value or file of JSON is: an array of records, one object, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from blocks.sources.json_array import JsonArray, Mark, Pieces, array_chunks
from blocks.sources.json_record import read_record
from blocks.sources.json_splitting import SPACE
from blocks.sources.records import Batch, RecordChunk, Unreadable, as_chunk, shown

PREFIX = "quokkaq."
LARGEST_OBJECT = 32 << 20
"""Bytes of a value that is one object and not an array."""
_WRAPPED = re.compile(rb'\{\s*"([^"\\]*)"\s*:\s*\[')


@dataclass(slots=True)
class JsonTable:
    """The records of one value or file of JSON: an array, an array wrapped under its own name, or one object.

    Attributes:
        name: the key without a prefix, or the file's name.
        pieces: reads its text from an offset on.
        begins: the offset of its first byte.
        where: how a place is told, with the index put in.
        truncated: the file ends before the value does.
    """

    name: str
    pieces: Pieces
    begins: int
    where: str
    truncated: bool = False
    _array: JsonArray | None = None

    def chunks(self, size: int, start: int = 0) -> Iterator[RecordChunk]:
        """The records from the index `start` on; an object is one record, null is none."""
        if self._array is None:
            beginning = self._beginning()
            if not isinstance(beginning, JsonArray):
                if start == 0 and beginning.after:
                    yield as_chunk(self.name, beginning)
                return
            self._array = beginning
        yield from array_chunks(self.name, self._array.batches(start), size, start)

    def place(self, index: int) -> str:
        """Where a record stands: `threads[12]`."""
        return self.where.format(index)

    def _beginning(self) -> JsonArray | Batch:
        """The array that the text holds, or all of it where it is none."""
        text, following = b"", self.begins
        for piece, after in self.pieces(self.begins):
            text, following = text + piece, after
            if text.lstrip(SPACE):
                break
        text = text.lstrip(SPACE)
        if text.startswith(b"["):
            return JsonArray(self.pieces, Mark(0, following, text[1:]))
        wrapped = _WRAPPED.match(text)
        if wrapped and table_name(wrapped[1].decode("utf-8", "replace")) == self.name:
            return JsonArray(self.pieces, Mark(0, following, text[wrapped.end() :]), tail=b"}")
        return self._single(text, following)

    def _single(self, text: bytes, following: int) -> Batch:
        """The one record that the text is, or why it is none; null is nothing at all."""
        for piece, _ in self.pieces(following):
            if len(text) > LARGEST_OBJECT:
                break
            text += piece
        text = text.strip(SPACE)
        if text == b"null":
            return Batch()
        if not text.startswith(b"{"):
            return _unreadable(
                "the value is plain text, not an array of records" if text else "the value is empty", text
            )
        if self.truncated or len(text) > LARGEST_OBJECT:
            return _unreadable("the object has no end, or is larger than 32 MB", text)
        found, notes = read_record(text, 0)
        if isinstance(found, Unreadable):
            return Batch(unreadable=[found], after=1)
        return Batch(range(1), [found], notes=[(0, note) for note in notes], after=1)


def _unreadable(reason: str, text: bytes) -> Batch:
    return Batch(unreadable=[Unreadable(0, reason, shown(text))], after=1)


def table_name(key: str) -> str:
    """`key` without the application's prefix."""
    return key.removeprefix(PREFIX)
