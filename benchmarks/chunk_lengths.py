"""How long chunks should be to be found: what `python -m benchmarks.retrieval --chunk-tokens …` measures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from benchmarks.retrieval import (
    FORMER_WORDS,
    Collection,
    Cut,
    Embed,
    Vectors,
    embed_all,
    read_collection,
    try_collection,
    uncut,
)
from schemas.retrieval import ChunkLimits
from tasks.retrieval.bm25 import TEXTBOOK

OVERLAP = 0.12
"""Of a chunk, where chunks overlap: as of the default, 24 of 200 tokens."""


class LengthScore(BaseModel):
    """nDCG@10 of documents that are found by the best of their chunks; `tokens` is None where they were not cut."""

    collection: str
    tokens: int | None
    overlap: int
    chunks: int
    words: float
    vectors: float
    hybrid: float


class LengthReport(BaseModel):
    """All that was measured."""

    scores: list[LengthScore]


class Embedder:
    """Embeds each text once, however many ways of cutting make it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """As `embed_all`."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known |= dict(zip(new, embed_all(new, self._folder), strict=True))
        return np.stack([self._known[text] for text in texts])


def cut_to(limits: ChunkLimits) -> Cut:
    """Cuts as `headrace embed` does; a document without text is one passage, its title."""
    from blocks.embedded.token_counting import count_tokens
    from tasks.embedding.chunking import chunk_text

    def cut(text: str) -> Sequence[str]:
        pieces = chunk_text(text, format="text", limits=limits, count=count_tokens)
        return [piece.content for piece in pieces] or [text]

    return cut


def ways(lengths: Sequence[int]) -> list[ChunkLimits]:
    """Each length without overlap and with."""
    return [ChunkLimits(tokens, overlap) for tokens in lengths for overlap in (0, round(OVERLAP * tokens))]


async def try_length(url: str, collection: Collection, embed: Embed, limits: ChunkLimits | None) -> LengthScore:
    """What is reached with chunks of one length, in the database at `url`; None: documents that are not cut."""
    cut = uncut if limits is None else cut_to(limits)
    trial = await try_collection(url, collection, embed, cut, [TEXTBOOK])
    words, vectors, hybrid = (float(trial.ndcgs(mode).mean()) for mode in ("words", "vectors", "hybrid"))
    return LengthScore(
        collection=collection.name,
        tokens=limits.tokens if limits else None,
        overlap=limits.overlap if limits else 0,
        chunks=trial.passages,
        words=words,
        vectors=vectors,
        hybrid=hybrid,
    )


async def run_lengths(data: Path, vectors: Path | None, lengths: Sequence[int]) -> LengthReport:
    """Every length on every collection, each in a database of its own."""
    from benchmarks.servers import running_servers

    scores = []
    with running_servers(with_prefect=False) as servers:
        for name in FORMER_WORDS:
            collection, embed = read_collection(data / name), Embedder(vectors)
            for place, limits in enumerate([None, *ways(lengths)]):
                url = servers.stack.database_url(f"headrace_{name}_{place}")
                scores.append(await try_length(url, collection, embed, limits))
                print(scores[-1].model_dump_json(), file=sys.stderr)
    return LengthReport(scores=scores)


def show_lengths(report: LengthReport) -> None:
    """The table, for people."""
    print("collection   tokens  overlap  chunks    words  vectors   hybrid   (nDCG@10)")
    for score in report.scores:
        tokens = "uncut" if score.tokens is None else score.tokens
        print(
            f"{score.collection:12} {tokens:>6}  {score.overlap:7}  {score.chunks:6}  "
            f"{score.words:7.4f}  {score.vectors:7.4f}  {score.hybrid:7.4f}"
        )
