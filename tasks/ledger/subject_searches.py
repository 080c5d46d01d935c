"""Searches on a subject: legislation, taxes, retirement accounts, funds.

Each knows what to ask and where; results come from `search_web`, cached and paid for as its own. The
finance subjects ask four queries each, five results from the last year; legislation asks one, ten
results of the last year from governments, universities and organisations.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from blocks.search.engines import takes_recency
from schemas.calls import WebResult, total_cost
from schemas.errors import BadInput
from tasks.ledger.searches import WebSearch, search_model, search_web
from tasks.ledger.session import open_ledger

LEGISLATION_DOMAINS = ("*.gov", "*.edu", "*.org")
LEGISLATION_RESULTS = 10
FINANCE_RESULTS = 5
_TICKER = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")
_YEARS = range(1913, 2101)
"""From the first year of a federal income tax."""


class SubjectSearch(BaseModel):
    """The searches on one subject, in the order of their queries."""

    model_config = ConfigDict(frozen=True)

    subject: str
    searches: tuple[WebSearch, ...]

    @property
    def results(self) -> tuple[WebResult, ...]:
        """What all of them found, each page once."""
        return tuple({result.url: result for search in self.searches for result in search.results}.values())

    @property
    def cost_usd(self) -> Decimal | None:
        """What these uses cost together; None when any of them is unknown."""
        return total_cost(search.cost_usd for search in self.searches)


async def search_tax_rules(
    state: str, year: int, *, provider: str | None = None, project: str | None = None
) -> SubjectSearch:
    """What the web says of the income tax of a US state in a year; errors as in `search_web`."""
    place = _words(state, "a state")
    if year not in _YEARS:
        raise BadInput(f"{year} is no year of a tax; write one like 2024")
    queries = [
        f"{place} income tax brackets {year}",
        f"{place} standard deduction and personal exemption {year}",
        f"{place} capital gains tax rate {year}",
        f"{place} tax credits and filing thresholds {year}",
    ]
    return await _search_all(f"tax rules of {place} in {year}", queries, provider, project)


async def search_retirement_rules(
    account_type: str, *, provider: str | None = None, project: str | None = None
) -> SubjectSearch:
    """What the web says of the rules of an account such as `roth ira` or `401k`; errors as in `search_web`."""
    account = _words(account_type, "a type of account")
    queries = [
        f"{account} contribution limits",
        f"{account} withdrawal rules and early withdrawal penalties",
        f"{account} required minimum distributions",
        f"{account} eligibility and income limits",
    ]
    return await _search_all(f"rules of a {account}", queries, provider, project)


async def search_fund_prospectus(
    ticker: str, *, provider: str | None = None, project: str | None = None
) -> SubjectSearch:
    """What the web says of the fund with a ticker symbol; errors as in `search_web`."""
    symbol = ticker.strip().upper()
    if not _TICKER.fullmatch(symbol):
        raise BadInput(f"{ticker!r} is no ticker symbol; write one like VTSAX")
    queries = [
        f"{symbol} fund prospectus",
        f"{symbol} expense ratio and fees",
        f"{symbol} fund holdings and investment strategy",
        f"{symbol} fund performance and risk",
    ]
    return await _search_all(f"prospectus of {symbol}", queries, provider, project)


async def search_legislation(
    query: str,
    *,
    count: int = LEGISLATION_RESULTS,
    domains: Sequence[str] = LEGISLATION_DOMAINS,
    provider: str | None = None,
    project: str | None = None,
) -> WebSearch:
    """What governments, universities and organisations published on `query`; errors as in `search_web`.

    The last year's pages, where the provider can tell.
    """
    return await search_web(
        query,
        count=count,
        domains=domains,
        recency=await _last_year(provider),
        provider=provider,
        project=project,
    )


async def _search_all(subject: str, queries: Sequence[str], provider: str | None, project: str | None) -> SubjectSearch:
    async with open_ledger():
        recency = await _last_year(provider)
        found = await asyncio.gather(
            *(
                search_web(query, count=FINANCE_RESULTS, recency=recency, provider=provider, project=project)
                for query in queries
            )
        )
    return SubjectSearch(subject=subject, searches=tuple(found))


async def _last_year(provider: str | None) -> str | None:
    async with open_ledger() as ledger:
        return "year" if takes_recency(search_model(provider, ledger.settings)) else None


def _words(said: str, kind: str) -> str:
    words = " ".join(said.replace("_", " ").split())
    if not words or len(words) > 60:
        raise BadInput(f"{said!r} is not {kind}")
    return words
