"""Step 2: the model writes queries, each is searched for, what is found is kept with its source."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from blocks.database import database_errors
from schemas.analysis import BillRef, Research, SearchQueries, SearchResult
from schemas.bills import SectionPart
from schemas.errors import NotFound
from schemas.settings import STORED_CORPUS
from schemas.tables import Step
from tasks.analysis.corpus import SearchHit, SearchProvider, StoredCorpus
from tasks.analysis.drafting import PROMPTS, ask_about, readings_of
from tasks.analysis.reading import load_bill
from tasks.analysis.web_research import LegislationOnTheWeb
from tasks.ledger.prompts import Prompt
from tasks.ledger.searches import search_model
from tasks.ledger.session import Ledger, open_ledger
from tasks.ledger.steps import step

RESEARCH = Prompt(PROMPTS / "research.md")
HITS_PER_QUERY = 3
RESULTS = 8


@step("research", version="1", prompt=RESEARCH)
async def research_bill(
    bill: BillRef, group: list[SectionPart], model: str, count: int = 6, search: str = STORED_CORPUS
) -> Research:
    """Queries about the bill and what is found on them, without duplicates.

    Args:
        group: the sections that the model reads to write the queries; the first of the bill.
        count: how many queries.
        search: where to look: `corpus` for the stored bills, else a provider of web searches.
    """
    async with open_ledger() as ledger:
        provider = _provider(ledger, search, bill)
        loaded = await load_bill(ledger.engine, bill.id)
        schema = SearchQueries.model_json_schema()
        schema["properties"]["queries"] |= {"minItems": count, "maxItems": count}
        schema["properties"]["queries"]["items"] |= {"maxLength": 120}
        answer = await ask_about(
            loaded, group, RESEARCH.render(count=count), SearchQueries, model, output_schema=schema
        )
        queries = list(dict.fromkeys(query.strip() for query in answer.value.queries if query.strip()))
        hits = await asyncio.gather(*(provider.search(query, count=HITS_PER_QUERY) for query in queries))
        found = list(zip(queries, hits, strict=True))
    return Research(
        queries=queries,
        results=merge_hits(found),
        queries_without_results=[query for query, hits in found if not hits],
        provider=provider.name,
        readings=readings_of(answer, "research", group),
    )


def _provider(ledger: Ledger, search: str, bill: BillRef) -> SearchProvider:
    """Where to look; what it needs is known to be there before a model is paid for queries."""
    if search == STORED_CORPUS:
        return StoredCorpus(ledger.engine, exclude=bill.key)
    ledger.providers.web.require(search_model(search, ledger.settings))
    return LegislationOnTheWeb(search)


@step("research", version="1")
async def reuse_research(run_id: UUID) -> Research:
    """What research found in another run, so that two runs rest on the same.

    Raises:
        NotFound: there is no such run, or its research was not completed.
    """
    found = await find_research(run_id)
    if found is None:
        raise NotFound(f"run {run_id} has no completed research to use", run=str(run_id))
    return found


async def find_research(run_id: UUID) -> Research | None:
    """The research of a run; None until it is completed."""
    wanted = select(Step.output).where(Step.run_id == run_id, Step.name == "research", Step.status == "completed")
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                output = (await connection.execute(wanted.limit(1))).scalar()
    return None if output is None else Research.model_validate(output)


def merge_hits(found: Sequence[tuple[str, Sequence[SearchHit]]]) -> list[SearchResult]:
    """The best hits of all queries, numbered, each passage once."""
    best: dict[tuple[str, str], tuple[str, SearchHit]] = {}
    for query, hits in found:
        for hit in hits:
            place = (hit.source, hit.text)
            if place not in best or best[place][1].score < hit.score:
                best[place] = (query, hit)
    ranked = sorted(best.values(), key=lambda pair: pair[1].score, reverse=True)[:RESULTS]
    return [
        SearchResult(number=number, query=query, **hit.model_dump()) for number, (query, hit) in enumerate(ranked, 1)
    ]
