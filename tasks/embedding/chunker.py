"""The chunker that a refresh uses where it is given no other."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.embedded.token_counting import count_tokens
from schemas.retrieval import ChunkLimits, ChunkPiece
from schemas.settings import Settings
from tasks.embedding.chunking import chunk_text, chunker_name
from tasks.embedding.pieces import Chunker
from tasks.embedding.structure import material_format


def configured_chunker(settings: Settings) -> Chunker:
    """Cuts by structure, as long as HEADRACE_CHUNK_TOKENS and HEADRACE_CHUNK_OVERLAP say.

    Raises:
        BadInput: the overlap leaves too little room.
    """
    limits = ChunkLimits(settings.chunk_tokens, settings.chunk_overlap)

    def split(content: str, form: str | None) -> Sequence[ChunkPiece]:
        return chunk_text(content, format=material_format(content, form), limits=limits, count=count_tokens)

    return Chunker(chunker_name(limits), split)
