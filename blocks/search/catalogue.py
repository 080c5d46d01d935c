"""The search providers that are reached through LiteLLM, and what LiteLLM's interface does not say of them.

LiteLLM words every provider's request and reads its answer (`litellm/llms/PROVIDER/search`). Its
unified parameters have no age of the results, and domains are left out or broken for some providers;
how each takes these two is here, from the provider's own reference (named at each entry).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas.calls import Recency

DAYS: dict[Recency, int] = {"day": 1, "week": 7, "month": 31, "year": 365}
Parameters = dict[str, str]


@dataclass(frozen=True)
class Engine:
    """One provider.

    Attributes:
        key: environment variable of its key, as LiteLLM reads it.
        address: environment variable of another address.
        results: where its answer has the results, also when there are none; None where it may lack.
        recency: request parameters that confine a search to recent pages; None where it cannot.
        lists_domains: takes domains as a list; else they go into the query (`site:`).
        keyless: can be asked without a key.
    """

    key: str
    address: str
    results: str | None = None
    recency: Callable[[Recency], Parameters] | None = None
    lists_domains: bool = False
    keyless: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Variables without which it cannot be asked."""
        if not self.keyless:
            return (self.key,)
        return (self.address,) if self.address == "SEARXNG_API_BASE" else ()


def named(parameter: str, prefix: str = "", *, letters: int | None = None) -> Callable[[Recency], Parameters]:
    """`parameter` is the age in words, or in its first `letters`, after `prefix`."""
    return lambda recency: {parameter: prefix + recency[:letters]}


def published_since(parameter: str) -> Callable[[Recency], Parameters]:
    """`parameter` is the earliest moment, in ISO 8601."""

    def since(recency: Recency) -> Parameters:
        moment = datetime.now(UTC) - timedelta(days=DAYS[recency])
        return {parameter: moment.strftime("%Y-%m-%dT00:00:00.000Z")}

    return since


def _engine(
    stem: str,
    results: str | None = None,
    recency: Callable[[Recency], Parameters] | None = None,
    *,
    lists_domains: bool = False,
    key: str | None = None,
    keyless: bool = False,
) -> Engine:
    return Engine(key or f"{stem}_API_KEY", f"{stem}_API_BASE", results, recency, lists_domains, keyless)


ENGINES: dict[str, Engine] = {
    "apiserpent": _engine("APISERPENT"),
    "brave": _engine("BRAVE", None, named("freshness", "p", letters=1)),  # api.search.brave.com, web search
    "dataforseo": _engine("DATAFORSEO", "tasks", key="DATAFORSEO_LOGIN"),
    "duckduckgo": _engine("DUCKDUCKGO", "RelatedTopics", keyless=True),
    # docs.exa.ai/reference/search
    "exa_ai": _engine("EXA", "results", published_since("startPublishedDate"), lists_domains=True),
    "fastcrw": _engine("CRW", "data"),
    "firecrawl": _engine("FIRECRAWL", "data", named("tbs", "qdr:", letters=1)),  # docs.firecrawl.dev, search
    # developers.google.com/custom-search/v1/reference/rest/v1/cse/list
    "google_pse": _engine("GOOGLE_PSE", None, lambda recency: {"dateRestrict": f"{recency[0]}1"}),
    "linkup": _engine("LINKUP", "results", lists_domains=True),
    "nimble": _engine("NIMBLE", "results", lists_domains=True),
    "parallel_ai": _engine("PARALLEL_AI", "results", lists_domains=True),
    # docs.perplexity.ai/api-reference/search-post
    "perplexity": _engine(
        "PERPLEXITY", "results", named("search_recency_filter"), lists_domains=True, key="PERPLEXITYAI_API_KEY"
    ),
    "searchapi": _engine("SEARCHAPI", None, named("time_period", "last_")),  # searchapi.io/docs/google
    # docs.searxng.org/dev/search_api.html; a server of one's own, so its address is needed
    "searxng": _engine("SEARXNG", "results", named("time_range"), keyless=True),
    "serper": _engine("SERPER", "organic", named("tbs", "qdr:", letters=1)),  # serper.dev/playground
    # docs.tavily.com/documentation/api-reference/endpoint/search
    "tavily": _engine("TAVILY", "results", named("time_range"), lists_domains=True),
    "tinyfish": _engine("TINYFISH"),
    # documentation.you.com, search
    "you_com": _engine("YOUCOM", "results", named("freshness"), lists_domains=True, keyless=True),
}
"""By LiteLLM's name. `agentcore` and `bing_grounding` are not here: they are a gateway of one's own on AWS and a
chat model that searches."""

NOT_PASSED_ON = frozenset({"perplexity"})
"""LiteLLM drops parameters it does not know for these: theirs are added to the request that it worded."""
