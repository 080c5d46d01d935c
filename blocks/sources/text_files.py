"""Text files as UTF-8 bytes: byte order marks are passed over; gzip, UTF-16 and UTF-32 are read from a copy."""

from __future__ import annotations

import codecs
import gzip
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from blocks.sources.records import open_file, unreadable_file
from schemas.errors import BadInput

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BLOCK_CHARACTERS = 1 << 20
_GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class Utf8File:
    """A text file, open as UTF-8 bytes.

    Attributes:
        path: the file as it was named.
        file: its bytes, or those of a copy in UTF-8.
        begins: the offset after a byte order mark.
        problem: a sentence when it was not plain UTF-8, else "".
    """

    path: Path
    file: IO[bytes]
    begins: int = 0
    problem: str = ""

    def size(self) -> int:
        """Its length in bytes, the mark included."""
        return self.file.seek(0, 2)

    def close(self) -> None:
        """The file is closed; a copy is gone."""
        self.file.close()


def open_utf8(path: Path) -> Utf8File:
    """The file at `path`, unpacked if it is gzip, as UTF-8 bytes.

    Raises:
        BadInput: it cannot be read, is empty, or is damaged gzip.
    """
    file, problems = open_file(path), []
    head = _head(path, file)
    if head.startswith(_GZIP):
        file, problems = _unpacked(path, file), ["the file is gzip; an unpacked copy was read"]
        head = _head(path, file)
    encoding, begins = _encoding(head)
    if encoding != "utf-8":
        file.seek(begins)
        with file:
            file, begins = _copy(file, encoding), 0
        problems.append(f"the file is {encoding.upper()}; a copy in UTF-8 was read")
    elif begins:
        problems.append("the file begins with a byte order mark, which was passed over")
    return Utf8File(path, file, begins, "; ".join(problems))


def _head(path: Path, file: IO[bytes]) -> bytes:
    """The first bytes of `file`, which is closed if there are none."""
    try:
        head = file.read(4)
        file.seek(0)
    except OSError as error:
        file.close()
        raise unreadable_file(path, error) from error
    if not head:
        file.close()
        raise BadInput(f"{path} is empty", path=str(path))
    return head


def _unpacked(path: Path, file: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with file, gzip.GzipFile(fileobj=file) as packed:
            shutil.copyfileobj(packed, copy, _BLOCK_CHARACTERS)
    except (OSError, EOFError, zlib.error) as error:
        copy.close()
        raise BadInput(f"{path} is damaged gzip: {error}", path=str(path)) from error
    copy.seek(0)
    return copy


def _encoding(head: bytes) -> tuple[str, int]:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    if head[1:2] == b"\x00" and head[:1] != b"\x00" and head[3:4] in (b"\x00", b""):
        return "utf-16-le", 0
    if head[:1] == b"\x00" and head[1:2] not in (b"\x00", b""):
        return "utf-16-be", 0
    return "utf-8", 0


def _copy(file: IO[bytes], encoding: str) -> IO[bytes]:
    """`file` in UTF-8; halves of characters stay, and are found by whoever reads it."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass" if "16" in encoding else "replace")
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        while block := file.read(_BLOCK_CHARACTERS):
            copy.write(decoder.decode(block).encode("utf-8", "surrogatepass"))
        copy.write(decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        copy.write("\ufffd".encode())
    return copy
