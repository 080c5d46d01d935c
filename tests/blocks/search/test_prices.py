"""What a search costs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from blocks.search.domains import host_of, is_within, site_clauses
from blocks.search.prices import search_price
from schemas.calls import SearchCall


@pytest.mark.parametrize(
    ("model", "count", "usd"),
    [
        ("zai/search-prime", 10, "0.01"),
        ("tavily/search", 10, "0.008"),
        ("perplexity/search", 10, "0.005"),
        ("exa_ai/search", 25, "0.005"),
        ("exa_ai/search", 26, "0.025"),  # a tier of its own
        ("firecrawl/search", 50, "0.0083"),
        ("searxng/search", 10, "0"),
        ("you_com/search", 10, None),  # a zero in the table for a price nobody entered
        ("brave/search", 10, None),  # not in the table
    ],
)
def test_a_search_has_the_price_of_the_table_or_none(model: str, count: int, usd: str | None) -> None:
    assert search_price(SearchCall(model=model, query="q", count=count)) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://WWW.irs.GOV./a", "www.irs.gov"), ("http://u:p@a.org:80/", "a.org"), ("javascript:x", ""), ("", ""),
     ("https://", ""), ("https://[::1", "")],
)  # fmt: skip
def test_the_host_of_an_address(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("host", "domain", "within"),
    [("irs.gov", "*.gov", True), ("irs.gov", "irs.gov", True), ("www.irs.gov", "irs.gov", True),
     ("xirs.gov", "irs.gov", False), ("irs.gov.com", "*.gov", False), ("gov", "*.gov", True)],
)  # fmt: skip
def test_a_host_is_within_a_domain_at_a_dot(host: str, domain: str, within: bool) -> None:
    assert is_within(host, [domain]) is within


def test_domains_in_a_query() -> None:
    assert site_clauses([]) == ""
    assert site_clauses(["*.gov"]) == " site:gov"
    assert site_clauses(["*.gov", "a.org"]) == " (site:gov OR site:a.org)"
