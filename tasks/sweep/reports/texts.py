"""Texts that nobody chose, made fit to be shown."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_LONG_WORD = re.compile(r"\S{41,}")
BREAK_EVERY = 40
ZERO_WIDTH_SPACE = "\u200b"


def printable(said: str) -> str:
    """Control characters and halves of characters stand as U+FFFD; line ends are line feeds."""
    return _UNPRINTABLE.sub("\ufffd", said.replace("\r\n", "\n").replace("\r", "\n"))


def breakable(said: str) -> str:
    """Words longer than any number can be broken at the end of a line."""
    return _LONG_WORD.sub(_broken, said)


def _broken(word: re.Match[str]) -> str:
    said = word.group()
    pieces = (said[start : start + BREAK_EVERY] for start in range(0, len(said), BREAK_EVERY))
    return ZERO_WIDTH_SPACE.join(pieces)


def cut(said: str, most: int) -> str:
    """The beginning of a long text, with how much there is."""
    if len(said) <= most:
        return said
    return f"{said[:most]}… (the first {most:,} of {len(said):,} characters)"
