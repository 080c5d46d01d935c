"""A fine-tuning job seen through: file uploaded, job created once, followed to its end, its model registered.

What a crash leaves at each point, and what the resumed run does:

1. before the job is created: the file's id may be on record, and is used again;
2. after it is created and before its id is stored: the job carries the run's id in its metadata and is found by it;
3. afterwards: the stored job is asked for, and no other is ever created.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from blocks.providers.fine_tuning import FineTuning, fine_tuning
from schemas.errors import BadInput, RetriesExhausted, TrainingFailed, TransientError
from schemas.fine_tuning import ENDED, FineTuneReport, FineTuneRequest, JobEvent, JobState
from schemas.versions import Lineage, VersionRecord
from tasks.ledger.retries import RetryPolicy
from tasks.ledger.runs import Run
from tasks.ledger.session import open_ledger
from tasks.versions.exports import export_of, training_path
from tasks.versions.jobs import JobRecord, begin_job, note_files, note_state, read_job
from tasks.versions.lineage import TrainingFile, read_training_file
from tasks.versions.registry import register_version

log = logging.getLogger(__name__)
T = TypeVar("T")
MILLION = 1_000_000


@dataclass(frozen=True)
class Moment:
    """Where the job stands; its text is for people."""

    status: str
    said: str
    percent: float | None

    def __str__(self) -> str:
        share = "" if self.percent is None else f", {self.percent:.0f} %"
        return f"fine-tuning {self.status}{share}{f': {self.said}' if self.said else ''}"


@dataclass
class JobProgress:
    """What was heard of the job so far."""

    status: str = "being prepared"
    said: str = ""
    percent: float | None = None
    seen: set[str] = field(default_factory=set)

    def now(self) -> Moment:
        """Where it stands."""
        return Moment(self.status, self.said, self.percent)

    def hear(self, event: JobEvent) -> None:
        """The event is taken note of, and in the log, once."""
        if event.id in self.seen:
            return
        self.seen.add(event.id)
        self.said = event.message
        if event.step is not None and event.total_steps:
            self.percent = min(100.0, 100 * event.step / event.total_steps)
        log.log(logging.INFO if event.level == "info" else logging.WARNING, "provider: %s", event.message)


async def fine_tune(run: Run, request: FineTuneRequest, progress: JobProgress) -> FineTuneReport:
    """The model is trained and the newest version for its purpose; nothing calls it until it is promoted.

    Raises:
        TrainingFailed: the provider ended the job without a model; the message has its reason.
        BadInput: a file is at fault, is of an export for something else, or has changed since the run began.
        NotFound: there is no export of the id that is given for a file.
        RetriesExhausted: the provider cannot be reached; the job goes on there, and resuming the run follows it.
        ConfigurationError: there is no such base model, or the key is wrong.
    """
    file = await asyncio.to_thread(read_training_file, await training_path(run.ledger, request.training_file))
    export = await export_of(run.ledger, file, request.method)
    record, resumed = await begin_job(run, request.base_model, file.sha256)
    async with fine_tuning(run.ledger.settings, request.base_model) as provider:
        work = _Work(run, request, provider, progress)
        job = record.job_id or await work.create(record, file, resumed=resumed)
        state = await work.follow(job)
    if state.status != "succeeded" or state.fine_tuned_model is None:
        raise _why_not(state)
    version = await _register(run, request, file, state, export)
    return FineTuneReport(
        run_id=run.id,
        purpose=version.purpose,
        version=version.number,
        model=version.model,
        base_model=request.base_model,
        job_id=state.id,
        training_file=str(file.path),
        training_sha256=file.sha256,
        training_rows=file.rows,
        trained_tokens=state.trained_tokens,
        cost_usd=version.cost_usd,
    )


class _Work:
    """One run's job on its way."""

    def __init__(self, run: Run, request: FineTuneRequest, provider: FineTuning, progress: JobProgress) -> None:
        self.run = run
        self.request = request
        self.provider = provider
        self.progress = progress

    async def create(self, record: JobRecord, file: TrainingFile, *, resumed: bool) -> str:
        """The id of the run's only job, which is on record."""
        if file.sha256 != record.training_sha256:
            raise BadInput(f"{file.path} has changed since run {self.run.id} began: begin a new run with it")
        training, validation = await self._files(record, file)
        may_be_there = resumed

        async def once() -> JobState:
            nonlocal may_be_there
            found = await self.provider.find(str(self.run.id)) if may_be_there else None
            may_be_there = True
            return found or await self.provider.create(self.request, training, validation, str(self.run.id))

        state = await self._patiently(once)
        await note_state(self.run, state)
        log.info("fine-tuning job %s of %s", state.id, self.request.base_model)
        return state.id

    async def _files(self, record: JobRecord, file: TrainingFile) -> tuple[str, str | None]:
        """Ids of the files at the provider, which are on record."""
        if record.training_file_id is not None:
            return record.training_file_id, record.validation_file_id
        self.progress.status = "uploads"
        training = await self._patiently(lambda: self.provider.upload(file.path))
        validation = None
        if self.request.validation_file:
            other = await asyncio.to_thread(read_training_file, Path(self.request.validation_file))
            validation = await self._patiently(lambda: self.provider.upload(other.path))
        await note_files(self.run, training, validation)
        return training, validation

    async def follow(self, job: str) -> JobState:
        """How the job ended; what is said of it meanwhile is shown."""
        status = None
        while True:
            state = await self._patiently(lambda: self.provider.look(job))
            for event in await self._patiently(lambda: self.provider.events(job)):
                self.progress.hear(event)
            self.progress.status = state.status.replace("_", " ")
            if state.status != status:
                await note_state(self.run, state)
                status = state.status
            if state.status in ENDED:
                return state
            await asyncio.sleep(self.request.poll_seconds)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` gives, tried again while the trouble passes."""
        settings = self.run.ledger.settings
        policy = RetryPolicy(settings.retry_attempts, settings.retry_seconds)
        began, attempt = time.monotonic(), 1
        while True:
            try:
                return await ask()
            except TransientError as error:
                pause = policy.pause(attempt, time.monotonic() - began, error)
                if pause is None:
                    raise RetriesExhausted(
                        f"the provider of {self.request.base_model} failed {attempt} times, last: {error}",
                        attempts=attempt,
                        last=error.code,
                    ) from error
            await asyncio.sleep(pause)
            attempt += 1


def _why_not(state: JobState) -> TrainingFailed:
    why = {"failed": "failed", "cancelled": "was cancelled"}.get(state.status, "ended without a model")
    said = f": {state.reason}" if state.reason else ""
    return TrainingFailed(f"fine-tuning job {state.id} {why}{said}", job=state.id, reason_code=state.code)


async def _register(
    run: Run, request: FineTuneRequest, file: TrainingFile, state: JobState, export: UUID | None
) -> VersionRecord:
    cost = state.cost_usd
    if cost is None and request.usd_per_million_tokens is not None and state.trained_tokens is not None:
        cost = Decimal(state.trained_tokens) * request.usd_per_million_tokens / MILLION
    lineage = Lineage(
        base_model=request.base_model,
        run_id=run.id,
        job_id=state.id,
        training_path=str(file.path.absolute()),
        training_sha256=file.sha256,
        training_rows=file.rows,
        export_id=request.export_id or (str(export) if export else None),
        trained_tokens=state.trained_tokens,
        cost_usd=cost,
    )
    assert state.fine_tuned_model is not None
    return await register_version(request.purpose, state.fine_tuned_model, lineage=lineage)


async def cancel_fine_tuning(run_id: UUID) -> JobState:
    """The run's job is cancelled at the provider; a process that follows it ends its run as failed.

    Raises:
        NotFound: the run has no job, or none was created.
        JobEnded, ConfigurationError, TransientError: as `FineTuning.cancel`.
    """
    async with open_ledger() as ledger:
        record = await read_job(ledger, run_id)
        async with fine_tuning(ledger.settings, record.base_model) as provider:
            job = record.job_id
            if job is None:
                found = await provider.find(str(run_id))
                if found is None:
                    raise BadInput(f"run {run_id} has created no job yet")
                job = found.id
            return await provider.cancel(job)
