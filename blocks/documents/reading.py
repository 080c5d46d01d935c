"""What kind of document some bytes are, and their text."""

from __future__ import annotations

import mimetypes
import re
from pathlib import PurePosixPath
from typing import get_args
from urllib.parse import urlsplit

from blocks.documents.decoding import decode
from schemas.bills import MediaType
from schemas.errors import BadInput

READABLE = "text, Markdown, HTML, XML, LaTeX or PDF"


def read_document(
    data: bytes,
    name: str,
    source: str,
    content_type: str | None = None,
    charset: str | None = None,
    *,
    as_markdown: bool = False,
) -> tuple[MediaType, str, str | None]:
    """Media type, text and encoding of `data`.

    Args:
        name: what messages call the document.
        source: path or URL, whose extension tells the type where `content_type` does not.
        content_type, charset: as a server declared them.
        as_markdown: headings, list items and code of HTML are marked as Markdown does.

    Raises:
        BadInput: it is empty, of another kind, or holds no text.
    """
    if not data.strip():
        raise BadInput(f"{name} is empty; give {READABLE}")
    for magic, kind in _OTHER_KINDS.items():
        if data.startswith(magic):
            raise BadInput(f"{name} is {kind}; save it as {READABLE}")
    media_type = _media_type(data, name, source, content_type)
    text, encoding = _text(data, name, media_type, charset, as_markdown)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise BadInput(f"{name} holds no text; give {READABLE}")
    return media_type, text, encoding


def _text(
    data: bytes, name: str, media_type: MediaType, charset: str | None, as_markdown: bool
) -> tuple[str, str | None]:
    if media_type == "application/pdf":
        from blocks.documents.pdf import pdf_text

        return pdf_text(data, name), None
    text, encoding = decode(data, name, charset, marked_up=media_type in {"text/html", "application/xml"})
    if media_type in {"text/html", "application/xml"}:
        from blocks.documents.markup import html_text, xml_text

        text = html_text(text, name, as_markdown=as_markdown) if media_type == "text/html" else xml_text(text, name)
    return text, encoding


def _media_type(data: bytes, name: str, source: str, content_type: str | None) -> MediaType:
    """The server's word if it is specific, else the extension, else what the first bytes look like."""
    if b"%PDF-" in data[:1024]:
        return "application/pdf"
    declared = _CONTENT_TYPES.get((content_type or "").lower(), content_type)
    if declared in get_args(MediaType) and declared != "text/plain":
        media_type: MediaType = declared  # type: ignore[assignment]
    elif declared in _SAYS_NOTHING:
        media_type = _type_by_name(data, name, source)
    else:
        raise BadInput(f"{name} is {declared}; give {READABLE}")
    if media_type == "application/pdf":
        raise BadInput(f"{name} is called a PDF but is none; give the PDF itself, or {READABLE}")
    return media_type


def _type_by_name(data: bytes, name: str, source: str) -> MediaType:
    path = urlsplit(source).path if "://" in source else source
    extension = PurePosixPath(path).suffix.lower()
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    guessed, _ = mimetypes.guess_type(f"bill{extension}")
    if guessed and guessed != "text/plain" and "://" not in source:
        raise BadInput(f"{name} is {guessed}; give {READABLE}")
    opening = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n")
    if _LOOKS_LIKE_HTML.match(opening):
        return "text/html"
    return "application/xml" if _LOOKS_LIKE_XML.match(opening) else "text/plain"


_EXTENSIONS: dict[str, MediaType] = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".xml": "application/xml",
    ".uslm": "application/xml",
    ".tex": "text/x-tex",
    ".latex": "text/x-tex",
    ".pdf": "application/pdf",
}
_CONTENT_TYPES: dict[str, str] = {
    "text/xml": "application/xml",
    "application/uslm+xml": "application/xml",
    "application/xhtml+xml": "text/html",
    "text/x-markdown": "text/markdown",
    "application/x-tex": "text/x-tex",
    "application/x-latex": "text/x-tex",
}
_SAYS_NOTHING = {None, "", "text/plain", "application/octet-stream", "binary/octet-stream"}
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"{\\rtf": "a Rich Text document",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"II*\x00": "a picture",
    b"MM\x00*": "a picture",
}
_LOOKS_LIKE_HTML = re.compile(rb"(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_LOOKS_LIKE_XML = re.compile(rb"<\?xml\b|<!doctype\b|<(?:\w+:)?(?:bill|resolution|amendment-doc)\b", re.IGNORECASE)
