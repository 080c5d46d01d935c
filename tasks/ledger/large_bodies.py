"""Bodies too large for a batch: they go ahead of the outcome they belong to, on connections of their own.

A batch is one message that Postgres reads as text, and everybody waits for it; what a hundred vectors take in it are
milliseconds for all calls at once. A process that ends in between leaves bodies of a request whose outcome is unknown.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from sqlalchemy.engine import URL

from blocks.binary_writes import BinaryWriter
from tasks.ledger.bodies import Bodies, PackedBodies
from tasks.ledger.operations import Settle

AT_ONCE = 4
"""Connections that are used for them."""

_STORE = """
    INSERT INTO llm_bodies (request_id, request, response, reply)
    SELECT id, %b, %b, %b FROM llm_requests WHERE id = %b AND status IN ('reserved', 'unknown')
    ON CONFLICT (request_id) DO UPDATE
    SET request = excluded.request, response = excluded.response, reply = excluded.reply
"""
"""Nothing where the request is settled: the first outcome counts, and its bodies stay."""


def has_large_bodies(settle: Settle) -> bool:
    """Whether they go ahead: those of an answer, as a failure must not take the place of one."""
    return isinstance(settle.bodies, Bodies)


class LargeBodies:
    """Stores them.

    Args:
        url: of the ledger's database.
    """

    def __init__(self, url: URL) -> None:
        self._writer = BinaryWriter(url, at_once=AT_ONCE)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def store(self, settle: Settle) -> Settle:
        """The bodies of `settle` are durable; returns what is left to be recorded.

        Where they cannot be stored now, that is all of it: a batch is tried again for as long as it takes.
        """
        assert isinstance(settle.bodies, Bodies)
        async with self._turns:
            stored, packed = await asyncio.to_thread(self._store, settle.bodies, settle.row["id"])
        return replace(settle, bodies=None if stored else packed)

    def _store(self, bodies: Bodies, request_id: UUID) -> tuple[bool, PackedBodies]:
        packed = bodies.packed()
        return self._writer.write(_STORE, (*packed, request_id)), packed

    async def close(self) -> None:
        """Its connections are closed."""
        await asyncio.to_thread(self._writer.close)
