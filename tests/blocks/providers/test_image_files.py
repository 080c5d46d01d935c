"""The files of generated images."""

from __future__ import annotations

import base64

import aiohttp
import pytest

from blocks.providers.failures import Origin
from blocks.providers.image_files import ImageSource, media_type_of, read_images
from schemas.errors import ContentRefused, HeadraceError, ProviderUnavailable
from tests.wire.openai_images import png

ORIGIN = Origin("painter", "the painter", "PAINTER_KEY")
ENCODED = base64.b64encode(png()).decode()


async def read(*sources: ImageSource, most: int = 2) -> list[bytes]:
    async with aiohttp.ClientSession() as session:
        return [image.data for image in await read_images(session, sources, most, ORIGIN, 5.0)]


async def test_bytes_and_addresses_that_hold_them_are_images() -> None:
    assert await read(ImageSource(ENCODED, None), ImageSource(None, f"data:image/png;base64,{ENCODED}")) == [png()] * 2


@pytest.mark.parametrize(
    ("sources", "expected", "said"),
    [
        ((), ContentRefused, "no image"),
        ((ImageSource(ENCODED, None),) * 3, ProviderUnavailable, "3 images where 2"),
        ((ImageSource("not base64", None),), ProviderUnavailable, "not base64"),
        ((ImageSource("", None),), ProviderUnavailable, "an image that is none"),
        ((ImageSource(None, None),), ProviderUnavailable, "without bytes or address"),
    ],
)
async def test_what_is_no_image_is_said(
    sources: tuple[ImageSource, ...], expected: type[HeadraceError], said: str
) -> None:
    with pytest.raises(expected, match=said):
        await read(*sources)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0 JFIF", "image/jpeg"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"GIF89a\x01", "image/gif"),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b'<?xml version="1.0"?>\n<!-- made --> <svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b"<html><svg>", None),
        (b"", None),
        (b"RIFF\x24\x00\x00\x00WAVE", None),
    ],
)
def test_a_file_is_what_its_first_bytes_say(data: bytes, kind: str | None) -> None:
    assert media_type_of(data) == kind
