"""Search in the stored bills."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bills import BillKey
from tasks.analysis.corpus import SearchHit, StoredCorpus, best_passage
from tasks.analysis.reading import read_bill
from tasks.analysis.research import RESULTS, merge_hits
from tasks.ledger.session import Ledger

OWN = BillKey(jurisdiction="US", bill_id="HR 1", session="118")
STORED = {
    "HR 1": "SECTION 1. RENTS.\n\n    Rents of dwellings shall not rise in any year.\n",
    "HR 2": "SECTION 1. RENT LIMITS.\n\n    A limit on the rents of dwellings is set by the board each year.\n",
    "HR 3": "SECTION 1. FISHING.\n\n    A license to fish for salmon costs forty dollars.\n\n"
    "SECTION 2. BOARDS.\n\n    The salmon board meets each year.\n",
}


@pytest.fixture
async def corpus(ledger: Ledger, tmp_path: Path) -> StoredCorpus:
    """Three bills, seen from the first."""
    for number, said in STORED.items():
        path = tmp_path / f"{number}.txt"
        path.write_text(said)
        await read_bill(str(path), "US", number, "118")
    return StoredCorpus(ledger.engine, exclude=OWN)


async def test_the_bill_under_analysis_is_not_found(corpus: StoredCorpus) -> None:
    hits = await corpus.search("rents of dwellings", count=5)
    assert [(hit.source, hit.title) for hit in hits] == [("US/HR2/118", "SECTION 1. RENT LIMITS")]


async def test_words_are_found_in_any_form(corpus: StoredCorpus) -> None:
    (hit,) = await corpus.search("licensing fishes", count=5)
    assert (hit.source, "forty dollars" in hit.text) == ("US/HR3/118", True)


async def test_a_query_about_something_else_finds_nothing(corpus: StoredCorpus) -> None:
    assert await corpus.search("orbital debris removal by satellite operators each year", count=5) == []


@pytest.mark.parametrize("query", ["", "   ", "the of and", "'); DROP TABLE bills; --", "& | ! <-> :*", "'"])
async def test_a_query_of_no_words_finds_nothing(corpus: StoredCorpus, query: str) -> None:
    assert await corpus.search(query, count=5) == []


async def test_the_best_come_first_and_no_more_than_wanted(corpus: StoredCorpus) -> None:
    hits = await corpus.search("salmon board", count=5)
    assert hits[0].title == "SECTION 2. BOARDS"  # the one that has both words
    assert {hit.title for hit in hits[1:]} == {"SECTION 1. FISHING", "SECTION 1. RENT LIMITS"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert await corpus.search("salmon board", count=1) == hits[:1]


BODY = "alpha " * 300 + "the tenant shall receive notice of the raise " + "omega " * 300


def test_the_passage_is_where_the_querys_words_are() -> None:
    passage = best_passage(BODY, "notice for a tenant", characters=120)
    assert "tenant shall receive notice" in passage
    assert len(passage) <= 120


def test_a_short_text_is_its_own_passage() -> None:
    assert best_passage("  A short text. ", "other words", characters=120) == "A short text."


@given(st.text(alphabet="ab cdé\n", max_size=400), st.text(alphabet="abcdé ", max_size=30), st.integers(1, 80))
def test_a_passage_is_a_piece_of_its_text(body: str, query: str, characters: int) -> None:
    passage = best_passage(body, query, characters)
    assert passage in body
    assert len(passage) <= characters or len(body) <= characters


def hit(source: str, text: str, score: float) -> SearchHit:
    return SearchHit(title="t", source=source, text=text, score=score)


def test_a_passage_found_twice_is_kept_once_with_its_better_score() -> None:
    merged = merge_hits([("first", [hit("A", "x", 0.1), hit("B", "y", 0.3)]), ("second", [hit("A", "x", 0.5)])])
    assert [(item.number, item.source, item.query, item.score) for item in merged] == [
        (1, "A", "second", 0.5), (2, "B", "first", 0.3),
    ]  # fmt: skip


def test_only_the_best_results_are_kept() -> None:
    merged = merge_hits([("q", [hit("A", str(number), number) for number in range(20)])])
    assert [item.score for item in merged] == [float(score) for score in range(19, 19 - RESULTS, -1)]
