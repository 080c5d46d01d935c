"""Where the members of a JSON object stand in a file of any length, found in one pass without parsing them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import IO, Literal

from blocks.sources.json_splitting import SPACE, NestingScanner, without_escapes
from blocks.sources.json_strings import unescape

Shape = Literal["string", "nested", "plain"]
_BLOCK_BYTES = 1 << 20
_PLAIN_END = re.compile(rb"[,}\]\s]")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the object: its key, the shape of its value, and where that begins and ends.

    A string's place is inside its quotes, an array's or object's includes its brackets. `closed` is False when
    the file ends before the value does.
    """

    key: str
    shape: Shape
    begin: int
    end: int
    closed: bool = True


@dataclass(slots=True)
class MemberScan:
    """One pass over the object that begins at `begins` in `file`.

    Attributes:
        members: what was found.
        problems: what is wrong around the members, as sentences.
    """

    file: IO[bytes]
    begins: int = 0
    members: list[Member] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _position: int = 0
    _block: bytes = b""
    _offset: int = 0

    def run(self) -> str:
        """The members are known; returns the SHA-256 of all that was read, the whole file."""
        self.file.seek(0)
        self._refill()
        self._offset = self.begins
        if self._next() != b"{":
            raise ValueError("no object begins here")
        self._offset += 1
        while self._member():
            pass
        while self._refill():
            pass
        return self._digest.hexdigest()

    def _refill(self) -> bool:
        """The next block is there, unless the file is at its end."""
        self._position += len(self._block)
        self._block, self._offset = self.file.read(_BLOCK_BYTES), 0
        self._digest.update(self._block)
        return bool(self._block)

    def _here(self) -> int:
        return self._position + self._offset

    def _next(self) -> bytes:
        """The next byte that is no space, not taken; b"" at the end."""
        while True:
            rest = self._block[self._offset : self._offset + 64].lstrip(SPACE)
            if rest:
                self._offset += len(self._block[self._offset : self._offset + 64]) - len(rest)
                return rest[:1]
            self._offset += 64
            if self._offset >= len(self._block) and not self._refill():
                return b""

    def _member(self) -> bool:
        """One member, or the end of the object, has been taken; False when nothing more can be."""
        byte = self._next()
        if byte == b"}":
            self._offset += 1
            rest = self._next()
            if rest:
                self.problems.append(f"text follows the end of the object, at byte {self._here():,}")
            return False
        if byte == b",":
            self._offset += 1
            byte = self._next()
        if byte != b'"':
            what = (
                "the file ends before the object does" if not byte else "what stands there is no key; the rest is lost"
            )
            self.problems.append(f"{what}, at byte {self._here():,}")
            return False
        return self._key_and_value()

    def _key_and_value(self) -> bool:
        key = self._text()
        if self._next() != b":":
            self.problems.append(f"the key {key!r} has no value, at byte {self._here():,}; the rest is lost")
            return False
        self._offset += 1
        return self._value(key)

    def _text(self) -> str:
        """The short string that begins here."""
        begin, end, _ = self._string(keep := bytearray())
        return unescape(bytes(keep[: max(0, end - begin)])).decode()[:200]

    def _value(self, key: str) -> bool:
        byte = self._next()
        if not byte:
            self.problems.append(f"the file ends before the value of {key!r}")
            return False
        if byte == b'"':
            begin, end, closed = self._string(None)
            self.members.append(Member(key, "string", begin, end, closed))
        elif byte in b"[{":
            begin, end, closed = self._nested()
            self.members.append(Member(key, "nested", begin, end, closed))
        else:
            begin, end = self._plain()
            closed = True
            self.members.append(Member(key, "plain", begin, end))
        if not closed:
            self.problems.append(f"the file ends in the middle of the value of {key!r}")
        return closed

    def _string(self, keep: bytearray | None) -> tuple[int, int, bool]:
        """Begin and end of the string whose quote stands here, and whether it has an end; it is taken."""
        self._offset += 1
        begin, half_escape = self._here(), False
        while self._offset < len(self._block) or self._refill():
            rest = self._block[self._offset :] if self._offset else self._block
            masked = without_escapes(b"\\" + rest)[1:] if half_escape else without_escapes(rest)
            end = masked.find(b'"')
            if keep is not None and len(keep) < _BLOCK_BYTES:
                keep += rest[: end if end >= 0 else None]
            if end >= 0:
                self._offset += end + 1
                return begin, self._here() - 1, True
            half_escape = masked.endswith(b"\\")
            self._offset = len(self._block)
        return begin, self._here(), False

    def _nested(self) -> tuple[int, int, bool]:
        begin = self._here()
        self._offset += 1
        scanner = NestingScanner()
        while self._offset < len(self._block) or self._refill():
            end = scanner.feed(self._block[self._offset :])
            if end >= 0:
                self._offset += end
                return begin, self._here(), True
            self._offset = len(self._block)
        return begin, self._here(), False

    def _plain(self) -> tuple[int, int]:
        begin = self._here()
        while self._offset < len(self._block) or self._refill():
            match = _PLAIN_END.search(self._block, self._offset)
            self._offset = match.start() if match else len(self._block)
            if match:
                break
        return begin, self._here()
