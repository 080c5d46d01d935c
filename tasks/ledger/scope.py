"""On whose behalf a call is made: the run and step in progress, as seen from anywhere below them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from tasks.ledger.operations import Attempt


@dataclass(frozen=True)
class CallScope:
    """What a call is for; project, user, nonce and repetition are part of its key.

    Attributes:
        attempt: the run in progress, and which execution of it this is.
        nonce: of a run started with `--fresh`.
        repetition: tells apart repeats that must differ.
        max_age: a stored answer older than this is not used again; the model is asked anew. None: however old.
        insight_type: column of the request's row, by which the keyword service finds its requests.
        version: of the model, as `PURPOSE/NUMBER`, where the call named a purpose.
    """

    project: str
    user: str | None = None
    attempt: Attempt | None = None
    step_id: UUID | None = None
    purpose: str | None = None
    nonce: str | None = None
    repetition: int = 0
    context: dict[str, Any] | None = None
    max_age: timedelta | None = None
    insight_type: str | None = None
    version: str | None = None


current_scope: ContextVar[CallScope | None] = ContextVar("headrace_scope", default=None)
"""Set by a run, refined by each of its steps."""
