"""Where a document comes from: a file, standard input, or the web."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

from blocks.documents.reading import read_document
from schemas.bills import Document
from schemas.errors import BadInput

MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class _Fetched:
    """The bytes of a source, and what the server says they are."""

    source: str
    data: bytes
    content_type: str | None = None
    charset: str | None = None


async def fetch_document(
    source: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_bytes: int = MAX_BYTES,
    as_markdown: bool = False,
) -> Document:
    """The document at `source`, as plain text.

    Args:
        source: a path, an http(s) URL (redirects are followed), or `-` for standard input.
        timeout_seconds: bound on the whole of a download.
        max_bytes: bound on the size, after decompression.
        as_markdown: headings, list items and code of HTML are marked as Markdown does.

    Raises:
        BadInput: there is nothing to read, or it is no text, Markdown, HTML, XML, LaTeX or PDF; the message
            is one sentence that names the source and says what would be right.
    """
    if source == "-":
        fetched = _Fetched("-", await _read_stdin(max_bytes))
    elif "://" in source:
        fetched = await _download(source, timeout_seconds, max_bytes)
    else:
        fetched = _Fetched(source, await asyncio.to_thread(_read_file, source, max_bytes))
    if len(fetched.data) > max_bytes:
        raise BadInput(f"{_name(fetched.source)} is larger than {_size(max_bytes)}; give a smaller file or split it")
    return await asyncio.to_thread(_read, fetched, as_markdown)


def _read(fetched: _Fetched, as_markdown: bool) -> Document:
    media_type, text, encoding = read_document(
        fetched.data,
        _name(fetched.source),
        fetched.source,
        fetched.content_type,
        fetched.charset,
        as_markdown=as_markdown,
    )
    return Document(
        source=shown_path(fetched.source),
        media_type=media_type,
        text=text,
        encoding=encoding,
        sha256=hashlib.sha256(fetched.data).hexdigest(),
    )


async def _read_stdin(max_bytes: int) -> bytes:
    """Standard input, read by a thread that nobody has to wait for: it may be a pipe or terminal left open."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(data: bytes | None) -> None:
        if done.cancelled():
            return
        if data is None:
            done.set_exception(BadInput("standard input is closed; pipe a bill into it, or name a file"))
        else:
            done.set_result(data)

    def read() -> None:
        try:
            data = _read_descriptor(sys.stdin.fileno(), max_bytes)
        except (OSError, ValueError, AttributeError):  # closed by the shell, by us, or never there
            data = None
        with suppress(RuntimeError):  # the loop is closed: whoever waited was interrupted
            loop.call_soon_threadsafe(settle, data)

    threading.Thread(target=read, name="standard-input", daemon=True).start()
    return await done


def _read_descriptor(descriptor: int, max_bytes: int) -> bytes:
    """As `_read_at_most`, without the lock of a file object, which a daemon thread must not hold at exit."""
    parts, size = [], 0
    while size <= max_bytes and (part := os.read(descriptor, min(_CHUNK_BYTES, max_bytes + 1 - size))):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _read_file(source: str, max_bytes: int) -> bytes:
    try:
        with Path(source).expanduser().open("rb") as file:
            return _read_at_most(file, max_bytes)
    except FileNotFoundError:
        raise BadInput(f"{source} does not exist; give a file, an http(s) URL, or - for standard input") from None
    except IsADirectoryError:
        raise BadInput(f"{source or '.'} is a folder; name a file in it") from None
    except PermissionError:
        raise BadInput(f"{source} may not be read by this user; change its permissions") from None
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL in it, ~nobody
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "that is no file name"
        raise BadInput(f"{source!r} cannot be opened ({reason}); give the path of a file") from None


def _read_at_most(file: BinaryIO, max_bytes: int) -> bytes:
    """All of `file`, or the first `max_bytes` + 1 bytes, which tell the caller that there is too much."""
    return file.read(max_bytes + 1)


async def _download(url: str, timeout_seconds: float, max_bytes: int) -> _Fetched:
    import aiohttp

    source = _without_credentials(url)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "headrace"}) as session,
            session.get(url, allow_redirects=True) as response,
        ):
            if response.status >= 400:
                raise BadInput(f"{source} answered {response.status} {response.reason or ''}; check the address")
            data = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > max_bytes:
                    break
            content_type = response.content_type if "Content-Type" in response.headers else None
            return _Fetched(source, bytes(data), content_type, response.charset)
    except TimeoutError:
        raise BadInput(
            f"{source} did not answer within {timeout_seconds:g} s; try again or download it first"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise BadInput(f"{source} {_failure(error)}; check the address and the connection") from None


def _failure(error: Exception) -> str:
    import aiohttp

    match error:
        case aiohttp.ClientConnectorDNSError():
            return "names a host that does not exist"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "has no valid certificate"
        case aiohttp.ClientConnectorError():
            return "cannot be reached"
        case aiohttp.TooManyRedirects():
            return "redirects without end"
        case aiohttp.InvalidURL() | ValueError():
            return "is not a valid address"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            return "broke off before the end"
    return "could not be fetched"


def _without_credentials(url: str) -> str:
    """`url` as it may be shown and stored."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadInput("the address given is not a valid URL; write https://host/path") from None
    if parts.scheme.lower() not in {"http", "https"}:
        raise BadInput(f"{parts.scheme}:// is not fetched; use http://, https://, a path, or - for standard input")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def shown_path(path: str) -> str:
    """`path` as text that can be stored: bytes of a name that are no UTF-8 stand as `\\xff`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _name(source: str) -> str:
    return "standard input" if source == "-" else shown_path(source)


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:g} MiB" if count >= 1024 * 1024 else f"{count} bytes"
