"""Runs: one subject worked on by one flow, resumable, with one attempt at a time that counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from blocks.database import database_errors
from blocks.processes import ProcessIdentity, is_dead
from schemas.canonical import postgres_json, postgres_text, require_storable
from schemas.errors import DatabaseUnavailable, HeadraceError, LeaseLost, NotFound, RunBusy
from schemas.identifiers import new_id
from tasks.ledger.flights import Flights
from tasks.ledger.operations import Attempt, BeginRun, EndRun
from tasks.ledger.rows import insert_rows
from tasks.ledger.scope import CallScope, current_scope
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.workers import bury_dead_workers

log = logging.getLogger(__name__)

current_run: ContextVar[Run | None] = ContextVar("headrace_run", default=None)
resuming: ContextVar[UUID | None] = ContextVar("headrace_resuming", default=None)
"""Set by `run_flow(…, resume=RUN)`: the next run opened is this one, continued."""


INTERRUPTED = {"code": "cancelled", "message": "interrupted"}


class StoredStep(BaseModel):
    """A step of an earlier attempt."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    key: str
    status: str
    attempts: int
    output: dict[str, Any] | None = None


@dataclass
class Run:
    """A run in progress in this process.

    Attributes:
        result: set by the flow; stored when it ends well.
        steps: steps of earlier attempts, by key.
    """

    attempt: Attempt
    flow: str
    project: str
    subject: str
    ledger: Ledger
    user: str | None = None
    nonce: str | None = None
    result: dict[str, Any] | None = None
    steps: dict[str, StoredStep] = field(default_factory=dict)
    turns: Flights = field(default_factory=lambda: Flights(1))
    ordinal: int = 0

    @property
    def id(self) -> UUID:
        """The row in `runs`."""
        return self.attempt.run_id

    def next_ordinal(self) -> int:
        """The place of the next step, counted from 1 over all attempts."""
        self.ordinal += 1
        return self.ordinal


class RunRequest(BaseModel):
    """What is asked of a new run.

    Attributes:
        budget_usd: what it may spend, where that is less than HEADRACE_RUN_BUDGET_USD.
    """

    model_config = ConfigDict(frozen=True)

    flow: str
    subject: str
    project: str
    parameters: dict[str, Any]
    variant: str = ""
    user: str | None = None
    fresh: bool = False
    prefect_flow_run_id: UUID | None = None
    budget_usd: Decimal | None = None


@asynccontextmanager
async def open_run(request: RunRequest) -> AsyncIterator[Run]:
    """A run for the flow to work in, its outcome recorded when the block is left.

    A new run, unless this is a resume or Prefect's retry of the same flow run: then the earlier run goes
    on, its finished steps replayed.

    Raises:
        RunBusy: the run to resume is being worked on by a live process.
        NotFound: there is no run to resume with that id.
        BadInput: a name in the request cannot be stored.
    """
    for name in ("project", "variant", "user"):
        require_storable(getattr(request, name), name)
    request = request.model_copy(update={"subject": postgres_text(request.subject)})  # a file may be called anything
    async with open_ledger() as ledger:
        run = await _begin(ledger, request)
        run_token, scope_token = current_run.set(run), current_scope.set(_scope_of(run))
        log.info("run %s: %s", run.id, run.subject)
        try:
            yield run
        except HeadraceError as error:
            error.details.setdefault("run_id", str(run.id))
            await _end(run, "failed", {"code": error.code, "message": str(error), "details": error.details})
            raise
        except (asyncio.CancelledError, KeyboardInterrupt):
            await asyncio.shield(_end(run, "cancelled", INTERRUPTED))
            log.warning("run %s was interrupted; `headrace resume %s` goes on with it", run.id, run.id)
            raise
        except Exception as error:
            log.exception("run %s ended by a defect", run.id)
            message = f"unexpected {type(error).__name__}; the log has its traceback"
            await _end(run, "failed", {"code": "internal", "message": message})
            raise
        else:
            await _end(run, "completed", None)
        finally:
            ledger.attempts.discard(run.attempt.id)
            current_run.reset(run_token)
            current_scope.reset(scope_token)


def _scope_of(run: Run) -> CallScope:
    return CallScope(project=run.project, user=run.user, attempt=run.attempt, nonce=run.nonce)


async def _begin(ledger: Ledger, request: RunRequest) -> Run:
    resumed = resuming.get()
    resuming.set(None)
    if resumed is None and request.prefect_flow_run_id is not None:
        begun = await _begun_earlier(ledger, request.prefect_flow_run_id)
        resumed = begun.get((request.flow, request.subject, request.variant))
    if resumed is None:
        return await _create(ledger, request)
    await bury_dead_workers(ledger.engine, ledger.worker.id)
    with database_errors():
        async with ledger.engine.begin() as connection:
            run = await connection.run_sync(_take_over, ledger, resumed, request)
    ledger.attempts.add(run.attempt.id)
    return run


async def _create(ledger: Ledger, request: RunRequest) -> Run:
    attempt = Attempt(new_id(), new_id())
    nonce = str(new_id()) if request.fresh else None
    row = {
        "id": attempt.run_id,
        "flow": request.flow,
        "project": request.project,
        "subject": request.subject,
        "variant": request.variant,
        "parameters": postgres_json(request.parameters),
        "nonce": nonce,
        "attempt_id": attempt.id,
    }
    attempt_row = _attempt_row(ledger, attempt, request.prefect_flow_run_id)
    beginning = BeginRun(row, attempt_row, attempt, _budget_of(request, ledger))
    unheard = EndRun({"id": attempt.run_id, "status": "cancelled", "result": None, "error": INTERRUPTED}, attempt)
    await ledger.recorder.record(beginning, otherwise=lambda: unheard)
    ledger.attempts.add(attempt.id)
    if request.prefect_flow_run_id in ledger.begun:
        ledger.begun[request.prefect_flow_run_id][request.flow, request.subject, request.variant] = attempt.run_id
    return Run(attempt, request.flow, request.project, request.subject, ledger, request.user, nonce)


def _budget_of(request: RunRequest, ledger: Ledger) -> Decimal | None:
    """The smaller of what the request and the settings allow."""
    set_ones = [usd for usd in (request.budget_usd, ledger.settings.run_budget_usd) if usd is not None]
    return min(set_ones, default=None)


def _attempt_row(ledger: Ledger, attempt: Attempt, flow_run_id: UUID | None) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "run_id": attempt.run_id,
        "worker_id": ledger.worker.id,
        "prefect_flow_run_id": flow_run_id,
    }


_BEGUN = text("""
    SELECT DISTINCT ON (runs.flow, runs.subject, runs.variant) runs.flow, runs.subject, runs.variant, runs.id
    FROM runs JOIN run_attempts ON run_attempts.run_id = runs.id
    WHERE run_attempts.prefect_flow_run_id = :flow_run ORDER BY runs.flow, runs.subject, runs.variant, runs.id
""")


async def _begun_earlier(ledger: Ledger, flow_run_id: UUID) -> dict[tuple[str, str, str], UUID]:
    """Runs that the Prefect flow run has begun, in this process or an earlier one, by flow, subject and variant."""
    if flow_run_id not in ledger.begun:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(_BEGUN, {"flow_run": flow_run_id})).all()
        ledger.begun.setdefault(flow_run_id, {(row.flow, row.subject, row.variant): row.id for row in rows})
    return ledger.begun[flow_run_id]


_RUN = """
    SELECT runs.*, run_attempts.worker_id, workers.pid, workers.host, workers.process_started,
           workers.lease_until >= clock_timestamp() AS alive
    FROM runs
    LEFT JOIN run_attempts ON run_attempts.id = runs.attempt_id AND run_attempts.ended_at IS NULL
    LEFT JOIN workers ON workers.id = run_attempts.worker_id
    WHERE runs.id = :run
"""
_LOOK_AT_RUN, _LOCK_RUN = text(_RUN), text(f"{_RUN} FOR UPDATE OF runs")
HOLD_RUN = text("SELECT 1 FROM runs WHERE id = :run AND attempt_id = :attempt FOR KEY SHARE")


async def hold_run(connection: AsyncConnection, attempt: Attempt) -> None:
    """The run stays this attempt's until the transaction of `connection` ends.

    Raises:
        LeaseLost: another attempt has taken it over; nothing of this one may be written any more.
    """
    await connection.run_sync(hold_run_here, attempt)


def hold_run_here(connection: Connection, attempt: Attempt) -> None:
    """As `hold_run`, for a connection without an event loop."""
    if connection.execute(HOLD_RUN, {"run": attempt.run_id, "attempt": attempt.id}).first() is None:
        raise LeaseLost("another attempt has taken this run over; its record is the one that counts")


_SUPERSEDE = text("""
    UPDATE run_attempts SET ended_at = clock_timestamp(), outcome = 'crashed' WHERE run_id = :run AND ended_at IS NULL
""")
_HAND_OVER = text("""
    UPDATE runs SET attempt_id = :attempt, status = 'running', error = NULL, completed_at = NULL WHERE id = :run
""")
_STEPS = text("SELECT id, key, status, attempts, output FROM steps WHERE run_id = :run")


def _at_work(row: Row[Any], ledger: Ledger) -> bool:
    """Whether a live process works on the run that `_LOCK_RUN` found.

    Of a dead one the lease may not be over yet: somebody else is about to end it, or what the process sent last has
    renewed it since.
    """
    if row.worker_id == ledger.worker.id:
        return row.attempt_id in ledger.attempts
    return bool(row.alive) and not is_dead(ProcessIdentity(row.host, row.pid, row.process_started))


def _take_over(connection: Connection, ledger: Ledger, run_id: UUID, request: RunRequest) -> Run:
    """The run is this worker's from now on; late writes of the attempt before are fenced off."""
    row = connection.execute(_LOCK_RUN, {"run": run_id}).first()
    if row is None:
        raise NotFound(f"there is no run {run_id}", run_id=str(run_id))
    if _at_work(row, ledger):
        raise RunBusy(f"run {run_id} is being worked on by process {row.pid} of {row.host}", run_id=str(run_id))
    attempt = Attempt(run_id, new_id())
    connection.execute(_SUPERSEDE, {"run": run_id})
    connection.execute(_HAND_OVER, {"run": run_id, "attempt": attempt.id})
    insert_rows(connection, "run_attempts", [_attempt_row(ledger, attempt, request.prefect_flow_run_id)])
    steps = {step.key: StoredStep(**step._mapping) for step in connection.execute(_STEPS, {"run": run_id})}
    return Run(
        attempt=attempt,
        flow=row.flow,
        project=row.project,
        subject=row.subject,
        ledger=ledger,
        user=request.user,
        nonce=row.nonce,
        result=row.result,
        steps=steps,
        ordinal=len(steps),
    )


_CRASHED = text("""
    UPDATE runs SET attempt_id = NULL, status = 'crashed', completed_at = clock_timestamp() WHERE id = :run
""")


async def end_if_crashed(ledger: Ledger, run_id: UUID) -> None:
    """A run whose process is dead is no longer running but crashed, and what that attempt writes late is fenced off."""
    await bury_dead_workers(ledger.engine, ledger.worker.id)
    with database_errors():
        async with ledger.engine.begin() as connection:
            await connection.run_sync(_end_if_crashed, ledger, run_id)


def _end_if_crashed(connection: Connection, ledger: Ledger, run_id: UUID) -> None:
    for statement in (_LOOK_AT_RUN, _LOCK_RUN):  # who is at work holds the row, and is not waited for
        row = connection.execute(statement, {"run": run_id}).first()
        if row is None or row.status != "running" or _at_work(row, ledger):
            return
    connection.execute(_SUPERSEDE, {"run": run_id})
    connection.execute(_CRASHED, {"run": run_id})


async def _end(run: Run, status: str, error: dict[str, Any] | None) -> None:
    """The run's outcome is on record, unless another attempt has taken it over."""
    row = {
        "id": run.id,
        "status": status,
        "result": postgres_json(run.result) if run.result else None,
        "error": postgres_json(error) if error else None,
    }
    try:
        await run.ledger.recorder.record(EndRun(row, run.attempt))
    except (LeaseLost, DatabaseUnavailable) as problem:
        if status == "completed":
            raise
        log.warning("the end of run %s is not on record: %s", run.id, problem)  # why it ended matters more
