"""Texts to a model in batches: several at once, smaller where the provider wants it, a bad text by itself.

Nothing here knows of a database: what asks, what stores and what sets aside is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from schemas.errors import BadInput, ContentRefused, HeadraceError, RetriesExhausted

A = TypeVar("A")
MOST_DOUBTFUL = 8
"""Texts refused one by one, before any was answered, after which the request is taken to be wrong, not they."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is embedded, by its hash; `tokens` is a bound.

    Attributes:
        wanted: False for what is asked only because it was asked along with others before.
        paid: the batch it comes in was answered before; as it is, it is answered again for nothing.
    """

    content_hash: str
    content: str
    tokens: int
    wanted: bool = True
    paid: bool = False


@dataclass
class BatchLimits:
    """What one request may hold; lowered where a provider refuses so much."""

    items: int
    tokens: int

    def cut(self, texts: Sequence[Text]) -> Iterator[list[Text]]:
        """`texts` in their order as batches within the limits; a text above them is a batch of its own."""
        batch: list[Text] = []
        tokens = 0
        for each in texts:
            if batch and (len(batch) >= self.items or tokens + each.tokens > self.tokens):
                yield batch
                batch, tokens = [], 0
            batch.append(each)
            tokens += each.tokens
        if batch:
            yield batch

    def lower(self, taken: Sequence[Text], refused: Sequence[Text]) -> None:
        """Requests are no larger than `taken`, which was answered when `refused`, twice as much, was not."""
        self.items = max(1, min(self.items, len(taken)))
        self.tokens = min(self.tokens, max(1, sum(each.tokens for each in refused) // 2))


@dataclass
class Batcher(Generic[A]):
    """Embeds texts.

    Attributes:
        ask: one request; the answer goes to `store` as it is.
        store: the answer to a batch is durable afterwards.
        set_aside: the text is on record as one that cannot be embedded.
        trusted: such requests were answered before, so that a few refusals are their texts' fault.
        at_once: how many requests are under way at any time.
        answered: requests that were answered so far.
    """

    ask: Callable[[Sequence[Text]], Awaitable[A]]
    store: Callable[[Sequence[Text], A], Awaitable[None]]
    set_aside: Callable[[Text, HeadraceError], Awaitable[None]]
    limits: BatchLimits
    trusted: bool = False
    at_once: int = 1
    answered: int = 0
    _doubtful: list[tuple[Text, HeadraceError]] = field(default_factory=list)
    _failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.at_once)

    async def embed_all(self, batches: AsyncIterator[Sequence[Text]]) -> None:
        """All of `batches` are stored or set aside; the first error ends it, once what is under way is stored.

        Raises:
            BudgetExceeded, ConfigurationError, RetriesExhausted: as `tasks.ledger.calls.embed`.
            BadInput: every text was refused: the request is wrong, not they.
        """
        workers_at_once = 2 * self.at_once  # while some store what they were answered, others ask
        waiting: asyncio.Queue[Sequence[Text] | None] = asyncio.Queue(maxsize=workers_at_once)

        async def work() -> None:
            while (batch := await waiting.get()) is not None:
                try:
                    for part in [batch] if batch[0].paid else self.limits.cut(batch):
                        await self._embed(part)
                except Exception as error:  # raised below, when the others have stored what they were paid for
                    self._failures.append(error)

        async with asyncio.TaskGroup() as workers:
            for _ in range(workers_at_once):
                workers.create_task(work())
            try:
                async for batch in batches:
                    if self._failures:
                        break
                    await waiting.put(batch)
            except Exception as error:
                self._failures.append(error)
            for _ in range(workers_at_once):
                await waiting.put(None)
        if self._failures:
            raise self._failures[0]
        await self._judge_doubtful(MOST_DOUBTFUL if self.trusted else 0, at_end=True)

    async def _embed(self, batch: Sequence[Text]) -> bool:
        """The batch is stored or set aside, or left as another has failed; True when one request did it."""
        try:
            async with self._turns:
                if self._failures:
                    return False
                answered = self.answered
                answer = await self.ask(batch)
        except (BadInput, ContentRefused) as error:
            return await self._without(batch, error)
        except RetriesExhausted as error:
            if self.answered == answered:
                raise  # nobody is answered now: it is the provider, not the text
            return await self._without(batch, error)
        self.answered += 1
        await self.store(batch, answer)
        return True

    async def _without(self, batch: Sequence[Text], error: HeadraceError) -> bool:
        if len(batch) > 1:
            halves = batch[: len(batch) // 2], batch[len(batch) // 2 :]
            done = [await self._embed(half) for half in halves]
            if all(done):  # each by itself is taken: together they were too much
                self.limits.lower(max(halves, key=len), batch)
            return False
        self._doubtful.append((batch[0], error))
        await self._judge_doubtful(MOST_DOUBTFUL)
        return False

    async def _judge_doubtful(self, most: int, *, at_end: bool = False) -> None:
        """Refused texts are set aside once another was answered; more than `most` before that: it is the request."""
        if not self.answered and len(self._doubtful) > most:
            raise self._doubtful[0][1]
        while self._doubtful and (self.answered or at_end):
            await self.set_aside(*self._doubtful.pop(0))
