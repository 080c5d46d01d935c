"""Batches that adapt, texts that are refused, and errors that end it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from schemas.errors import BadInput, BudgetExceeded, ContextLengthExceeded, HeadraceError, RetriesExhausted
from tasks.embedding.batches import MOST_DOUBTFUL, Batcher, BatchLimits, Text

Refuse = Callable[[list[str]], HeadraceError | None]


class Recorded:
    """A provider that `refuse` speaks for, with what became of the texts."""

    def __init__(self, refuse: Refuse, items: int = 8, tokens: int = 1000, at_once: int = 1) -> None:
        self.refuse = refuse
        self.asked: list[list[str]] = []
        self.stored: list[str] = []
        self.aside: dict[str, str] = {}
        self.batcher: Batcher[int] = Batcher(
            self.ask, self.store, self.set_aside, BatchLimits(items, tokens), at_once=at_once
        )

    async def ask(self, texts: Sequence[Text]) -> int:
        names = [each.content for each in texts]
        self.asked.append(names)
        if error := self.refuse(names):
            raise error
        return len(names)

    async def store(self, texts: Sequence[Text], answer: int) -> None:
        assert answer == len(texts)
        self.stored += [each.content for each in texts]

    async def set_aside(self, text: Text, error: HeadraceError) -> None:
        self.aside[text.content] = error.code

    async def embed(self, texts: Sequence[Text]) -> None:
        async def batches() -> AsyncIterator[Sequence[Text]]:
            for batch in list(self.batcher.limits.cut(texts)):
                yield batch

        await self.batcher.embed_all(batches())


def texts(count: int, tokens: int = 1) -> list[Text]:
    return [Text(f"hash{number}", f"t{number}", tokens) for number in range(count)]


def test_a_batch_ends_before_either_limit_and_holds_one_text_at_least() -> None:
    sizes = [4, 5, 1, 20, 3, 3, 3]
    made = [Text(str(place), "", size) for place, size in enumerate(sizes)]
    cut = [[each.tokens for each in batch] for batch in BatchLimits(3, 10).cut(made)]
    assert cut == [[4, 5, 1], [20], [3, 3, 3]]


async def test_a_provider_that_takes_less_gets_less_from_then_on() -> None:
    refused = Recorded(lambda names: BadInput("too many") if len(names) > 2 else None)
    await refused.embed(texts(20))
    assert sorted(refused.stored) == sorted(each.content for each in texts(20))
    sizes = [len(names) for names in refused.asked]
    assert sizes[:7] == [8, 4, 2, 2, 4, 2, 2]  # halved and halved again
    assert max(sizes[7:]) == 2
    assert refused.aside == {}


async def test_one_bad_text_is_set_aside_alone_and_lowers_no_limit() -> None:
    recorded = Recorded(lambda names: ContextLengthExceeded("too long") if "t5" in names else None)
    await recorded.embed(texts(16))
    assert recorded.aside == {"t5": "context_length_exceeded"}
    assert sorted(recorded.stored) == sorted(each.content for each in texts(16) if each.content != "t5")
    assert recorded.asked.count(["t5"]) == 1
    assert len(recorded.asked[-1]) == 8
    assert recorded.batcher.limits.items == 8


async def test_where_every_text_is_refused_the_request_is_wrong() -> None:
    recorded = Recorded(lambda _: BadInput("no such parameter"), at_once=2)
    with pytest.raises(BadInput, match="no such parameter"):
        await recorded.embed(texts(100))
    assert recorded.aside == {}
    assert sum(len(names) == 1 for names in recorded.asked) <= MOST_DOUBTFUL + 2


async def test_a_single_text_that_is_refused_is_not_set_aside_in_silence() -> None:
    recorded = Recorded(lambda _: BadInput("refused"))
    with pytest.raises(BadInput, match="refused"):
        await recorded.embed(texts(1))


async def test_a_bad_text_that_comes_alone_is_set_aside_where_others_were_answered_before() -> None:
    recorded = Recorded(lambda _: BadInput("refused"))
    recorded.batcher.trusted = True
    await recorded.embed(texts(1))
    assert recorded.aside == {"t0": "bad_input"}
    with pytest.raises(BadInput):
        await recorded.embed(texts(MOST_DOUBTFUL + 2))


async def test_texts_refused_before_any_was_answered_are_set_aside_once_one_is() -> None:
    recorded = Recorded(lambda names: BadInput("bad") if {"t0", "t1"} & set(names) else None, items=2)
    await recorded.embed(texts(4))
    assert (recorded.aside, recorded.stored) == ({"t0": "bad_input", "t1": "bad_input"}, ["t2", "t3"])


async def test_a_provider_that_is_down_ends_it_at_once() -> None:
    recorded = Recorded(lambda names: RetriesExhausted("down") if "t4" in names else None, items=4)
    with pytest.raises(RetriesExhausted):
        await recorded.embed(texts(16))
    assert (recorded.stored, len(recorded.asked)) == (["t0", "t1", "t2", "t3"], 2)


async def test_what_is_under_way_is_stored_before_an_error_is_raised() -> None:
    def refuse(names: list[str]) -> HeadraceError | None:
        return BudgetExceeded("no room") if "t2" in names else None

    recorded = Recorded(refuse, items=1, at_once=3)
    with pytest.raises(BudgetExceeded):
        await recorded.embed(texts(50))
    assert {"t0", "t1"} <= set(recorded.stored)
    assert len(recorded.asked) < 50
    assert set(recorded.stored) == {name for (name,) in recorded.asked} - {"t2"}


async def test_an_error_of_whoever_brings_the_texts_is_raised_as_it_is() -> None:
    recorded = Recorded(lambda _: None)

    async def batches() -> AsyncIterator[Sequence[Text]]:
        yield texts(2)
        raise BadInput("no more")

    with pytest.raises(BadInput, match="no more"):
        await recorded.batcher.embed_all(batches())
    assert set(recorded.stored) <= {"t0", "t1"}
