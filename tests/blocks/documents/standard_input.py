"""A document piped into the command."""

from __future__ import annotations

import tempfile

import pytest

from blocks.documents import fetch_document
from schemas.bills import Document


async def fetch_from_standard_input(data: bytes) -> Document:
    """The document that `-` is while standard input holds `data`."""
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(data)
        file.seek(0)
        patch.setattr("sys.stdin", file)
        return await fetch_document("-")
