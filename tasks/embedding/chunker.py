"""The chunker that a refresh uses where it is given no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from blocks.embedded.token_count import token_counter
from schemas.retrieval import ChunkLimits, ChunkPiece, MaterialFormat
from schemas.settings import Settings
from tasks.embedding.chunking import chunk_text, chunker_name
from tasks.embedding.pieces import Chunker

FORMATS: tuple[MaterialFormat, ...] = get_args(MaterialFormat)
UNSAID: MaterialFormat = "markdown"
"""The format of a material that does not say: forum exports hold Markdown, of which plain text is a part."""


def configured_chunker(settings: Settings) -> Chunker:
    """Cuts by structure, as long as HEADRACE_CHUNK_TOKENS and HEADRACE_CHUNK_OVERLAP say.

    Raises:
        BadInput: the overlap leaves too little room.
    """
    limits = ChunkLimits(settings.chunk_tokens, settings.chunk_overlap)

    def split(content: str, form: str | None) -> Sequence[ChunkPiece]:
        known = next((each for each in FORMATS if each == form), UNSAID)
        return chunk_text(content, format=known, limits=limits, count=token_counter())

    return Chunker(chunker_name(limits), split)
