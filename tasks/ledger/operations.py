"""What can be recorded in the ledger, and what comes of it.

Whoever wants something recorded hands the recorder an operation and awaits its outcome. What is done
for a run names the attempt it belongs to, and is refused once another attempt has taken the run over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from schemas.calls import CostSource
from schemas.errors import HeadraceError
from tasks.ledger.bodies import Bodies, PackedBodies
from tasks.ledger.budgets import Reservation, UsageKey


@dataclass(frozen=True)
class Attempt:
    """One execution of a run; what it writes counts while the run's row names it."""

    run_id: UUID
    id: UUID


@dataclass(frozen=True)
class Reserved:
    """The row exists and its worst case is reserved: make the call now.

    Attributes:
        held: what is reserved, to be handed back when the request is settled.
    """

    request_id: UUID
    held: Reservation | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Answered:
    """The key has an answer, and its use is on record as a replay of the request that gave it.

    Attributes:
        request_id: row of this use.
        reply: the answer as `pack_reply` packed it.
        response: the body of an answer with vectors, deflated; None of any other.
        latency_ms: of the provider, at the time.
    """

    request_id: UUID
    reply: bytes
    response: bytes | None
    cost_source: CostSource
    latency_ms: int


@dataclass(frozen=True)
class Unfinished:
    """An earlier request of the key became a job whose end nobody recorded: wait for that job now.

    Its row keeps what it holds of budgets; the key is claimed for whoever settles it.

    Attributes:
        request_id: row of the earlier request.
        run_id: the run it belongs to.
        claim_id: under which the key is claimed now.
    """

    request_id: UUID
    job_id: str
    run_id: UUID | None
    claim_id: UUID


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


@dataclass(frozen=True)
class OverUserLimit:
    """The user has made as many requests in the last minute as they may; one more can be made in `seconds`."""

    seconds: float


@dataclass(frozen=True)
class NotAnswered:
    """The key has no answer to replay; nothing was written."""


ReserveOutcome = (
    Reserved | Answered | Unfinished | ClaimedElsewhere | NoRoom | UnpricedUnderBudget | OverUserLimit | NotAnswered
)


@dataclass(frozen=True)
class Reserve:
    """Claim `answer_key`, write the request's row and reserve its worst case: all or nothing.

    Where the key has an answer, the row is written as a replay of it.

    Attributes:
        row: columns of `llm_requests` known before the call.
        amount: worst case in US dollars; None where no price is known.
        unpriced_allowed: call it even where a limit is set and no price is known.
        max_age: an answer given longer ago is none.
        queued: calls of the model are jobs, of which an earlier one may be unfinished.
        user_limit: requests that its user may make in any minute; None where this one is not counted.
        replay_only: write nothing but a replay.
    """

    row: Mapping[str, Any]
    amount: Decimal | None
    timezone: str
    unpriced_allowed: bool = False
    attempt: Attempt | None = None
    max_age: timedelta | None = None
    queued: bool = False
    user_limit: int | None = None
    replay_only: bool = False

    @property
    def key(self) -> str:
        """The call's content key."""
        return str(self.row["answer_key"])

    @property
    def is_search(self) -> bool:
        """True for a search, whose answer stands only as long as `web_search_cache` has it."""
        return bool(self.row["kind"] == "search")

    @property
    def user(self) -> str:
        """Whose call it is."""
        return str(self.row["user_id"])

    @property
    def is_local(self) -> bool:
        """True where nobody can charge for the call, so that no budget needs to know of it."""
        return bool(self.row["cost_source"] == "local")

    @property
    def scopes(self) -> list[tuple[str, str]]:
        """Budget scopes (kind, id) of the call."""
        named = [("project", self.row["project"]), ("user", self.row["user_id"]), ("run", self.row["run_id"])]
        return [(kind, str(name)) for kind, name in named if name is not None]


@dataclass(frozen=True)
class Accepted:
    """The provider's queue has taken the request on: the job's id is on its row."""

    request_id: UUID
    job_id: str


@dataclass(frozen=True)
class Settle:
    """The outcome of a request: onto its row, out of its reservation, into `answers`.

    A request that was never reserved is not settled.

    Attributes:
        row: columns of `llm_requests` known after the call; always the same set.
        spent_usd: what counts as spent from now on; None for as much as was reserved.
        answers: the answer stands for its key from now on.
            Otherwise the key may be claimed anew.
        bodies: what goes into `llm_bodies`; not packed yet where it is large and goes ahead of the rest.
        cached: row of `web_search_cache` for a search that was answered.
        claim_id: under which the key is claimed, where that is not the row's id.
        held: what the row holds of budgets, where that is known; it never changes.
    """

    row: Mapping[str, Any]
    key: str
    worker_id: UUID
    spent_usd: Decimal | None
    answers: bool
    bodies: Bodies | PackedBodies | None
    cached: Mapping[str, Any] | None = None
    claim_id: UUID | None = None
    held: Reservation | None = None


@dataclass(frozen=True)
class BeginStep:
    """The step is on record as running, for the time that `row` says under `attempts`."""

    row: Mapping[str, Any]
    attempt: Attempt


@dataclass(frozen=True)
class EndStep:
    """The step's output or error is on record."""

    row: Mapping[str, Any]
    attempt: Attempt


@dataclass(frozen=True)
class BeginRun:
    """The run and its first attempt are on record, and what it may spend, if that is limited."""

    row: Mapping[str, Any]
    attempt_row: Mapping[str, Any]
    attempt: Attempt
    limit_usd: Decimal | None = None


@dataclass(frozen=True)
class EndRun:
    """The run's outcome is on record, and what its calls came to.

    Attributes:
        row: `id`, `status`, `result` (None keeps what is there) and `error`.
    """

    row: Mapping[str, Any]
    attempt: Attempt


Operation = BeginRun | Reserve | Accepted | Settle | BeginStep | EndStep | EndRun
Outcome = ReserveOutcome | HeadraceError | None
