"""Searching the web: the function that the rest of Headrace, and its users, call.

Every search goes through the gateway, as a model call does: recorded before it is made, its price
reserved against budgets, and one that was answered within the time that `HEADRACE_SEARCH_CACHE_HOURS`
says replayed for nothing (how: `search_cache`).

    >>> found = await search_web("rent limits for tenants", domains=["*.gov"], recency="year")
    >>> [(result.title, result.url) for result in found.results], found.cached, found.cost_usd
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from blocks.search.engines import model_of
from schemas.calls import MOST_RESULTS, CostSource, Recency, SearchCall, WebResult
from schemas.canonical import require_storable
from schemas.errors import BadInput, ConfigurationError
from schemas.settings import STORED_CORPUS, Settings
from tasks.ledger.gateway import answer_call
from tasks.ledger.scope import CallScope, current_scope
from tasks.ledger.session import open_ledger

LONGEST_QUERY = 2000
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_OLD_RECENCY: dict[str, Recency] = {"1d": "day", "1w": "week", "1m": "month", "1y": "year"}


class WebSearch(BaseModel):
    """What a search found, best first, and what it cost.

    Attributes:
        cached: the results were in the cache; nothing was paid for this use.
        latency_ms: of the provider, also when cached.
    """

    model_config = ConfigDict(frozen=True)

    query: str
    provider: str
    results: tuple[WebResult, ...]
    cached: bool
    request_id: UUID
    cost_usd: Decimal | None
    cost_source: CostSource
    latency_ms: int


async def search_web(
    query: str,
    *,
    count: int = 10,
    domains: Sequence[str] = (),
    recency: str | None = None,
    provider: str | None = None,
    project: str | None = None,
    user: str | None = None,
    purpose: str | None = None,
    context: dict[str, Any] | None = None,
) -> WebSearch:
    """The pages found for `query`; no result stays none.

    Args:
        count: at most so many, from 1 to 50.
        domains: only pages of these hosts and below them; `*.gov` for a top-level domain.
        recency: only pages of the last `day`, `week`, `month` or `year` (or `1d`, `1w`, `1m`, `1y`).
        provider: `zai`, or a search provider of LiteLLM; by default HEADRACE_SEARCH_PROVIDER.
        user: whose search it is; results are shared with everybody.
        purpose: what it is for, shown in cost reports.

    Raises:
        BadInput: an argument is wrong, or the provider cannot do what is asked of it.
        ConfigurationError: no provider is set, or its key is missing or wrong.
        BudgetExceeded: no budget has room; raise it or wait for its next period.
        RetriesExhausted: the provider failed too often; nothing of it is cached.
        ContentRefused: the provider does not answer this query.
    """
    for name, text in (("project", project), ("user", user), ("purpose", purpose)):
        require_storable(text, name)
    async with open_ledger() as ledger:
        call = SearchCall(
            model=search_model(provider, ledger.settings),
            query=_checked_query(query),
            count=_checked_count(count),
            domains=normal_domains(domains),
            recency=parse_recency(recency),
        )
        scope = current_scope.get() or CallScope(project=ledger.settings.project)
        scope = replace(
            scope,
            project=project or scope.project,
            user=user or scope.user,
            purpose=purpose or scope.purpose,
            context=context or scope.context,
        )
        outcome = await answer_call(ledger, call, scope)
    return WebSearch(
        query=call.query,
        provider=call.model.partition("/")[0],
        results=outcome.reply.results or (),
        cached=outcome.replayed,
        request_id=outcome.request_id,
        cost_usd=outcome.cost_usd,
        cost_source=outcome.cost_source,
        latency_ms=outcome.latency_ms,
    )


def search_model(provider: str | None, settings: Settings) -> str:
    """The model of the provider asked for, or of the one that is set.

    Raises:
        ConfigurationError: none is set, or it is the stored corpus, which only research searches.
    """
    chosen = provider or settings.web_search_provider
    if chosen in (None, STORED_CORPUS):
        raise ConfigurationError(
            "no provider of web searches is set: set HEADRACE_SEARCH_PROVIDER to zai, tavily, searxng or another one, "
            "or ZAI_API_KEY to the key of z.ai"
        )
    return model_of(chosen)


def _checked_query(query: str) -> str:
    said = " ".join(query.split())
    if not said:
        raise BadInput("there is no query to search for")
    if len(said) > LONGEST_QUERY:
        raise BadInput(f"the query has {len(said)} characters; no search engine takes more than {LONGEST_QUERY}")
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the query has half a character (a lone surrogate) at {error.start}") from None
    return said


def _checked_count(count: int) -> int:
    if not 1 <= count <= MOST_RESULTS:
        raise BadInput(f"a search gives from 1 to {MOST_RESULTS} results, not {count}")
    return count


def normal_domains(domains: Sequence[str]) -> tuple[str, ...]:
    """`domains` in lower case, sorted, each once.

    Raises:
        BadInput: one of them is no domain.
    """
    if isinstance(domains, str):
        raise BadInput(f"domains is a list of domains, not the text {domains!r}")
    found = {domain.strip().lower() for domain in domains}
    for domain in found:
        if not _DOMAIN.fullmatch(domain):
            raise BadInput(f"{domain!r} is no domain; write one like irs.gov, or *.gov for all of a top-level domain")
    return tuple(sorted(found))


def parse_recency(said: str | None) -> Recency | None:
    """The age that pages may have; None for any.

    Raises:
        BadInput: it is none of those there are.
    """
    match said:
        case None:
            return None
        case "day" | "week" | "month" | "year":
            return said
    if said not in _OLD_RECENCY:
        raise BadInput(f"recency {said!r} is not day, week, month or year")
    return _OLD_RECENCY[said]
