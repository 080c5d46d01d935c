"""What `headrace web …` shows."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from pydantic import BaseModel
from rich.console import Console

from flows.presentation import console, money, table, write_json
from schemas.calls import WebResult
from tasks.ledger.search_usage import ProviderSearches, SearchStatistics
from tasks.ledger.searches import WebSearch
from tasks.ledger.subject_searches import SubjectSearch


class _Found(WebSearch):
    run_id: None = None
    status: str = "completed"


class _Subject(BaseModel):
    run_id: None = None
    status: str = "completed"
    subject: str
    cost_usd: Decimal | None
    searches: list[WebSearch]


class _Statistics(SearchStatistics):
    run_id: None = None
    status: str = "completed"
    cleaned: int | None


def show_search(found: WebSearch, *, as_json: bool) -> int:
    """The pages found, with where they are from."""
    if as_json:
        write_json(_Found(**found.model_dump()))
        return 0
    out = console()
    _show_results(out, found.results)
    _say(out, f"{_count(found)}, {money(found.cost_usd)}")
    return 0


def show_subject(found: SubjectSearch, *, as_json: bool) -> int:
    """The pages found by each query on a subject."""
    if as_json:
        whole = _Subject(subject=found.subject, cost_usd=found.cost_usd, searches=list(found.searches))
        write_json(whole)
        return 0
    out = console()
    for search in found.searches:
        _say(out, f"{search.query}: {_count(search)}")
        _show_results(out, search.results)
    _say(out, f"{found.subject}: {len(found.results)} pages, {money(found.cost_usd)}")
    return 0


def show_statistics(statistics: SearchStatistics, cleaned: int | None, *, as_json: bool) -> int:
    """Hit rate and money saved, by provider and in all."""
    if as_json:
        write_json(_Statistics(**dict(statistics), cleaned=cleaned))
        return 0
    out = console()
    rows = [*statistics.by_provider.items(), ("all", statistics)]
    columns = ["provider", "searches", "from the cache", "hit rate", "failed", "spent", "saved", "unpriced"]
    out.print(table("", columns, ([name, *_cells(row)] for name, row in rows)))
    _say(out, f"{statistics.live} cached searches, {statistics.expired} expired")
    if cleaned is not None:
        _say(out, f"{cleaned} expired searches were taken out")
    return 0


def _cells(row: ProviderSearches) -> list[object]:
    rate = "" if row.hit_rate is None else f"{row.hit_rate:.1%}"
    return [row.answered, row.hits, rate, row.failed, money(row.spent_usd), money(row.saved_usd), row.unpriced]


def _show_results(out: Console, results: Iterable[WebResult]) -> None:
    for result in results:
        dated = f" ({result.published_date})" if result.published_date else ""
        _say(out, f"- {result.title}{dated}\n  {result.url}")
        if result.snippet:
            _say(out, f"  {' '.join(result.snippet.split())}")


def _count(found: WebSearch) -> str:
    results = f"{len(found.results)} results" if found.results else "no result"
    return f"{results} from {found.provider}{', cached' if found.cached else ''}"


def _say(out: Console, line: str) -> None:
    out.print(line, soft_wrap=True, markup=False)
