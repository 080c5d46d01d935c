"""Searches on a subject ask what is to be asked, where, and stand on the one cache."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from schemas.errors import BadInput
from schemas.settings import Settings
from tasks.ledger import search_fund_prospectus, search_legislation, search_retirement_rules, search_tax_rules
from tasks.ledger.searches import search_web
from tests.conftest import Environment
from tests.scripted_search import Page, ScriptedSearch


@pytest.fixture
def server() -> Iterator[ScriptedSearch]:
    with ScriptedSearch() as running:
        yield running


@pytest.fixture
def settings(environment: Environment, database_url: str, server: ScriptedSearch) -> Settings:
    """Tavily searches."""
    return environment(DATABASE_URL=database_url, HEADRACE_SEARCH_PROVIDER="tavily", **server.environment)


async def test_the_tax_rules_of_a_state_are_four_queries_of_the_last_year(
    settings: Settings, server: ScriptedSearch
) -> None:
    server.find = lambda query: [Page("https://tax.gov/all"), Page(f"https://tax.gov/{query.split()[-2]}")]
    found = await search_tax_rules("New  York", 2024)
    assert found.subject == "tax rules of New York in 2024"
    assert len(found.searches) == 4
    assert {asked.query for asked in server.asked} == {search.query for search in found.searches}
    for asked in server.asked:
        assert "New York" in asked.query
        assert "2024" in asked.query
        assert {name: asked.body[name] for name in ("max_results", "time_range")} == {
            "max_results": 5, "time_range": "year",
        }  # fmt: skip
    urls = [result.url for result in found.results]
    assert urls[0] == "https://tax.gov/all"
    assert len(urls) == len(set(urls)), "a page that several queries find is there once"
    assert found.cost_usd == 4 * Decimal("0.008")
    again = await search_tax_rules("new york", 2024)
    assert all(search.cached for search in again.searches)
    assert again.cost_usd == 0
    assert not any(search.cached for search in (await search_tax_rules("New York", 2023)).searches)


async def test_the_rules_of_a_retirement_account_and_a_fund_are_four_queries_each(
    settings: Settings, server: ScriptedSearch
) -> None:
    await search_retirement_rules("roth_ira")
    assert all(asked.query.startswith("roth ira ") for asked in server.asked)
    assert len(server.asked) == 4
    await search_fund_prospectus(" vtsax ")
    assert all(asked.query.startswith("VTSAX ") for asked in server.asked[4:])
    assert len(server.asked) == 8
    assert (await search_web("VTSAX fund prospectus", count=5, recency="year")).cached, "it is a search like any other"


async def test_legislation_is_searched_for_where_laws_and_their_students_are(
    settings: Settings, server: ScriptedSearch
) -> None:
    server.find = lambda _: [Page("https://congress.gov/a"), Page("https://blog.com/b"), Page("https://mit.edu/c")]
    found = await search_legislation("rent limits")
    assert [result.url for result in found.results] == ["https://congress.gov/a", "https://mit.edu/c"]
    assert server.asked[0].body == {
        "query": "rent limits", "max_results": 10, "include_domains": ["*.edu", "*.gov", "*.org"],
        "time_range": "year",
    }  # fmt: skip


async def test_where_the_age_of_pages_is_not_known_it_is_not_asked_for(
    environment: Environment, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schemas.errors import ConfigurationError

    monkeypatch.delenv("LINKUP_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="linkup needs LINKUP_API_KEY"):  # and no word of the age of pages
        await search_legislation("rent limits", provider="linkup")


async def test_what_is_no_state_year_account_or_ticker_is_told(settings: Settings, server: ScriptedSearch) -> None:
    for wrong in (
        search_tax_rules("", 2024),
        search_tax_rules("x" * 61, 2024),
        search_tax_rules("Ohio", 24),
        search_retirement_rules(" _ "),
        search_fund_prospectus("not a ticker"),
    ):
        with pytest.raises(BadInput):
            await wrong
    assert server.asked == []
