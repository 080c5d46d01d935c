"""One job in a RunPod queue: submitted, waited for, stopped.

Operations and states: https://docs.runpod.io/serverless/endpoints/operation-reference. Results of
`/run` are kept for 30 minutes, those of `/runsync` for one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from blocks.providers.exchange import Exchange
from blocks.providers.failures import failure_of
from blocks.providers.http_client import Server, get, post
from blocks.providers.runpod_shapes import Job, read_status
from schemas.errors import HeadraceError, JobEnded, ProviderTimeout, ProviderUnavailable, TransientError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
LOOK_SECONDS = 15.0
"""For one look at a job; the next one may have more luck."""
STOP_SECONDS = 5.0
"""For cancelling a job and one last look at it."""
GONE = frozenset({400, 404, 410})
"""What RunPod answers for a job it does not know, or no longer."""
LONGEST_SYNC_WAIT_MS = 300_000


@dataclass
class QueuedJob:
    """The job that a call has become, or becomes; its id is in `exchange`.

    Attributes:
        has_run: a worker was seen to work on it.
    """

    session: aiohttp.ClientSession
    server: Server
    exchange: Exchange
    has_run: bool = False

    async def answered(self, *, sync: bool, seconds: float) -> Job:
        """The job when it is over; submitted first, unless the exchange names one that was.

        Args:
            sync: submit with `/runsync`.
            seconds: the caller waits no longer.

        Raises:
            HeadraceError: it could not be submitted, or not be looked at for a lasting reason.
            JobEnded: RunPod knows it no longer.
        """
        job = await self._submit(sync=sync, seconds=seconds) if self.exchange.job_id is None else await self.look()
        pause = FIRST_PAUSE_SECONDS
        while job is None or not job.is_over:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            job = await self.look()
        return job

    async def _submit(self, *, sync: bool, seconds: float) -> Job:
        """The queue has the job; its id is durable before anything else is done."""
        # RunPod is to answer with the id before the caller gives up: what has an id can be cancelled.
        wait_ms = min(max(round(seconds * 900), 1000), LONGEST_SYNC_WAIT_MS)
        path = f"/runsync?wait={wait_ms}" if sync else "/run"
        await post(self.session, self.server, path, self.exchange, timeout_seconds=seconds)
        job = read_status(self.exchange.response_bytes, self.server.origin)
        self.has_run = job.status in ("IN_PROGRESS", "RUNNING")
        if job.is_over:
            self.exchange.job_id = job.id
        else:
            await self.exchange.accepted(job.id)
        return job

    async def look(self) -> Job | None:
        """The job as it is now; None where that cannot be learnt at the moment.

        Raises:
            JobEnded: RunPod knows it no longer.
            HeadraceError: another look will not be answered either, say with this key.
        """
        self.exchange.status = 200  # it was accepted: whatever happens now, it may be carried out
        try:
            looked = await get(self.session, self.server, self._path("status"), timeout_seconds=LOOK_SECONDS)
        except (ProviderUnavailable, ProviderTimeout):
            return None
        origin, body = self.server.origin, looked.response_bytes or b""
        if looked.status in GONE:
            raise JobEnded(f"{origin.place} no longer knows the job", model=origin.model, status=looked.status)
        if looked.status != 200:
            failure = failure_of(looked.status or 0, {}, body, origin)
            if isinstance(failure, TransientError):
                return None
            raise failure
        try:
            job = read_status(body, origin)
        except ProviderUnavailable:
            return None
        self.exchange.response_bytes = body
        self.has_run = self.has_run or job.status in ("IN_PROGRESS", "RUNNING")
        return job

    async def stop(self) -> Job | None:
        """The job is cancelled, as far as that can be; returns it if it is over, which may be with an answer."""
        if self.exchange.job_id is None:
            return None
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._cancel()
                job = await self.look()
        except (TimeoutError, HeadraceError) as error:
            log.warning("job %s may still run at RunPod (%s)", self.exchange.job_id, type(error).__name__)
            return None
        if job is None or not job.is_over:
            return None
        if job.status == "CANCELLED" and job.execution_ms is None and not self.has_run:
            return job.model_copy(update={"execution_ms": 0.0})  # it never left the queue
        return job

    async def _cancel(self) -> None:
        try:
            await post(self.session, self.server, self._path("cancel"), Exchange(b""), timeout_seconds=STOP_SECONDS)
        except HeadraceError as error:  # it may be over; the look that follows tells
            log.info("job %s was not cancelled (%s)", self.exchange.job_id, type(error).__name__)

    def _path(self, operation: str) -> str:
        return f"/{operation}/{quote(self.exchange.job_id or '', safe='')}"
