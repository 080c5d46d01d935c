"""Putting documents in the order of their relevance to a query, by a model made for it.

>>> ranking = await rerank("Who pays for repairs?", texts, model="cohere/rerank-v3.5", top_n=3)
>>> [(texts[row.index], row.relevance_score) for row in ranking.results], ranking.cost_usd
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.calls import MOST_DOCUMENTS, CostSource, RankedDocument, RerankCall
from schemas.errors import BadInput, ConfigurationError
from schemas.settings import Settings
from tasks.ledger.fallbacks import answer_or_fall_back
from tasks.ledger.scoping import require_unicode, scope_of
from tasks.ledger.session import open_ledger


class Ranking(BaseModel):
    """Documents by relevance, and what it cost to know.

    Attributes:
        results: most relevant first; `index` is a document's place in the list that was given.
        model: the model that was called, by the name it was called by.
        fallback_for: the model that was asked for, where that one could not answer.
    """

    model_config = ConfigDict(frozen=True)

    results: tuple[RankedDocument, ...]
    request_id: UUID
    model: str
    answered_model: str
    cost_usd: Decimal | None
    cost_source: CostSource
    replayed: bool
    latency_ms: int
    fallback_for: str | None = None


async def rerank(
    query: str,
    documents: Sequence[str],
    *,
    model: str | None = None,
    top_n: int | None = None,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
    repetition: int = 0,
    context: dict[str, Any] | None = None,
    max_age: timedelta | None = None,
) -> Ranking:
    """`documents` in the order of their relevance to `query`, paid for at most once.

    Args:
        documents: from 1 to 1000 texts, as one request.
        model: LiteLLM name or named model; by default HEADRACE_RERANK_MODEL.
        top_n: only so many, the most relevant ones; all when not given.
        project, user, purpose, repetition, context, max_age: as in `complete`.

    Raises:
        BadInput: nothing to ask, nothing or too much to rank, or the provider found the request wrong.
        BudgetExceeded: no budget has room for the worst case; nothing was spent.
        ConfigurationError: no model is set, or one that does not rerank; a wrong key; no known price under a budget.
        RetriesExhausted: the provider failed too often, or kept giving rankings that are none.
    """
    async with open_ledger() as ledger:
        call = rerank_call(query, documents, model or rerank_model(ledger.settings), top_n)
        ledger.providers.require("rerank", call.model)
        scope = scope_of(ledger, project, user, purpose, repetition, context, max_age)
        outcome = await answer_or_fall_back(ledger, call, scope)
    return Ranking(
        results=outcome.reply.ranking or (),
        request_id=outcome.request_id,
        model=outcome.model,
        answered_model=outcome.reply.model,
        cost_usd=outcome.cost_usd,
        cost_source=outcome.cost_source,
        replayed=outcome.replayed,
        latency_ms=outcome.latency_ms,
        fallback_for=outcome.fallback_for,
    )


def rerank_model(settings: Settings) -> str:
    """The model that reranks where the caller names none.

    Raises:
        ConfigurationError: none is set.
    """
    if settings.rerank_model:
        return settings.rerank_model
    raise ConfigurationError(
        "no model that reranks is set: set HEADRACE_RERANK_MODEL, for instance to cohere/rerank-v3.5 with "
        "COHERE_API_KEY",
        setting="HEADRACE_RERANK_MODEL",
    )


def rerank_call(query: str, documents: Sequence[str], model: str, top_n: int | None = None) -> RerankCall:
    """The call for these arguments of `rerank`.

    Raises:
        BadInput: there is nothing to ask or to rank, or more than one request takes.
    """
    if isinstance(documents, str):
        raise BadInput("documents is a list of texts, not one text")
    if not query.strip():
        raise BadInput("there is no query to rank documents by")
    if not 1 <= len(documents) <= MOST_DOCUMENTS:
        raise BadInput(f"one request ranks from 1 to {MOST_DOCUMENTS} documents, not {len(documents)}")
    for place, document in enumerate(documents):
        if not document.strip():
            raise BadInput(f"document {place + 1} is empty", place=place)
    if top_n is not None and top_n < 1:
        raise BadInput(f"top_n is how many documents to keep, 1 or more, not {top_n}")
    require_unicode([query, *documents])
    return RerankCall(model=model, query=query, documents=tuple(documents), top_n=top_n)
