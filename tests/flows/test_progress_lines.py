"""What a terminal shows of the progress."""

from __future__ import annotations

import asyncio
import io
import logging
import sys

import pytest

from flows import migration_progress
from flows.migration_progress import showing
from tasks.embedding.progress import Progress as EmbeddingProgress
from tasks.migration.progress import Progress


class Terminal(io.StringIO):
    """One that tells when it first showed something."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = asyncio.Event()

    def isatty(self) -> bool:
        return True

    def write(self, said: str) -> int:
        if "loading" in said:
            self.shown.set()
        return super().write(said)


def test_a_phase_that_counts_nothing_yet_says_what_it_is_to_do() -> None:
    migration, embedding = Progress(), EmbeddingProgress()
    migration.begin("checking", 600_000)
    embedding.begin("embedding", 1_200)
    assert (str(migration.now()), str(embedding.now())) == ("checking: 600,000 rows", "embedding: 1,200")
    embedding.begin("building the index")
    assert str(embedding.now()) == "building the index …"


async def test_lines_of_the_log_do_not_run_into_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(migration_progress, "SECONDS", 0.0)
    handler = logging.StreamHandler(terminal)
    root = logging.getLogger()
    root.addHandler(handler)
    progress = Progress()
    progress.begin("loading", 10)
    try:
        async with showing(progress):
            await terminal.shown.wait()
            root.warning("load done")
        root.warning("afterwards")
    finally:
        root.removeHandler(handler)
    written = terminal.getvalue()
    assert "\r\x1b[2Kload done\n" in written
    assert written.endswith("\r\x1b[2Kafterwards\n")
    assert not handler.filters
