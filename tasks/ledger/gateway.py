"""The one way a model is called: claimed, reserved, made, settled.

The order of one call, each step durable before the next begins:

1. claim the call's key, write its row and reserve its worst case, in one transaction; or find the key
   answered (replay, nothing is paid), or claimed by somebody else (wait), or the budget without room;
2. call the provider, once;
3. settle: answer, usage and cost onto the row, the reservation released, the key answered or free.

A process that dies after 1 leaves a row that others turn into `unknown`, its worst case counted as
spent. A caller that is cancelled in 1 leaves a row that is withdrawn. A retry is a new row and begins
at 1.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any
from uuid import UUID

from blocks.providers.exchange import Exchange
from blocks.providers.prices import worst_case_of
from schemas.calls import CallKind, ChatCall, CostEstimate, CostSource, EmbeddingCall, ModelInfo, ProviderReply
from schemas.canonical import content_key, postgres_json, require_storable
from schemas.errors import (
    BudgetExceeded,
    ConfigurationError,
    HeadraceError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RetriesExhausted,
)
from schemas.identifiers import new_id
from tasks.ledger.budgets import CENT_FRACTION, ZERO
from tasks.ledger.operations import (
    Answered,
    ClaimedElsewhere,
    NoRoom,
    Reserve,
    Reserved,
    Settle,
    UnpricedUnderBudget,
)
from tasks.ledger.retries import RetryPolicy
from tasks.ledger.scope import CallScope
from tasks.ledger.session import Ledger
from tasks.ledger.settlement import Settlement, unpack_reply

FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5

Call = ChatCall | EmbeddingCall


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


def kind_of(call: Call) -> CallKind:
    """The kind of request a call makes."""
    return "chat" if isinstance(call, ChatCall) else "embedding"


async def answer_call(ledger: Ledger, call: Call, scope: CallScope) -> CallOutcome:
    """The call is answered, from the ledger or by the provider, and on record either way.

    Raises:
        BudgetExceeded: a budget has no room; nothing was spent.
        ConfigurationError: unknown model, wrong key, or no known price under a budget.
        RetriesExhausted: the provider failed as often as the policy allows.
        BadInput: the provider found the request wrong, or a name cannot be stored.
    """
    require_storable(call.model, "model")
    model = await ledger.providers.describe(call.model)
    flight = _Flight(ledger, call, scope, model, await estimate_call(ledger, call, model))
    async with ledger.flights.turn(flight.key):
        return await flight.answer()


async def estimate_call(ledger: Ledger, call: Call, model: ModelInfo) -> CostEstimate:
    """What the call can cost at worst."""
    input_tokens = await ledger.providers.count_tokens(call)
    output_tokens = call.parameters.max_tokens if isinstance(call, ChatCall) else 0
    usd = ZERO if model.local else worst_case_of(model, input_tokens, output_tokens)
    if usd is not None:
        usd = usd.quantize(CENT_FRACTION, ROUND_CEILING)
    source: CostSource = "local" if model.local else "unpriced" if usd is None else "price_table"
    return CostEstimate(
        model=call.model, input_tokens=input_tokens, max_output_tokens=output_tokens, usd=usd, source=source
    )


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
            try:
                return await self._attempt(attempt)
            except (RateLimited, ProviderUnavailable, ProviderTimeout) as error:
                pause = policy.pause(attempt, self._seconds_since_first_asked(), error)
                if pause is None:
                    raise RetriesExhausted(
                        f"{self.call.model} failed {attempt} times, last: {error}", attempts=attempt, last=error.code
                    ) from error
            await asyncio.sleep(pause)
            attempt += 1

    def _seconds_since_first_asked(self) -> float:
        """What the provider is given; time spent waiting for a turn or for a budget is not its fault."""
        return 0.0 if self.first_asked is None else time.monotonic() - self.first_asked

    async def _attempt(self, attempt: int) -> CallOutcome:
        async with self.ledger.flights.slot():
            outcome = await self._reserve(attempt)
            if isinstance(outcome, Answered):
                reply = unpack_reply(outcome.reply)
                source, latency_ms = outcome.cost_source, outcome.latency_ms
                return CallOutcome(outcome.request_id, reply, True, ZERO, source, latency_ms, self.call.model)
            return await self._ask(outcome.request_id)

    async def _reserve(self, attempt: int) -> Reserved | Answered:
        """The call is claimed and its worst case reserved, or the key is answered; waits for either."""
        row = self._row(attempt)
        request = Reserve(
            row,
            self.estimate.usd,
            self.ledger.settings.budget_timezone,
            unpriced_allowed=not self.ledger.settings.allow_unpriced.isdisjoint(
                {self.call.model, self.model.litellm_model}
            ),
            attempt=self.scope.attempt,
        )
        unheard = self._settlement(row["id"], Exchange()).withdrawn
        pause = FIRST_POLL_SECONDS
        while True:
            outcome = await self.ledger.recorder.record(request, otherwise=unheard)
            match outcome:
                case Reserved() | Answered():
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

    async def _ask(self, request_id: UUID) -> CallOutcome:
        """The provider is called once and the outcome settled, whatever it is."""
        began = time.monotonic()
        self.first_asked = self.first_asked or began
        settlement = self._settlement(request_id, Exchange())
        try:
            reply = await self._call_provider(settlement.exchange)
        except HeadraceError as error:
            await self._settle(settlement.failure(error, began), settlement, began)
            raise
        except BaseException as error:  # cancelled, or a defect: the provider may have been asked
            self.ledger.recorder.record_soon(settlement.failure(error, began))
            raise
        settle = settlement.success(reply, began)
        await self._settle(settle, settlement, began)
        row = settle.row
        cost, source, latency_ms = row["cost_usd"], row["cost_source"], row["latency_ms"]
        return CallOutcome(request_id, reply, False, cost, source, latency_ms, self.call.model)

    async def _call_provider(self, exchange: Exchange) -> ProviderReply:
        seconds = self.ledger.settings.call_timeout_seconds
        if isinstance(self.call, ChatCall):
            return await self.ledger.providers.chat(self.call, timeout_seconds=seconds, exchange=exchange)
        return await self.ledger.providers.embed(self.call, timeout_seconds=seconds, exchange=exchange)

    async def _settle(self, settle: Settle, settlement: Settlement, began: float) -> None:
        """The outcome is on record; if it cannot be stored, then at least that it is not known."""
        await self.ledger.recorder.record(settle, otherwise=lambda: settlement.unrecordable(began))
        self.ledger.flights.note_settlement()

    def _settlement(self, request_id: UUID, exchange: Exchange) -> Settlement:
        return Settlement(self.call, self.model, self.estimate, self.key, self.ledger.worker.id, request_id, exchange)

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
            "request": postgres_json(_as_sent(self.call, self.model).model_dump(mode="json", exclude_none=True)),
            "status": "reserved",
            "cost_source": self.estimate.source,
            "context": postgres_json(scope.context) if scope.context else None,
        }


def _usd(amount: Decimal) -> str:
    return f"${amount.normalize():f}"


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
