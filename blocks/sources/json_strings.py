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
_NEVER_IN_ESCAPES = frozenset(b" !#$%&'()*+,-.:;<=>?@[]^_`{|}~") | frozenset(range(0xC0, 0x100))
_SEARCHED_BYTES = 1 << 16
_WHOLE = re.compile(rb"(?:[^\\]|\\[^u]|\\u[0-9a-fA-F]{4})*", re.DOTALL)
_HALF_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})\Z")
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
    """A place in `block`, as late as is cheap, at which it can be cut; its length where there is none."""
    cut = block.rfind(b"}") + 1
    if cut:
        return cut
    for place in range(len(block) - 1, max(0, len(block) - _SEARCHED_BYTES), -1):
        if block[place] in _NEVER_IN_ESCAPES:
            return place
    whole = _WHOLE.match(block)
    cut = whole.end() if whole else 0
    half_pair = _HALF_PAIR.search(block[:cut])
    return (half_pair.start(1) if half_pair else cut) or len(block)


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
