"""The one way a model is called: claimed, reserved, made, settled.

The order of one call, each step durable before the next begins, once it is its turn (`rate_limits`):

1. claim the call's key, write its row and reserve its worst case, in one transaction; or find the key
   answered (replay, nothing is paid), or claimed by somebody else (wait), or the budget without room;
2. call the provider, once;
3. settle: answer, usage and cost onto the row, the reservation released, the key answered or free.

A process that dies after 1 leaves a row that others turn into `unknown`, its worst case counted as
spent. Where the provider is a queue, its job's id is stored on the row as soon as it is known, and who
asks next waits for that job and settles that row. A caller that is cancelled in 1 leaves a row that is
withdrawn. A retry is a new row and begins at 1.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from blocks.providers.exchange import Exchange
from schemas.calls import (
    CallKind,
    ChatCall,
    CostEstimate,
    CostSource,
    EmbeddingCall,
    ImageCall,
    ModelInfo,
    ProviderCall,
    ProviderReply,
    RerankCall,
    SearchCall,
)
from schemas.canonical import content_key, postgres_json, require_storable
from schemas.errors import (
    BudgetExceeded,
    ConfigurationError,
    HeadraceError,
    JobEnded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RetriesExhausted,
)
from schemas.identifiers import new_id
from tasks.ledger.bodies import are_long, unpack_reply
from tasks.ledger.budgets import ZERO, Reservation
from tasks.ledger.estimates import describe_model, estimate_call
from tasks.ledger.operations import (
    Accepted,
    Answered,
    ClaimedElsewhere,
    NoRoom,
    NotAnswered,
    OverUserLimit,
    Reserve,
    Reserved,
    Settle,
    Unfinished,
    UnpricedUnderBudget,
)
from tasks.ledger.rate_limits import CallTurn
from tasks.ledger.retries import RetryPolicy
from tasks.ledger.scope import CallScope
from tasks.ledger.search_cache import cache_row, search_key
from tasks.ledger.session import Ledger
from tasks.ledger.settlement import Settlement

FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5

Call = ProviderCall


@dataclass(frozen=True)
class CallOutcome:
    """An answer with its record.

    Attributes:
        request_id: row of `llm_requests` of this use of the answer; feedback refers to it.
        replayed: the answer was stored; nothing was paid for this use.
        cost_usd: what this use cost; None when unknown.
        latency_ms: of the provider, also when replayed.
        model: the name of the model that was called.
        fallback_for: the model that was asked for, where that one could not answer.
    """

    request_id: UUID
    reply: ProviderReply
    replayed: bool
    cost_usd: Decimal | None
    cost_source: CostSource
    latency_ms: int
    model: str
    fallback_for: str | None = None


def call_key(call: Call, model: ModelInfo, scope: CallScope) -> str:
    """SHA-256 over everything the answer depends on and the scope in which it may be replayed."""
    if isinstance(call, SearchCall):
        return search_key(call, model, scope)
    return content_key(
        {
            "kind": kind_of(call),
            "call": _as_sent(call, model),
            "endpoint": model.identity,
            "project": scope.project,
            "user": scope.user,
            "repetition": scope.repetition,
            "nonce": scope.nonce,
        }
    )


def _as_sent(call: Call, model: ModelInfo) -> Call:
    """`call` to the model that its name stands for: answers are the model's, whatever it is called here."""
    return call if model.stands_for is None else call.model_copy(update={"model": model.stands_for})


def _shown(call: Call) -> dict[str, Any]:
    """What a row tells of the call; of many texts to embed their number, as they are kept with the reply (`bodies`)."""
    if isinstance(call, EmbeddingCall) and are_long(call.texts):
        counted = {"texts": len(call.texts), "characters": sum(map(len, call.texts))}
        return call.model_dump(mode="json", exclude_none=True, exclude={"texts"}) | counted
    return call.model_dump(mode="json", exclude_none=True)


def kind_of(call: Call) -> CallKind:
    """The kind of request a call makes."""
    match call:
        case ChatCall():
            return "chat"
        case EmbeddingCall():
            return "embedding"
        case ImageCall():
            return "image"
        case RerankCall():
            return "rerank"
    return "search"


async def answer_call(ledger: Ledger, call: Call, scope: CallScope) -> CallOutcome:
    """The call is answered, from the ledger or by the provider, and on record either way.

    Raises:
        BudgetExceeded: a budget has no room; nothing was spent.
        ConfigurationError: unknown model, wrong key, or no known price under a budget.
        RateLimited: its turn under the limits of its user or model does not come in time; wait as long as it says.
        RetriesExhausted: the provider failed as often as the policy allows.
        BadInput: the provider found the request wrong, or a name cannot be stored.
    """
    require_storable(call.model, "model")
    model = await describe_model(ledger, call)
    flight = _Flight(ledger, call, scope, model, await estimate_call(ledger, call, model))
    with ledger.telemetry.observe(kind_of(call), call, model, scope) as observation:
        async with ledger.flights.turn(flight.key):
            outcome = await flight.answer()
        observation.note(outcome)
        return outcome


class _Flight:
    """One call on its way through the ledger."""

    def __init__(self, ledger: Ledger, call: Call, scope: CallScope, model: ModelInfo, estimate: CostEstimate) -> None:
        self.ledger = ledger
        self.call = call
        self.scope = scope
        self.model = model
        self.estimate = estimate
        self.key = call_key(call, model, scope)
        self.first_asked: float | None = None

    async def answer(self) -> CallOutcome:
        """The one layer of retries: each attempt is claimed, reserved and settled by itself."""
        settings = self.ledger.settings
        policy = RetryPolicy(settings.retry_attempts, settings.retry_seconds)
        attempt = 1
        while True:
            async with self.ledger.rate_limits.turn(
                self.model, self.estimate, self.scope.user, attempt=attempt
            ) as turn:
                outcome = await turn.take(partial(self._reserve, attempt))
                try:
                    return await self._go_on(outcome, attempt, turn)
                except (RateLimited, ProviderUnavailable, ProviderTimeout) as error:
                    pause = policy.pause(attempt, self._seconds_since_first_asked(), error)
                    if pause is None:
                        raise RetriesExhausted(
                            f"{self.call.model} failed {attempt} times, last: {error}",
                            attempts=attempt,
                            last=error.code,
                        ) from error
            await asyncio.sleep(pause)
            attempt += 1

    async def _go_on(self, outcome: Reserved | Answered | Unfinished, attempt: int, turn: CallTurn) -> CallOutcome:
        """What the ledger said is acted upon: the answer it has is used, a job waited for, or the provider asked."""
        run_id = self.scope.attempt.run_id if self.scope.attempt else None
        while isinstance(outcome, Unfinished):
            finished = await self._finish(outcome, turn)
            if finished is not None and outcome.run_id == run_id:
                return finished
            following = await self._reserve(attempt)  # a new job, or the use of what another run's job answered
            assert not isinstance(following, OverUserLimit | NotAnswered)
            outcome = following
        if isinstance(outcome, Answered):
            return _replayed(outcome, self.call.model)
        return await self._ask(self._settlement(outcome.request_id, held=outcome.held), turn)

    def _seconds_since_first_asked(self) -> float:
        """What the provider is given; time spent waiting for a turn or for a budget is not its fault."""
        return 0.0 if self.first_asked is None else time.monotonic() - self.first_asked

    async def _finish(self, unfinished: Unfinished, turn: CallTurn) -> CallOutcome | None:
        """The earlier job is waited for and its row settled; None where it ended without an answer to wait for."""
        claim_id, job_id = unfinished.claim_id, unfinished.job_id
        settlement = self._settlement(unfinished.request_id, claim_id=claim_id, job_id=job_id)
        try:
            return await self._ask(settlement, turn)
        except JobEnded:
            return None

    async def _reserve(
        self, attempt: int, *, user_limit: int | None = None, replay_only: bool = False
    ) -> Reserved | Answered | Unfinished | OverUserLimit | NotAnswered:
        """The call is claimed and its worst case reserved, or its key has an answer or a job; waits for any."""
        row = self._row(attempt)
        request = Reserve(
            row,
            self.estimate.usd,
            self.ledger.settings.budget_timezone,
            unpriced_allowed=not self.ledger.settings.allow_unpriced.isdisjoint(
                {self.call.model, self.model.litellm_model}
            ),
            attempt=self.scope.attempt,
            max_age=self.scope.max_age,
            queued=self.model.queued,
            user_limit=user_limit,
            replay_only=replay_only,
        )
        unheard = self._settlement(row["id"]).withdrawn
        pause = FIRST_POLL_SECONDS
        while True:
            outcome = await self.ledger.recorder.record(request, otherwise=unheard)
            match outcome:
                case Reserved() | Answered() | Unfinished() | OverUserLimit() | NotAnswered():
                    return outcome
                case NoRoom(may_fit_later=False):
                    raise _refusal(outcome, self.estimate)
                case UnpricedUnderBudget(key=budget):
                    raise ConfigurationError(
                        f"no price is known for {self.call.model} and the {budget.scope_kind} {budget.scope_id!r} has "
                        f"a budget: name the model in HEADRACE_ALLOW_UNPRICED to call it all the same",
                        model=self.call.model,
                    )
            abandoned = isinstance(outcome, ClaimedElsewhere) and outcome.abandoned
            await self.ledger.worker.look_for_dead(at_once=abandoned)
            await self.ledger.flights.settlement(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 1.6, LONGEST_POLL_SECONDS)

    async def _ask(self, settlement: Settlement, turn: CallTurn) -> CallOutcome:
        """The provider is called once and the outcome settled, whatever it is."""
        began = time.monotonic()
        self.first_asked = self.first_asked or began
        try:
            reply = await self._call_provider(settlement.exchange)
        except HeadraceError as error:
            if isinstance(error, RateLimited):
                turn.note_refusal(error)
            await self._settle(settlement.failure(error, began), settlement, began)
            raise
        except BaseException as error:  # cancelled, or a defect: the provider may have been asked
            self.ledger.recorder.record_soon(settlement.failure(error, began))
            raise
        turn.note_answer(reply.usage)
        settle = settlement.success(reply, began)
        if isinstance(self.call, SearchCall):
            settle = replace(
                settle, cached=cache_row(self.call, self.key, settlement.request_id, reply, self.ledger.settings)
            )
        await self._settle(settle, settlement, began)
        row = settle.row
        cost, source, latency_ms = row["cost_usd"], row["cost_source"], row["latency_ms"]
        return CallOutcome(settlement.request_id, reply, False, cost, source, latency_ms, self.call.model)

    async def _call_provider(self, exchange: Exchange) -> ProviderReply:
        seconds, providers = self.ledger.settings.call_timeout_seconds, self.ledger.providers
        match self.call:
            case ChatCall():
                return await providers.chat(self.call, timeout_seconds=seconds, exchange=exchange)
            case EmbeddingCall():
                return await providers.embed(self.call, timeout_seconds=seconds, exchange=exchange)
            case ImageCall():
                return await providers.image(self.call, timeout_seconds=seconds, exchange=exchange)
            case RerankCall():
                return await providers.rerank(self.call, timeout_seconds=seconds, exchange=exchange)
        seconds = min(seconds, self.ledger.settings.search_timeout_seconds)
        return await providers.web.search(self.call, timeout_seconds=seconds, exchange=exchange)

    async def _settle(self, settle: Settle, settlement: Settlement, began: float) -> None:
        """The outcome is on record; if it cannot be stored, then at least that it is not known."""
        await self.ledger.recorder.record(settle, otherwise=lambda: settlement.unrecordable(began))
        self.ledger.flights.note_settlement()

    def _settlement(
        self,
        request_id: UUID,
        *,
        held: Reservation | None = None,
        claim_id: UUID | None = None,
        job_id: str | None = None,
    ) -> Settlement:
        async def note_job(accepted: str) -> None:
            await self.ledger.recorder.record(Accepted(request_id, accepted))

        exchange = Exchange(job_id=job_id, on_accepted=note_job)
        worker = self.ledger.worker.id
        return Settlement(self.call, self.model, self.estimate, self.key, worker, request_id, exchange, claim_id, held)

    def _row(self, attempt: int) -> dict[str, Any]:
        """What is known of the request before it is made."""
        scope = self.scope
        return {
            "id": new_id(),
            "run_id": scope.attempt.run_id if scope.attempt else None,
            "step_id": scope.step_id,
            "worker_id": self.ledger.worker.id,
            "answer_key": self.key,
            "attempt": attempt,
            "project": scope.project,
            "user_id": scope.user,
            "kind": kind_of(self.call),
            "purpose": scope.purpose,
            "provider": self.model.provider,
            "model": self.call.model,
            "request": postgres_json(_shown(_as_sent(self.call, self.model))),
            "status": "reserved",
            "cost_source": self.estimate.source,
            "model_version": scope.version or self.model.version,
            "context": postgres_json(scope.context) if scope.context else None,
            "insight_type": scope.insight_type,
        }


def _usd(amount: Decimal) -> str:
    return f"${amount.normalize():f}"


def _replayed(outcome: Answered, model: str) -> CallOutcome:
    reply = unpack_reply(outcome.reply, outcome.response)
    return CallOutcome(outcome.request_id, reply, True, ZERO, outcome.cost_source, outcome.latency_ms, model)


def _refusal(outcome: NoRoom, estimate: CostEstimate) -> BudgetExceeded:
    key = outcome.key
    return BudgetExceeded(
        f"the {key.period} budget of {key.scope_kind} {key.scope_id!r} is {_usd(outcome.limit_usd)} with "
        f"{_usd(outcome.spent_usd)} spent: a call of up to {_usd(estimate.usd or ZERO)} does not fit "
        f"(`headrace budget set` changes it)",
        scope_kind=key.scope_kind,
        scope_id=key.scope_id,
        period=key.period,
        limit_usd=str(outcome.limit_usd),
        spent_usd=str(outcome.spent_usd),
    )
