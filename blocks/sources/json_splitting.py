"""Where the elements of a JSON array begin and end, found without parsing them.

Text here is the inside of an array, or a piece of it that begins at an element, as UTF-8 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SPACE = b" \t\r\n"
"""What JSON takes for white space, and nothing else."""
_COMMA, _CLOSING, _QUOTE = b',]"'
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)|[\[\]{},]', re.DOTALL)
_QUOTE_OR_BRACKET = re.compile(rb'["\[\]{}]')
_PASSES = 64
_NEXT_OBJECT = re.compile(rb"[}\]\"]\s*,\s*(?=\{)")


def without_escapes(text: bytes) -> bytes:
    """`text`, of the same length, with each escaped backslash or quote replaced: every quote left is a real one."""
    if b"\\" not in text:
        return text
    return text.replace(b"\\\\", b"..").replace(b'\\"', b"..")


def last_comma(text: bytes) -> int:
    """Where the last comma between two elements stands, -1 if there is none.

    Exact for valid JSON. Strings are left out by splitting at the quotes, the depth at the end is counted over the
    whole text at C speed, and only the last element or two are walked in Python, backwards.
    """
    parts = without_escapes(text).split(b'"')
    brackets = b"".join(parts[::2]).translate(None, _NOT_BRACKETS)
    opened = brackets.count(b"{") + brackets.count(b"[")
    depth = 2 * opened - len(brackets)
    position = len(text)
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number]
        if number % 2 == 0:
            depth, comma = _comma_from_the_end(part, depth)
            if comma >= 0:
                return position - len(part) + comma
        position -= len(part) + 1
    return -1


def _comma_from_the_end(part: bytes, depth: int) -> tuple[int, int]:
    for offset in range(len(part) - 1, -1, -1):
        byte = part[offset]
        if byte in b"]}":
            depth += 1
        elif byte in b"[{":
            depth -= 1
        elif byte == _COMMA and depth == 0:
            return depth, offset
    return depth, -1


def elements(text: bytes) -> Iterator[tuple[int, int, str]]:
    """Begin and end of each element of `text`, and what ends it: a comma, the array's bracket, or "" (the text's end).

    What follows the array's bracket is one more element, ended by "".
    """
    begin = depth = 0
    for token in _TOKEN.finditer(text):
        byte = token[0][0]
        if byte in b"[{":
            depth += 1
        elif byte in b"]}" and depth:
            depth -= 1
        elif depth == 0 and byte in b",]":
            yield begin, token.start(), chr(byte)
            begin = token.end()
            if byte == _CLOSING:
                break
    yield begin, len(text), ""


def later_objects(text: bytes) -> Iterator[int]:
    """Places in `text` after the first at which an object may begin that is an element of its own."""
    for match in _NEXT_OBJECT.finditer(text):
        yield match.end()


class NestingScanner:
    """Finds the end of an array or object that arrives in blocks, without its first bracket."""

    def __init__(self) -> None:
        self._depth = 1
        self._in_string = False
        self._half_escape = False

    def feed(self, block: bytes) -> int:
        """The place in `block` just after the closing bracket; -1 if that is not in it."""
        masked = without_escapes(b"\\" + block)[1:] if self._half_escape else without_escapes(block)
        self._half_escape = masked.endswith(b"\\")
        parts = masked.split(b'"')
        if self._in_string:
            parts.insert(0, b"")
        structure = b"".join(parts[::2]).translate(None, _NOT_BRACKETS)
        if self._closes(structure):
            return self._closing_place(masked)
        self._depth += 2 * (structure.count(b"{") + structure.count(b"[")) - len(structure)
        self._in_string = len(parts) % 2 == 0
        return -1

    def _closes(self, structure: bytes) -> bool:
        """Whether the depth falls to zero; balanced pairs are taken out first, so that little is left to count."""
        for _ in range(_PASSES):
            shorter = structure.replace(b"{}", b"").replace(b"[]", b"")
            if len(shorter) == len(structure):
                break
            structure = shorter
        depth = self._depth
        for byte in structure:
            depth += 1 if byte in b"[{" else -1
            if depth == 0:
                return True
        return False

    def _closing_place(self, masked: bytes) -> int:
        depth, in_string = self._depth, self._in_string
        for match in _QUOTE_OR_BRACKET.finditer(masked):
            byte = match[0][0]
            if byte == _QUOTE:
                in_string = not in_string
            elif not in_string:
                depth += 1 if byte in b"[{" else -1
                if depth == 0:
                    return match.end()
        raise AssertionError("the depth falls to zero, but nowhere")
