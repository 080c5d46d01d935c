"""Texts that a generation lacks are embedded."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection

from schemas.calls import EmbeddingCall
from schemas.embedding import GenerationRecord, SetAside
from schemas.errors import BadInput, ExpectationFailed, HeadraceError, NotFound
from tasks.embedding.batches import Batcher, BatchLimits, Text
from tasks.embedding.generations import find_generation, identity_of, make_generation, read_generation
from tasks.embedding.vectors import (
    Lacking,
    as_stored,
    forget_failures,
    paid_batches,
    still_lacking,
    store_failure,
    store_vectors,
)
from tasks.embedding.work import Work, price_of
from tasks.ledger.calls import Embeddings, embed
from tasks.ledger.gateway import call_key
from tasks.ledger.scoping import scope_of

log = logging.getLogger(__name__)
SHOWN = 20
"""How many texts that were set aside a report names."""


class Embedded(BaseModel):
    """What was embedded."""

    generation: int | None = None
    embedded: int = 0
    failed: tuple[SetAside, ...] = ()
    failed_count: int = 0


class Filling:
    """Fills the generation of one refresh."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._embedded = 0
        self._failures: list[SetAside] = []

    async def embed(self, attempt: UUID) -> Embedded:
        """The generation has a vector of every text, apart from those set aside; None where there is no text."""
        identity = identity_of(self.work.model.litellm_model, self.work.model.identity, self.work.request.dimensions)

        def find(connection: Connection) -> int | None:
            found = find_generation(connection, identity, self.work.chunks.name)
            if found is not None and self.work.request.retry_failed:
                forget_failures(connection, found)
            return found

        generation = await self.work.in_thread(find)
        count, tokens = await self.work.in_thread(self._lacking(generation).count)
        if count:
            self._say_what_comes(count, tokens)
        if generation is None and count:
            generation = await self._begin_generation(identity)
        if generation is not None and count:
            self.work.progress.begin("embedding", count)
            await self._embed_lacking(generation)
        return Embedded(
            generation=generation,
            embedded=self._embedded,
            failed=tuple(self._failures[:SHOWN]),
            failed_count=len(self._failures),
        )

    def _lacking(self, generation: int | None) -> Lacking:
        return Lacking(self.work.chunks.name, self.work.chunks.template.name, generation, self.work.request.courses)

    def _say_what_comes(self, count: int, tokens: int) -> None:
        usd = price_of(self.work.model, tokens)
        costs = "at an unknown price" if usd is None else f"for about ${usd:.4f}" if usd else "for nothing"
        model = self.work.request.model
        log.info("embedding %s texts of about %s tokens with %s, %s", f"{count:,}", f"{tokens:,}", model, costs)

    async def _begin_generation(self, identity: str) -> int:
        """A new generation; how many dimensions it has is told by its first text, where that was not asked for."""
        dimensions = self.work.request.dimensions
        if dimensions is None:
            dimensions = await self._first_dimensions()
        made, chunks = dimensions, self.work.chunks
        return await self.work.in_thread(
            lambda connection: make_generation(
                connection,
                model=self.work.request.model,
                identity=identity,
                dimensions=made,
                chunker=chunks.name,
                template=chunks.template.name,
            )
        )

    async def _first_dimensions(self) -> int:
        """Of the vector of the first text that the model takes; its call is replayed when that is embedded."""
        page = await self.work.in_thread(lambda connection: self._lacking(None).page(connection, "", 8))
        refusal: HeadraceError = NotFound("the materials changed meanwhile; try again")
        for each in page:
            try:
                return len((await self._ask([each])).vectors[0])
            except BadInput as error:
                refusal = error
        raise refusal

    async def _ask(self, texts: Sequence[Text]) -> Embeddings:
        return await embed(
            [each.content for each in texts],
            model=self.work.request.model,
            dimensions=self.work.request.dimensions,
            most_tokens=sum(each.tokens for each in texts),
        )

    async def _embed_lacking(self, generation: int) -> None:
        settings = self.work.settings
        record = await self.work.in_thread(lambda connection: read_generation(connection, generation))

        async def store(texts: Sequence[Text], answer: Embeddings) -> None:
            await self._store(record, texts, answer)

        async def set_aside(each: Text, error: HeadraceError) -> None:
            await self._set_aside(generation, each, str(error), error.code)

        limits = BatchLimits(settings.embedding_batch_items, settings.embedding_batch_tokens)
        batcher = Batcher(
            self._ask, store, set_aside, limits, trusted=record.vectors > 0, at_once=settings.embedding_parallel
        )
        await batcher.embed_all(self._batches(record, limits))

    async def _batches(self, generation: GenerationRecord, limits: BatchLimits) -> AsyncIterator[Sequence[Text]]:
        """First what is paid for, as it was asked; then everything else, page by page."""
        lacking = self._lacking(generation.id)
        asked: set[str] = set()
        for batch in await self._paid(generation, lacking):
            asked.update(each.content_hash for each in batch)
            yield batch
        after = ""
        while page := await self._page(lacking, after):
            after = page[-1].content_hash
            for texts in limits.cut([each for each in page if each.content_hash not in asked]):
                yield texts

    async def _page(self, lacking: Lacking, after: str) -> list[Text]:
        return await self.work.in_thread(lambda connection: lacking.page(connection, after))

    async def _paid(self, generation: GenerationRecord, lacking: Lacking) -> list[tuple[Text, ...]]:
        scope = scope_of(self.work.run.ledger, None, None, None, 0, None)

        def key(texts: Sequence[Text]) -> str:
            contents = tuple(each.content for each in texts)
            call = EmbeddingCall(model=self.work.request.model, texts=contents, dimensions=self.work.request.dimensions)
            return call_key(call, self.work.model, scope)

        def look(connection: Connection) -> list[tuple[Text, ...]]:
            run = self.work.run
            found = paid_batches(
                connection, flow=run.flow, subject=run.subject, project=run.project, generation=generation.id
            )
            alike = [texts for texts, answer_key in found if key(texts) == answer_key]
            wanted = still_lacking(connection, lacking, [each.content_hash for texts in alike for each in texts])
            return [batch for texts in alike if (batch := _marked(texts, wanted))]

        return await self.work.in_thread(look)

    async def _store(self, generation: GenerationRecord, texts: Sequence[Text], answer: Embeddings) -> None:
        """What was answered is committed, in one transaction; what is no vector is set aside."""
        if any(len(vector) != generation.dimensions for vector in answer.vectors):
            found = sorted({len(vector) for vector in answer.vectors})
            raise ExpectationFailed(
                f"{self.work.request.model} gives vectors of {found} dimensions where generation {generation.id} has "
                f"{generation.dimensions}: the model behind the name has changed"
            )

        def commit(connection: Connection) -> tuple[int, list[Text]]:
            vectors = [
                (each, vector) for each, vector in zip(texts, as_stored(answer.vectors), strict=True) if each.wanted
            ]
            good = [(each, vector) for each, vector in vectors if vector is not None]
            store_vectors(
                connection,
                generation.id,
                [each for each, _ in good],
                [vector for _, vector in good],
                answer.request_id,
                replayed=answer.replayed,
            )
            return len(good), [each for each, vector in vectors if vector is None]

        stored, bad = await self.work.in_thread(commit)
        self._embedded += stored
        self.work.progress.add(stored)
        for each in bad:
            await self._set_aside(
                generation.id, each, f"{self.work.request.model} gives it a vector of no length", "vector"
            )

    async def _set_aside(self, generation: int, each: Text, reason: str, error_class: str) -> None:
        if not each.wanted:
            return
        failure = SetAside(content_hash=each.content_hash, reason=reason, error_class=error_class)
        await self.work.in_thread(lambda connection: store_failure(connection, generation, failure))
        self._failures.append(failure)
        self.work.progress.add(1)


def _marked(texts: Sequence[Text], wanted: set[str]) -> tuple[Text, ...]:
    """`texts`, those of `wanted` to be stored, which are taken out of it; none where there is none."""
    marked = []
    for each in texts:
        marked.append(replace(each, wanted=each.content_hash in wanted, paid=True))
        wanted.discard(each.content_hash)
    return tuple(marked) if any(each.wanted for each in marked) else ()
