"""What the search cache saves, and taking out of it what has expired."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, computed_field
from sqlalchemy import text

from blocks.database import database_errors
from tasks.ledger.session import open_ledger

_SEARCHES = text("""
    SELECT coalesce(searches.provider, '') AS provider,
           count(*) FILTER (WHERE searches.status IN ('succeeded', 'replayed')) AS answered,
           count(*) FILTER (WHERE searches.status = 'replayed') AS hits,
           count(*) FILTER (WHERE searches.status IN ('failed', 'unknown')) AS failed,
           coalesce(sum(CASE searches.status WHEN 'unknown' THEN searches.reserved_usd ELSE searches.cost_usd END), 0)
               AS spent_usd,
           coalesce(sum(original.cost_usd), 0) AS saved_usd,
           count(*) FILTER (WHERE (searches.status = 'replayed' AND original.cost_usd IS NULL)
                            OR (searches.status = 'succeeded' AND searches.cost_usd IS NULL)) AS unpriced
    FROM llm_requests AS searches
    LEFT JOIN llm_requests AS original ON original.id = searches.replayed_from
    WHERE searches.kind = 'search'
      AND (CAST(:project AS text) IS NULL OR searches.project = :project)
      AND (CAST(:since AS timestamptz) IS NULL OR searches.created_at >= :since)
    GROUP BY GROUPING SETS ((), (searches.provider))
    ORDER BY 1
""")
_ENTRIES = text("""
    SELECT count(*) FILTER (WHERE expires_at > clock_timestamp()) AS live, count(*) AS entries FROM web_search_cache
""")


class ProviderSearches(BaseModel):
    """The searches of one provider.

    Attributes:
        answered: searches that got results, or none that were to be found; `hits` of them from the cache.
        failed: attempts that got no answer.
        spent_usd: an attempt of unknown outcome counts with its worst case.
        saved_usd: what the hits cost when they were first asked.
        unpriced: searches whose price nobody knows; they are in neither sum.
    """

    model_config = ConfigDict(frozen=True)

    answered: int
    hits: int
    failed: int
    spent_usd: Decimal
    saved_usd: Decimal
    unpriced: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def hit_rate(self) -> float | None:
        """Share of the answered searches that the cache answered; None where there was none."""
        return self.hits / self.answered if self.answered else None


class SearchStatistics(ProviderSearches):
    """All searches, by provider, and what the cache holds now.

    Attributes:
        live: entries that are replayed; `expired`: those that wait to be cleaned up.
    """

    by_provider: dict[str, ProviderSearches]
    live: int
    expired: int


async def search_statistics(project: str | None = None, since: datetime | None = None) -> SearchStatistics:
    """How often the cache answered and what that saved.

    Args:
        project: only searches of this project; of all when not given.
        since: only searches from this moment on.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                found = await connection.execute(_SEARCHES, {"project": project, "since": since})
                rows = {row["provider"]: dict(row) for row in found.mappings()}
                entries = (await connection.execute(_ENTRIES)).one()
    total = rows.pop("")
    return SearchStatistics(
        **total,
        by_provider={name: ProviderSearches(**row) for name, row in rows.items()},
        live=entries.live,
        expired=entries.entries - entries.live,
    )


async def clean_search_cache() -> int:
    """What has expired is out of the cache; returns how many entries that were."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return int((await connection.execute(text("SELECT cleanup_search_cache()"))).scalar_one())
