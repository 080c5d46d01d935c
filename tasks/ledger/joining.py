"""A run joined from another event loop or process, by those who do a part of its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from tasks.ledger.operations import Attempt
from tasks.ledger.runs import Run, current_run
from tasks.ledger.scope import CallScope, current_scope
from tasks.ledger.session import Ledger


class RunTicket(BaseModel):
    """What one needs to know of a run to work on it; its attempt still fences what is written.

    Attributes:
        step_id: the step that the work is of.
    """

    model_config = ConfigDict(frozen=True)

    run_id: UUID
    attempt_id: UUID
    flow: str
    project: str
    subject: str
    user: str | None
    nonce: str | None
    step_id: UUID | None

    @classmethod
    def of(cls, run: Run) -> RunTicket:
        """For work on `run`, within the step in progress."""
        scope = current_scope.get()
        return cls(
            run_id=run.id,
            attempt_id=run.attempt.id,
            flow=run.flow,
            project=run.project,
            subject=run.subject,
            user=run.user,
            nonce=run.nonce,
            step_id=scope.step_id if scope else None,
        )


@contextmanager
def join_run(ledger: Ledger, ticket: RunTicket) -> Iterator[Run]:
    """Inside, calls and rows belong to the run."""
    attempt = Attempt(ticket.run_id, ticket.attempt_id)
    run = Run(attempt, ticket.flow, ticket.project, ticket.subject, ledger, ticket.user, ticket.nonce)
    scope = CallScope(
        project=ticket.project, user=ticket.user, attempt=attempt, nonce=ticket.nonce, step_id=ticket.step_id
    )
    run_token, scope_token = current_run.set(run), current_scope.set(scope)
    try:
        yield run
    finally:
        current_run.reset(run_token)
        current_scope.reset(scope_token)
