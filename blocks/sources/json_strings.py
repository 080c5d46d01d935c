"""The text inside a long JSON string, unescaped as a stream.

A block may be cut only where neither an escape nor a surrogate pair nor a UTF-8 character is torn.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import IO

import orjson

BLOCK_BYTES = 1 << 20
_LEAD = 0xC0
"""The first byte of a UTF-8 character of several bytes is at least this."""
_ESCAPE_BYTES = 6
_HIGH_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_STRAY_BACKSLASH = re.compile(r'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\')
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_STRAY_MARK = "\udc5c"
"""What Python's `surrogateescape` makes of a byte 0x5C: half a character, which readers replace and note."""


def unescaped_pieces(file: IO[bytes], offset: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The unescaped text between `offset` and `end`, as UTF-8, each piece with the offset after it."""
    while offset < end:
        block = os.pread(file.fileno(), min(BLOCK_BYTES, end - offset), offset)
        if not block:
            return
        if offset + len(block) < end:
            block = block[: safe_cut(block)]
        offset += len(block)
        yield unescape(block), offset


def plain_pieces(file: IO[bytes], offset: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The bytes between `offset` and `end`, each piece with the offset after it."""
    while offset < end:
        block = os.pread(file.fileno(), min(BLOCK_BYTES, end - offset), offset)
        if not block:
            return
        offset += len(block)
        yield block, offset


def safe_cut(block: bytes) -> int:
    """The last place in `block` at which it can be cut; its length where there is none."""
    cut = len(block)
    lead = next((place for place in range(cut - 1, max(cut - 5, -1), -1) if block[place] >= _LEAD), cut)
    cut = lead
    escape = block.rfind(b"\\", max(0, cut - _ESCAPE_BYTES), cut)
    if escape >= 0 and _begins_escape(block, escape):
        cut = escape
        before = cut - _ESCAPE_BYTES
        if before >= 0 and _HIGH_SURROGATE.match(block, before) and _begins_escape(block, before):
            cut = before
    return cut or len(block)


def _begins_escape(block: bytes, place: int) -> bool:
    """Whether the backslash at `place` is not itself escaped."""
    before = block[:place]
    return (place - len(before.rstrip(b"\\"))) % 2 == 0


def unescape(block: bytes) -> bytes:
    """The text that the inside of a JSON string stands for.

    What is no Unicode text, and a backslash that escapes nothing, is left in it as the escape of half a
    character: the reader of the inner JSON then notes it with the record it stands in.
    """
    try:
        text: str = orjson.loads(b'"%b"' % block)
        return text.encode()
    except orjson.JSONDecodeError:
        return _unescape_leniently(block)


def _unescape_leniently(block: bytes) -> bytes:
    text = block.decode("utf-8", "surrogateescape")
    text = _STRAY_BACKSLASH.sub(lambda found: found[1] or _STRAY_MARK, text)
    unescaped: str = json.loads(f'"{text}"', strict=False)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", unescaped).encode()
