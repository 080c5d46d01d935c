"""The files of generated images: what they are by their first bytes, and fetching those that a provider only names."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from blocks.providers.failures import Origin, refused, unreadable
from blocks.providers.http_client import proxy_for
from schemas.calls import GeneratedImage, ProviderReply
from schemas.errors import AnswerRejected

MOST_BYTES = 64 << 20
"""Of one image: a raw one of 3840 x 2160 pixels is half of it."""
FETCH_ATTEMPTS = 3
MOST_REDIRECTS = 3

_BEGINNINGS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg[\s>]", re.DOTALL), "image/svg+xml"),
)


@dataclass(frozen=True)
class ImageSource:
    """One image of an answer: its bytes in base64, or where they are."""

    base64: str | None
    url: str | None
    revised_prompt: str | None = None


def media_type_of(data: bytes) -> str | None:
    """The type of image that `data` is, by its first bytes; None where it is none that is known."""
    return next((kind for beginning, kind in _BEGINNINGS if beginning.match(data[:1024])), None)


def before_reading(bare: ProviderReply, sources: Sequence[ImageSource]) -> ProviderReply | None:
    """What is certain of an answer before its images are read; None where it may be none at all.

    Images that are elsewhere are paid whether or not they can be fetched; where there is none, none is.
    """
    if not sources:
        return bare.model_copy(update={"images": ()})
    return None if all(source.base64 is not None for source in sources) else bare


async def read_images(
    session: aiohttp.ClientSession, sources: Sequence[ImageSource], most: int, origin: Origin, timeout_seconds: float
) -> tuple[GeneratedImage, ...]:
    """The images of an answer to a request for up to `most`, in its order; those elsewhere are fetched.

    Raises:
        ContentRefused: there is none, which is how providers leave out what their content rules forbid.
        ProviderUnavailable: there are more than asked for, or one is no image; it may be billed.
        AnswerRejected: one cannot be fetched. It is paid, and asking again would be paid again: its address is in
            the recorded answer.
    """
    if not sources:
        raise refused(origin, "no image")
    if len(sources) > most:
        raise unreadable(origin, f"{len(sources)} images where {most} were asked for")
    return tuple([await _read(session, source, origin, timeout_seconds) for source in sources])


async def _read(
    session: aiohttp.ClientSession, source: ImageSource, origin: Origin, timeout_seconds: float
) -> GeneratedImage:
    encoded = source.base64
    if encoded is None and source.url and source.url.startswith("data:"):
        encoded = source.url.partition(",")[2]
    if encoded is not None:
        data = _decoded(encoded, origin)
    elif source.url is not None:
        data = await _fetch(session, source.url, origin, timeout_seconds)
    else:
        raise unreadable(origin, "an image without bytes or address")
    kind = media_type_of(data)
    if kind is None:
        raise unreadable(origin, "an image that is none")
    return GeneratedImage(
        base64=base64.b64encode(data).decode("ascii"), media_type=kind, revised_prompt=source.revised_prompt
    )


def _decoded(encoded: str, origin: Origin) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise unreadable(origin, "an image that is not base64") from None


async def _fetch(session: aiohttp.ClientSession, url: str, origin: Origin, timeout_seconds: float) -> bytes:
    """The file at `url`; no credential goes there."""
    if not re.match(r"https?://[^/]", url):
        raise _not_fetched(origin, "its address is none of http or https")
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        try:
            async with asyncio.timeout(timeout_seconds):
                return await _download(session, url, origin)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            if attempt == FETCH_ATTEMPTS:
                raise _not_fetched(origin, type(error).__name__) from None
    raise AssertionError("the loop returns or raises")  # pragma: no cover


async def _download(session: aiohttp.ClientSession, url: str, origin: Origin) -> bytes:
    async with session.get(
        url, proxy=proxy_for(url), max_redirects=MOST_REDIRECTS, headers={"Accept": "image/*"}
    ) as response:
        response.raise_for_status()
        data = bytearray()
        async for part in response.content.iter_any():
            data += part
            if len(data) > MOST_BYTES:
                raise _not_fetched(origin, f"it is larger than {MOST_BYTES >> 20} MiB")
        return bytes(data)


def _not_fetched(origin: Origin, reason: str) -> AnswerRejected:
    return AnswerRejected(
        f"{origin.place} made an image that cannot be fetched ({reason}); its address is in the recorded answer",
        model=origin.model,
        reason=reason,
    )
