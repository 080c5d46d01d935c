"""Embeddings brought up to date: chunks of what changed, vectors of what has none, and the switch to a new generation.

1. Materials whose fingerprint changed are cut; chunks and bookkeeping are committed a page at a time.
2. Vectors of texts that no chunk has any more go.
3. Texts that the generation lacks are embedded, those first that an interrupted run has paid for.
4. A complete generation gets its index, is compared on a sample, and search is switched to it in one transaction.

Each step finds out by itself what is left to do, so that whoever comes after a crash goes on where that was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection, text

from blocks.database import create_database
from blocks.garbage import without_garbage_collection
from schemas.embedding import Agreement, Changes, GenerationRecord, RefreshReport
from tasks.embedding.filling import Filling
from tasks.embedding.generations import (
    activate,
    active_generation,
    doubts,
    hold_embeddings,
    lacks,
    note_complete,
    note_recall,
    read_generation,
)
from tasks.embedding.index import build_index, compare
from tasks.embedding.materials import (
    PAGE,
    ChunkSet,
    IndexTerms,
    cut_materials,
    find_changed,
    forget_deleted,
    store_cuts,
    sweep_vectors,
)
from tasks.embedding.pieces import Chunker
from tasks.embedding.progress import Progress
from tasks.embedding.templates import TEMPLATES
from tasks.embedding.work import RefreshRequest, Work, require_courses
from tasks.ledger.fan_out import for_each
from tasks.ledger.runs import Run
from tasks.ledger.steps import step

PAGES_AT_ONCE = 2
"""Pages of materials: while Postgres stores one, another is cut."""
WORTH_ANALYZING = 1000
"""Rows whose coming the planner is told of."""


class Chunked(BaseModel):
    """What became of the chunks."""

    materials: Changes
    chunks: Changes
    vectors_deleted: int


class Finished(BaseModel):
    """What became of the generation."""

    agreement: Agreement | None = None
    activated: bool = False
    remarks: tuple[str, ...] = ()


async def refresh_embeddings(
    run: Run,
    request: RefreshRequest,
    chunker: Chunker,
    *,
    index_terms: IndexTerms | None = None,
    progress: Progress | None = None,
) -> RefreshReport:
    """Everything is embedded, within `run`; see the module.

    Args:
        index_terms: keeps the index of words right, in the transactions that store chunks.
        progress: is told how far it is.

    Raises:
        RunBusy: another refresh, or a change of generations, is under way.
        NotFound: there is no such course.
        BudgetExceeded, ConfigurationError, RetriesExhausted: as `embed`; what was paid for is stored.
        BadInput: the provider refuses the request, whatever the text.
    """
    began = time.monotonic()
    settings = run.ledger.settings
    wanted = request.completed(settings)
    chunks = ChunkSet(chunker, TEMPLATES[settings.embedding_template])
    model = await run.ledger.providers.describe(wanted.model)
    engine = create_database(run.ledger.engine.url, pool_size=settings.embedding_parallel + 2)
    work = Work(run, engine, wanted, chunks, model, progress or Progress())
    try:
        with hold_embeddings(engine):
            refresh = _Refresh(work, index_terms)
            report = await refresh.report(run.attempt.id)
    finally:
        await asyncio.to_thread(engine.dispose)
    return report.model_copy(update={"seconds": round(time.monotonic() - began, 3)})


class _Refresh:
    """The steps of one refresh."""

    def __init__(self, work: Work, index_terms: IndexTerms | None) -> None:
        self.work = work
        self.index_terms = index_terms

    async def report(self, attempt: UUID) -> RefreshReport:
        """What the steps, which are done now, came to; `attempt` makes them steps of this attempt."""
        work = self.work
        chunked = await step("chunk", version="1")(self._chunk)(attempt)
        embedded = await step("embed", version="1")(Filling(work).embed)(attempt)
        finished, dimensions, active = Finished(), None, False
        if embedded.generation is not None:
            finished = await step("switch", version="1")(self._finish)(attempt, embedded.generation)
            dimensions, active = await work.in_thread(lambda connection: _state(connection, embedded.generation))
        calls, tokens, cost = await work.in_thread(self._bill)
        return RefreshReport(
            run_id=work.run.id,
            generation=embedded.generation,
            model=work.request.model,
            dimensions=dimensions,
            chunker=work.chunks.name,
            template=work.chunks.template.name,
            materials=chunked.materials,
            chunks=chunked.chunks,
            embedded=embedded.embedded,
            failed=embedded.failed,
            failed_count=embedded.failed_count,
            vectors_deleted=chunked.vectors_deleted,
            calls=calls,
            tokens=tokens,
            cost_usd=cost,
            agreement=finished.agreement,
            activated=finished.activated,
            active=active,
            remarks=finished.remarks,
        )

    async def _chunk(self, attempt: UUID) -> Chunked:
        work, courses = self.work, self.work.request.courses

        def look(connection: Connection) -> tuple[tuple[str, ...], int]:
            require_courses(connection, courses)
            found = find_changed(connection, work.chunks, courses)
            return found.changed, found.unchanged

        changed, unchanged = await work.in_thread(look)
        work.progress.begin("cutting materials", len(changed))
        materials, chunks = Changes(skipped=unchanged), Changes()

        async def cut(ids: Sequence[str]) -> tuple[Changes, Changes]:
            done = await self._cut(ids)
            work.progress.add(len(ids))
            return done

        pages = [changed[start : start + PAGE] for start in range(0, len(changed), PAGE)]
        for more, pieces in await for_each(pages, cut, at_once=PAGES_AT_ONCE):
            materials, chunks = materials + more, chunks + pieces

        def tidy(connection: Connection) -> tuple[int, int, int]:
            gone, their_chunks = forget_deleted(connection, work.chunks.name)
            if chunks.added + chunks.updated >= WORTH_ANALYZING:
                connection.execute(text("ANALYZE chunks (material_id, chunker, content_hash)"))
            return gone, their_chunks, sweep_vectors(connection)

        gone, their_chunks, vectors = await work.in_thread(tidy)
        return Chunked(
            materials=materials + Changes(deleted=gone),
            chunks=chunks + Changes(deleted=their_chunks),
            vectors_deleted=vectors,
        )

    async def _cut(self, ids: Sequence[str]) -> tuple[Changes, Changes]:
        """What became of these materials and their chunks, which are committed."""
        chunks, index_terms = self.work.chunks, self.index_terms

        def cut(connection: Connection) -> tuple[Changes, Changes]:
            with without_garbage_collection():
                return store_cuts(connection, chunks, cut_materials(connection, chunks, ids), index_terms)

        return await self.work.in_thread(cut)

    async def _finish(self, attempt: UUID, generation: int) -> Finished:
        work = self.work

        def look(connection: Connection) -> tuple[GenerationRecord, GenerationRecord | None]:
            found = read_generation(connection, generation)
            return found, found if found.status == "active" else active_generation(connection)

        record, active = await work.in_thread(look)
        reason = lacks(record)
        if reason and active is not None:
            mend = "without --course" if work.request.courses else "again"
            return Finished(remarks=(f"{reason}; refresh {mend} to complete it",))
        remarks: list[str] = []
        if not record.index_built and record.vectors:
            work.progress.begin("building the index")
            if not await work.in_thread(lambda connection: build_index(connection, record)):
                remarks.append("the user of the database does not own its tables: without an index, search is exact")
        if record.status == "active":
            return Finished(remarks=tuple(remarks))
        work.progress.begin("comparing on a sample")
        agreement, doubt = await work.in_thread(lambda connection: self._judge(connection, generation, active))
        if doubt is not None and active is not None:
            hint = f"{doubt}: search stays as it is (`headrace embeddings switch {generation} --force`)"
            return Finished(agreement=agreement, remarks=(*remarks, hint))
        if doubt is not None:
            remarks.append(f"{doubt}; search reads it all the same, as there is no other")
        await work.in_thread(lambda connection: activate(connection, generation))
        return Finished(agreement=agreement, activated=True, remarks=tuple(remarks))

    def _judge(
        self, connection: Connection, generation: int, active: GenerationRecord | None
    ) -> tuple[Agreement, str | None]:
        """How the generation compares, and why search had better not be switched to it."""
        connection.execute(text("ANALYZE material_embeddings"))
        record = read_generation(connection, generation)
        agreement = compare(connection, record, active)
        if lacks(record) is None:
            note_complete(connection, generation)
        note_recall(connection, generation, agreement.recall)
        return agreement, doubts(read_generation(connection, generation), self.work.settings.embedding_recall)

    def _bill(self, connection: Connection) -> tuple[int, int, Decimal | None]:
        """Calls, tokens and dollars of all attempts; a cost that is not known makes the sum unknown."""
        row = connection.execute(_BILL, {"run": self.work.run.id}).one()
        return row.calls, row.tokens, None if row.unknown else row.usd


def _state(connection: Connection, generation: int | None) -> tuple[int, bool]:
    """How many dimensions it has, and whether search reads it."""
    query = "SELECT dimensions, status = 'active' AS active FROM embedding_generations WHERE id = :id"
    row = connection.execute(text(query), {"id": generation}).one()
    return row.dimensions, row.active


_BILL = text("""
    SELECT count(*) AS calls, coalesce(sum(input_tokens), 0) AS tokens, coalesce(sum(cost_usd), 0) AS usd,
           count(*) FILTER (WHERE cost_usd IS NULL AND status <> 'failed') AS unknown
    FROM llm_requests WHERE run_id = :run AND kind = 'embedding' AND status <> 'replayed'
""")
