"""What processes of their own embed in tests of the ledger."""

from __future__ import annotations

import asyncio

from tasks.ledger.calls import embed
from tasks.ledger.large_bodies import LargeBodies
from tasks.ledger.operations import Settle
from tasks.ledger.session import open_ledger
from tests.tasks.ledger.worker_process import say


async def embed_all(texts: list[str]) -> None:
    """Embeds `texts` in one request; says whether that was a replay."""
    async with open_ledger():
        found = await embed(texts)
    say({"replayed": found.replayed, "vectors": len(found.vectors)})


async def embed_and_stop(texts: list[str]) -> None:
    """As `embed_all`, and says when the bodies are stored, after which nothing happens."""
    store = LargeBodies.store

    async def stop(self: LargeBodies, settle: Settle) -> Settle:
        await store(self, settle)
        say("bodies are stored")
        await asyncio.Event().wait()
        return settle

    LargeBodies.store = stop  # type: ignore[method-assign]
    await embed_all(texts)
