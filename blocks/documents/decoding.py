"""Bytes to text: the encoding as marked, as declared, or as detected."""

from __future__ import annotations

import codecs
import re

from schemas.errors import BadInput

_SAMPLE_BYTES = 64 * 1024
_CONTROLS = bytes([*range(9), *range(14, 27), *range(28, 32), 127])


def decode(data: bytes, name: str, charset: str | None, *, marked_up: bool) -> tuple[str, str]:
    """The text of `data` and the encoding it was read with.

    Tried in order: the byte order mark, the server's charset, for HTML and XML (`marked_up`) the
    document's own declaration, UTF-8, and what charset-normalizer finds. A declaration that does not
    fit the bytes is passed over.

    Raises:
        BadInput: it is binary, or no encoding fits.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark) and (text := _decoded(data[len(mark) :], marked)) is not None:
            return text, marked
    if _is_binary(data[:_SAMPLE_BYTES]):
        raise BadInput(f"{name} is binary; give text, Markdown, HTML, XML, LaTeX or PDF")
    declared = _declared(data) if marked_up else None
    for candidate in (charset, declared, "utf-8"):
        encoding = _usual_name(candidate)
        text = _decoded(data, encoding) if encoding else None
        if encoding and text is not None:
            return text, encoding
    return _detected(data, name)


def _detected(data: bytes, name: str) -> tuple[str, str]:
    """`data` in the likeliest encoding; windows-1252 before others that fit as well."""
    from charset_normalizer import from_bytes

    first = next((i for i in range(0, len(data), 4096) if not data[i : i + 4096].isascii()), 0)
    found = list(from_bytes(data[first : first + _SAMPLE_BYTES]))
    likeliest = [
        match.encoding for match in found if (match.chaos, -match.coherence) <= (found[0].chaos, -found[0].coherence)
    ]
    for encoding in sorted(likeliest, key=lambda encoding: encoding != "cp1252"):
        text = _decoded(data, encoding)
        if text is not None:
            return text, encoding
    raise BadInput(f"{name} is text in an encoding that was not recognised; save it as UTF-8")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError):
        return None
    return None if "\x00" in text else text


def _is_binary(sample: bytes) -> bool:
    """True when there are more control characters than any text has."""
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return b"\x00" in sample or controls > len(sample) / 100


def _declared(data: bytes) -> str | None:
    match = _DECLARATION.search(data, 0, 4096)
    return next(group for group in match.groups() if group).decode("ascii") if match else None


def _usual_name(encoding: str | None) -> str | None:
    """`encoding` as Python names it; Latin-1 and ASCII mean windows-1252, as they do in browsers."""
    if encoding is None or not _KNOWN.fullmatch(encoding.lower()):
        return None
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return None
    return "cp1252" if name in {"iso8859-1", "ascii"} else name


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARATION = re.compile(
    rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)|<meta[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE
)
_KNOWN = re.compile(
    r"utf-?(?:8|16|32)(?:-?[lb]e)?|(?:us-?)?ascii|iso-?8859-\d{1,2}|latin-?\d|windows-\d{3,4}|cp\d{3,4}|koi8-[ru]"
    r"|mac-?roman|macintosh|big5|gb2312|gbk|gb18030|euc-(?:jp|kr)|shift[-_]jis"
)
