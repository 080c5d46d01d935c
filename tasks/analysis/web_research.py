"""Search in the web, as research asks for it."""

from __future__ import annotations

from tasks.analysis.corpus import SearchHit
from tasks.ledger.subject_searches import search_legislation


class LegislationOnTheWeb:
    """What governments, universities and organisations published, by a search provider."""

    def __init__(self, provider: str) -> None:
        self.name = provider

    async def search(self, query: str, *, count: int) -> list[SearchHit]:
        """The best `count` pages of which the provider shows a piece of text, which can be quoted."""
        found = await search_legislation(query, provider=self.name)
        quotable = [result for result in found.results if result.snippet]
        return [
            SearchHit(title=result.title or result.source, source=result.url, text=result.snippet, score=1 / place)
            for place, result in enumerate(quotable[:count], 1)
        ]
