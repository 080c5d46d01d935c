"""Calling a model: the functions the rest of Headrace, and its users, call.

Every call goes through the ledger: recorded before it is made, reserved against budgets, replayed
for nothing where the same call was answered before. Inside a run the call belongs to it; outside,
`project` (or `HEADRACE_PROJECT`) says where it is counted.

    >>> answer = await complete("Say hello.", model="gpt-4o-mini")
    >>> answer.text, answer.cost_usd, answer.request_id
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.calls import (
    ChatCall,
    ChatParameters,
    CostEstimate,
    CostSource,
    EmbeddingCall,
    Message,
    ProviderCall,
    Usage,
    total_cost,
)
from schemas.errors import AnswerRejected, BadInput
from schemas.settings import ModelRole
from schemas.vectors import Vector
from tasks.ledger.answer_faults import CUT_OFF, faults_of
from tasks.ledger.estimates import describe_model, estimate_call
from tasks.ledger.fallbacks import answer_or_fall_back, as_fallback
from tasks.ledger.gateway import CallOutcome, answer_call
from tasks.ledger.scope import CallScope
from tasks.ledger.scoping import require_unicode, scope_of
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.versions import put_in_charge

T = TypeVar("T", bound=BaseModel)
Prompt = str | Sequence[Message]
REPAIR_ROUNDS = 2


class Completion(BaseModel):
    """A model's answer and what it cost; `request_id` is what feedback refers to.

    Attributes:
        model: the model that was called, by the name it was called by.
        answered_model: as the provider names it.
        fallback_for: the model that was asked for, where that one could not answer.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    request_id: UUID
    model: str
    answered_model: str
    finish_reason: str | None
    usage: Usage | None
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool
    latency_ms: int
    fallback_for: str | None = None


class StructuredCompletion(BaseModel, Generic[T]):
    """An answer that fits its schema; `rounds` holds every try, the last one is the answer's."""

    model_config = ConfigDict(frozen=True)

    value: T
    rounds: tuple[Completion, ...]

    @property
    def request_id(self) -> UUID:
        """The request whose answer was accepted."""
        return self.rounds[-1].request_id

    @property
    def cost_usd(self) -> Decimal | None:
        """Cost of all rounds; None when any of them is unknown."""
        return total_cost(item.cost_usd for item in self.rounds)


class Embeddings(BaseModel):
    """One vector per text, in order."""

    model_config = ConfigDict(frozen=True)

    vectors: tuple[Vector, ...]
    request_id: UUID
    model: str
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool


async def complete(
    prompt: Prompt,
    *,
    model: str | None = None,
    role: ModelRole = "chat",
    parameters: ChatParameters | None = None,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
    repetition: int = 0,
    context: dict[str, Any] | None = None,
    max_age: timedelta | None = None,
    insight_type: str | None = None,
) -> Completion:
    """The model's answer to `prompt`, paid for at most once.

    Args:
        prompt: a user message, or the whole conversation.
        model: LiteLLM name, named model, or `version:PURPOSE` for the version in charge of a purpose; by default the
            model set for `role`.
        user: whose call it is; its answer is replayed for this user only.
        purpose: what it is for, shown in cost reports.
        repetition: calls that differ in nothing else are answered anew for each number.
        context: JSON-ready facts kept with the request.
        max_age: a stored answer older than this is not used; by default as HEADRACE_ANSWER_TTL_MINUTES says of the
            purpose, else however old.
        insight_type: kept with the request; the views of the keyword service go by it.

    Raises:
        BudgetExceeded: no budget has room; raise it or wait for its next period.
        ConfigurationError: unknown model or wrong key.
        RetriesExhausted: the provider failed too often; resume later.
        BadInput: the provider found the request wrong.
    """
    async with open_ledger() as ledger:
        call = ChatCall(
            model=model or ledger.settings.model_for(role),
            messages=_messages(prompt),
            parameters=parameters or ChatParameters(),
        )
        scope = scope_of(ledger, project, user, purpose, repetition, context, max_age, insight_type)
        return _completion(await answer_or_fall_back(ledger, *await put_in_charge(ledger, call, scope)))


async def complete_structured(
    prompt: Prompt,
    output: type[T],
    *,
    model: str | None = None,
    role: ModelRole = "chat",
    parameters: ChatParameters | None = None,
    output_schema: dict[str, Any] | None = None,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
    repetition: int = 0,
    context: dict[str, Any] | None = None,
    max_age: timedelta | None = None,
    insight_type: str | None = None,
) -> StructuredCompletion[T]:
    """The model's answer as an `output`, validated against the schema that was sent.

    An answer that does not fit is shown to the model with what is wrong, at most twice. Arguments are
    those of `complete`; `output_schema` narrows the schema of `output` (say, to the ids that exist).

    Raises:
        AnswerRejected: no answer fitted; the rounds are on record.
        BudgetExceeded, ConfigurationError, RetriesExhausted, BadInput: as `complete`.
    """
    async with open_ledger() as ledger:
        call = ChatCall(
            model=model or ledger.settings.model_for(role),
            messages=_messages(prompt),
            parameters=parameters or ChatParameters(),
            output_schema=output_schema or _schema_of(output),
            output_name=re.sub(r"[^A-Za-z0-9_-]", "_", output.__name__)[:64],
        )
        scope = scope_of(ledger, project, user, purpose, repetition, context, max_age, insight_type)
        return await _until_it_fits(ledger, *await put_in_charge(ledger, call, scope), output)


@lru_cache(maxsize=256)
def _schema_of(output: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `output`, made once: making it takes longer than all else a call does here."""
    return output.model_json_schema()


@lru_cache(maxsize=256)
def _completion_of(output: type[T]) -> type[StructuredCompletion[T]]:
    """The class of a completion with such a value; Pydantic makes it anew each time it is not held on to."""
    return StructuredCompletion[output]  # type: ignore[valid-type]


async def _until_it_fits(ledger: Ledger, call: ChatCall, scope: CallScope, output: type[T]) -> StructuredCompletion[T]:
    rounds: list[Completion] = []
    while True:
        rounds.append(_completion(await answer_or_fall_back(ledger, call, scope)))
        try:
            value = parse_answer(rounds[-1].text, output)
        except ValidationError as error:
            problem = _problem(error, rounds[-1])
            if len(rounds) > REPAIR_ROUNDS:
                said = CUT_OFF if rounds[-1].finish_reason == "length" else faults_of(error, call.output_schema)
                raise AnswerRejected(
                    f"{call.model} did not give a valid {output.__name__} in {len(rounds)} rounds: {said}",
                    requests=[str(item.request_id) for item in rounds],
                ) from None
            repair = call.messages + _repair(rounds[-1].text, problem)
            call = call.model_copy(update={"messages": repair, "model": rounds[-1].model})
            if asked_for := rounds[-1].fallback_for:
                scope = as_fallback(scope, asked_for)
            continue
        return _completion_of(output)(value=value, rounds=tuple(rounds))


def parse_answer(text: str, output: type[T]) -> T:
    """`text` as an `output`; a Markdown fence around the JSON is overlooked.

    Raises:
        ValidationError: it is no JSON or does not fit.
    """
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL)
    return output.model_validate_json(fenced[1] if fenced else text.strip())


def _problem(error: ValidationError, answer: Completion) -> str:
    """What is wrong with the answer, for the model that gave it."""
    return CUT_OFF if answer.finish_reason == "length" else faults_of(error)


def _repair(answer: str, problem: str) -> tuple[Message, ...]:
    return (
        Message(role="assistant", content=answer),
        Message(role="user", content=f"That does not fit the schema: {problem}. Answer again, with the JSON only."),
    )


async def embed(
    texts: Sequence[str],
    *,
    model: str | None = None,
    dimensions: int | None = None,
    most_tokens: int | None = None,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
) -> Embeddings:
    """One vector per text, in the order of `texts`, as one request.

    Args:
        most_tokens: a bound on the tokens of all texts, where the caller has counted them; budgets hold its price
            until the provider has said what they were.
        user: whose request it is, one however many texts there are; it is replayed for this user only.

    Raises:
        BadInput: there is no text, or one of them is empty.
        BudgetExceeded, ConfigurationError, RetriesExhausted: as `complete`.
    """
    if not texts or not all(text.strip() for text in texts):
        raise BadInput("every text to embed must have at least one character that is no white space")
    require_unicode(texts)
    async with open_ledger() as ledger:
        name = model or ledger.settings.model_for("embedding")
        call = EmbeddingCall(model=name, texts=tuple(texts), dimensions=dimensions, most_tokens=most_tokens)
        outcome = await answer_call(ledger, call, scope_of(ledger, project, user, purpose, 0, None))
        return Embeddings(
            vectors=outcome.reply.vectors or (),
            request_id=outcome.request_id,
            model=name,
            cost_usd=outcome.cost_usd,
            cost_source=outcome.cost_source,
            replayed=outcome.replayed,
        )


async def estimate_cost(
    prompt: Prompt | ProviderCall,
    *,
    model: str | None = None,
    role: ModelRole = "chat",
    parameters: ChatParameters | None = None,
) -> CostEstimate:
    """What a call can cost at worst; `usd` is None where no price is known. Nobody is asked, nothing is recorded.

    Args:
        prompt: for what `complete` would cost; or any call of `schemas.calls` (`EmbeddingCall`,
            `ImageCall`, `RerankCall`, `SearchCall`, `ChatCall`), which names its model itself.
        model, role, parameters: as in `complete`, of a prompt.

    Raises:
        ConfigurationError: there is no such model or search provider.
    """
    async with open_ledger() as ledger:
        if isinstance(prompt, ProviderCall):
            call: ProviderCall = prompt
        else:
            name = model or ledger.settings.model_for(role)
            call = ChatCall(model=name, messages=_messages(prompt), parameters=parameters or ChatParameters())
            call, _ = await put_in_charge(ledger, call, CallScope(project=ledger.settings.project))
        return await estimate_call(ledger, call, await describe_model(ledger, call))


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    turns = (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
    if not turns:
        raise BadInput("there is no prompt: give a text or at least one message")
    require_unicode(turn.content for turn in turns)
    return turns


def _completion(outcome: CallOutcome) -> Completion:
    reply = outcome.reply
    return Completion(
        text=reply.text,
        request_id=outcome.request_id,
        model=outcome.model,
        answered_model=reply.model,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        cost_usd=outcome.cost_usd,
        cost_source=outcome.cost_source,
        replayed=outcome.replayed,
        latency_ms=outcome.latency_ms,
        fallback_for=outcome.fallback_for,
    )
