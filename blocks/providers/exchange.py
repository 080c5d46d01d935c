"""What went over the wire in one call, kept whether the call succeeded or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.calls import ProviderReply


@dataclass
class Exchange:
    """Filled in as a call goes on, so that a failed attempt can be recorded too.

    Attributes:
        request_bytes: the body as sent; None while nothing was handed to the network.
        status: HTTP status; None while no answer began.
        response_bytes: the body as received, without credentials; None while it is incomplete.
        reply: the answer as far as it could be read, also where the call then failed as refused: its
            usage says what it cost.
        job_id: under which a queue has taken the call on. Given before the call, that job is waited for
            and nothing is submitted.
        on_accepted: makes a new job's id durable.
        job_ms: how long the queue says the job took, waiting included.
    """

    request_bytes: bytes | None = None
    status: int | None = None
    response_bytes: bytes | None = None
    reply: ProviderReply | None = None
    job_id: str | None = None
    on_accepted: Callable[[str], Awaitable[None]] | None = None
    job_ms: int | None = None

    async def accepted(self, job_id: str) -> None:
        """The call was taken on as job `job_id`, and that is on record before anything else happens."""
        self.job_id = job_id
        if self.on_accepted is not None:
            await self.on_accepted(job_id)
