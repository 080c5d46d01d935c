"""`headrace web …`: searches of the web, and what their cache saves."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from flows.command_options import Json

web = App(name="web", help="Search the web; what was found is shared and not paid for twice.")

Provider = Annotated[str, Parameter(help="zai, tavily, searxng …; HEADRACE_SEARCH_PROVIDER by default.")]
Project = Annotated[str, Parameter(help="Project whose budget pays.")]


@web.command
def search(
    query: str,
    *,
    count: int = 10,
    domain: list[str] | None = None,
    recency: str = "",
    provider: Provider = "",
    project: Project = "",
    json: Json = False,
) -> int:
    """Search for anything.

    Parameters
    ----------
    count
        At most so many results, up to 50.
    domain
        Only pages of this host and below it, or of a top-level domain (*.gov); may be given again.
    recency
        Only pages of the last day, week, month or year.
    """
    from flows.web_presentation import show_search
    from tasks.ledger.searches import search_web

    work = search_web(
        query,
        count=count,
        domains=domain or (),
        recency=recency or None,
        provider=provider or None,
        project=project or None,
    )
    return show_search(asyncio.run(work), as_json=json)


@web.command
def legislation(query: str, *, provider: Provider = "", project: Project = "", json: Json = False) -> int:
    """What governments, universities and organisations published in the last year."""
    from flows.web_presentation import show_search
    from tasks.ledger.subject_searches import search_legislation

    work = search_legislation(query, provider=provider or None, project=project or None)
    return show_search(asyncio.run(work), as_json=json)


@web.command(name="tax-rules")
def tax_rules(state: str, year: int, *, provider: Provider = "", project: Project = "", json: Json = False) -> int:
    """Income tax of a US state in a year: brackets, deductions, capital gains, credits."""
    from flows.web_presentation import show_subject
    from tasks.ledger.subject_searches import search_tax_rules

    work = search_tax_rules(state, year, provider=provider or None, project=project or None)
    return show_subject(asyncio.run(work), as_json=json)


@web.command(name="retirement-rules")
def retirement_rules(account: str, *, provider: Provider = "", project: Project = "", json: Json = False) -> int:
    """Rules of a retirement account (roth-ira, 401k …): limits, withdrawals, distributions, eligibility."""
    from flows.web_presentation import show_subject
    from tasks.ledger.subject_searches import search_retirement_rules

    work = search_retirement_rules(account, provider=provider or None, project=project or None)
    return show_subject(asyncio.run(work), as_json=json)


@web.command(name="fund-prospectus")
def fund_prospectus(ticker: str, *, provider: Provider = "", project: Project = "", json: Json = False) -> int:
    """A fund by its ticker symbol: prospectus, fees, holdings, performance."""
    from flows.web_presentation import show_subject
    from tasks.ledger.subject_searches import search_fund_prospectus

    work = search_fund_prospectus(ticker, provider=provider or None, project=project or None)
    return show_subject(asyncio.run(work), as_json=json)


@web.command
def cache(*, clean: Annotated[bool, Parameter(negative="")] = False, project: str = "", json: Json = False) -> int:
    """How often the cache answered, and what that saved.

    Parameters
    ----------
    clean
        Take out what has expired first.
    project
        Only searches of this project; of all when not given.
    """
    from flows.web_presentation import show_statistics
    from tasks.ledger.search_usage import clean_search_cache, search_statistics

    cleaned = asyncio.run(clean_search_cache()) if clean else None
    return show_statistics(asyncio.run(search_statistics(project or None)), cleaned, as_json=json)
