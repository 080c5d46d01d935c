"""On whose behalf a call is made: the run and step in progress, as seen from anywhere below them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
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
    """

    project: str
    user: str | None = None
    attempt: Attempt | None = None
    step_id: UUID | None = None
    purpose: str | None = None
    nonce: str | None = None
    repetition: int = 0
    context: dict[str, Any] | None = None


current_scope: ContextVar[CallScope | None] = ContextVar("headrace_scope", default=None)
"""Set by a run, refined by each of its steps."""
