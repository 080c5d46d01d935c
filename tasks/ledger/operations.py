"""What can be recorded in the ledger, and what comes of it.

Whoever wants something recorded hands the recorder an operation and awaits its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.errors import HeadraceError
from tasks.ledger.budgets import UsageKey


@dataclass(frozen=True)
class Reserved:
    """The row exists and its worst case is reserved in `budget_keys`: make the call now."""

    request_id: UUID
    budget_keys: tuple[UsageKey, ...] = ()


@dataclass(frozen=True)
class Answered:
    """The key has an answer; replay the request that gave it."""

    request_id: UUID


@dataclass(frozen=True)
class ClaimedElsewhere:
    """Somebody else is answering the key; `abandoned` when their lease has run out."""

    abandoned: bool


@dataclass(frozen=True)
class NoRoom:
    """The call does not fit its budget.

    Attributes:
        key: the budget without room.
        may_fit_later: calls in flight hold reservations and may settle for less.
    """

    key: UsageKey
    limit_usd: Decimal
    spent_usd: Decimal
    may_fit_later: bool


@dataclass(frozen=True)
class UnpricedUnderBudget:
    """A limit is set and the model has no known price."""

    key: UsageKey


ReserveOutcome = Reserved | Answered | ClaimedElsewhere | NoRoom | UnpricedUnderBudget


@dataclass(frozen=True)
class Reserve:
    """Claim `answer_key`, write the request's row and reserve its worst case: all or nothing.

    Attributes:
        row: columns of `llm_requests` known before the call.
        amount: worst case in US dollars; None where no price is known.
        unpriced_allowed: call it even where a limit is set and no price is known.
    """

    row: Mapping[str, Any]
    amount: Decimal | None
    timezone: str
    unpriced_allowed: bool = False

    @property
    def key(self) -> str:
        """The call's content key."""
        return str(self.row["answer_key"])

    @property
    def scopes(self) -> list[tuple[str, str]]:
        """Budget scopes (kind, id) of the call."""
        named = [("project", self.row["project"]), ("user", self.row["user_id"]), ("run", self.row["run_id"])]
        return [(kind, str(name)) for kind, name in named if name is not None]


@dataclass(frozen=True)
class Settle:
    """The outcome of a request: onto its row, out of the reservation, into `answers`.

    Attributes:
        row: columns of `llm_requests` known after the call; always the same set.
        reserved_usd: what its reservation holds.
        spent_usd: what counts as spent from now on.
        answers: the answer stands for its key from now on.
            Otherwise the key may be claimed anew.
        bodies: what goes into `llm_bodies`: request, response and reply, deflated.
    """

    row: Mapping[str, Any]
    key: str
    worker_id: UUID
    budget_keys: tuple[UsageKey, ...]
    reserved_usd: Decimal
    spent_usd: Decimal
    answers: bool
    bodies: tuple[bytes, bytes | None, bytes | None] | None


@dataclass(frozen=True)
class Replay:
    """A row that says a stored answer was used again, for nothing."""

    row: Mapping[str, Any]


@dataclass(frozen=True)
class BeginStep:
    """The step is on record as running; a second attempt at it raises its count."""

    row: Mapping[str, Any]


@dataclass(frozen=True)
class EndStep:
    """The step's output or error is on record, if `attempt_id` still holds the run."""

    row: Mapping[str, Any]
    attempt_id: UUID


Operation = Reserve | Settle | Replay | BeginStep | EndStep
Outcome = ReserveOutcome | HeadraceError | None
