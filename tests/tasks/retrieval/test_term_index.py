"""The index of words in the database: right after every insert, update and delete, whoever made it."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import text

from schemas.search import EVERYTHING, SearchFilter
from tasks.ledger.session import Ledger
from tasks.retrieval.bm25 import Statistics, pack, score_words
from tasks.retrieval.term_index import index_missing_terms, index_terms, merge_segments
from tasks.retrieval.tokenizing import chunk_terms, query_terms
from tasks.retrieval.word_search import read_words
from tests.tasks.retrieval.conftest import CHUNKER, Shelf, Text

HEAP = Text("m-heap", "A heap keeps its smallest key on top.", [1, 0])
TREE = Text("m-tree", "A tree is balanced by rotating it.", [0, 1], course="course-cs201", week=2)
SORT = Text("m-sort", "Sorting by a heap takes n log n steps.", [1, 1], type="slide")
QUESTION = "heap tree rotating"


async def scores(ledger: Ledger, question: str = QUESTION, chosen: SearchFilter = EVERYTHING) -> dict[str, float]:
    """The BM25 score of each material that is found."""
    terms = query_terms(question)
    async with ledger.engine.connect() as connection:
        found = (await read_words(connection, CHUNKER, terms, chosen)).score(terms)
        numbered = await connection.execute(text("SELECT number, material_id FROM term_documents"))
        names = {row.number: row.material_id for row in numbered}
    return {names[number]: found.score(number) for number in found.best}


def expected(*texts: Text, question: str = QUESTION) -> dict[str, float]:
    """What an index made of exactly these texts gives."""
    terms = [chunk_terms(one.title, (), one.content) for one in texts]
    statistics = Statistics(len(texts), sum(one.total() for one in terms), np.zeros(0, dtype=np.int32))
    postings = pack((number, one.total(), one) for number, one in enumerate(terms))
    found = score_words(postings, query_terms(question), statistics)
    return {texts[number].material: found.score(number) for number in found.best}


async def test_chunks_that_are_added_are_found(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    shelf.add(generation, HEAP, TREE)
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE))
    shelf.add(generation, SORT)
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE, SORT))


async def test_what_is_not_committed_is_not_found(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    shelf.add(generation, HEAP)
    (chunk,) = shelf.add(generation, TREE, indexed=False)
    with shelf.engine.connect() as connection:
        index_terms(connection, [chunk])
        assert await scores(ledger) == pytest.approx(expected(HEAP))
        connection.rollback()
    assert await scores(ledger) == pytest.approx(expected(HEAP))


async def test_a_chunk_that_changes_is_found_as_it_is_now(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    shelf.add(generation, HEAP, SORT)
    (chunk,) = shelf.add(generation, TREE)
    changed = TREE._replace(content="A tree is a graph without a circle.")
    shelf.run("UPDATE chunks SET content = :content WHERE id = :id", content=changed.content, id=chunk)
    with shelf.engine.begin() as connection:
        assert index_terms(connection, [chunk]) == 1
    assert await scores(ledger) == pytest.approx(expected(HEAP, SORT, changed))


@pytest.mark.parametrize("statement", ["DELETE FROM chunks WHERE material_id = 'm-tree'",
                                       "DELETE FROM course_materials WHERE id = 'm-tree'"])  # fmt: skip
async def test_what_is_deleted_is_gone_from_results_and_statistics(
    shelf: Shelf, ledger: Ledger, statement: str
) -> None:
    shelf.add(shelf.generation(2), HEAP, TREE, SORT)
    shelf.run(statement)
    assert await scores(ledger) == pytest.approx(expected(HEAP, SORT))
    assert shelf.run("SELECT count(*) FROM term_deletions") == [(1,)]


async def test_chunks_of_another_chunker_are_apart(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    shelf.add(generation, HEAP, TREE)
    shelf.add(generation, SORT, chunker="other-1")
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE))


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (SearchFilter(courses=("course-cs201",)), {"m-tree"}),
        (SearchFilter(types=("slide", "lab")), {"m-sort"}),
        (SearchFilter(weeks=(1,)), {"m-heap", "m-sort"}),
        (SearchFilter(weeks=(1,), types=("lecture",)), {"m-heap"}),
        (SearchFilter(weeks=(9,)), set()),
    ],
)
async def test_a_filter_leaves_scores_as_they_are(
    shelf: Shelf, ledger: Ledger, chosen: SearchFilter, found: set[str]
) -> None:
    shelf.add(shelf.generation(2), HEAP, TREE, SORT)
    every = expected(HEAP, TREE, SORT)
    assert await scores(ledger, chosen=chosen) == pytest.approx({name: every[name] for name in found})


async def test_segments_are_merged_without_what_was_deleted(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    for one in (HEAP, TREE, SORT):
        shelf.add(generation, one)
    shelf.run("DELETE FROM chunks WHERE material_id = 'm-sort'")
    with shelf.engine.begin() as connection:
        assert merge_segments(connection, CHUNKER)  # a third is deleted
        assert not merge_segments(connection, CHUNKER)
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE))
    assert shelf.run("SELECT documents FROM term_segments") == [(2,)]
    assert shelf.run("SELECT count(*) FROM term_deletions") == [(0,)]
    assert shelf.run("SELECT count(*) FROM term_postings WHERE term = 'sort'") == [(0,)]


async def test_many_segments_are_merged_and_few_are_left(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    for one in (HEAP, TREE, SORT):
        shelf.add(generation, one)
    with shelf.engine.begin() as connection:
        assert not merge_segments(connection, CHUNKER, enough=3)
        assert merge_segments(connection, CHUNKER, enough=2)
    assert shelf.run("SELECT count(*) FROM term_segments") == [(1,)]
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE, SORT))


async def test_what_was_never_indexed_or_by_another_analyzer_is_indexed(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(2)
    shelf.add(generation, HEAP)
    shelf.add(generation, TREE, indexed=False)
    with shelf.engine.begin() as connection:
        assert index_missing_terms(connection, CHUNKER) == 1
        assert index_missing_terms(connection, CHUNKER) == 0
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE))
    shelf.run("UPDATE term_segments SET analyzer = 'words-0'")
    with shelf.engine.begin() as connection:
        assert index_missing_terms(connection, CHUNKER) == 2
    assert await scores(ledger) == pytest.approx(expected(HEAP, TREE))
    assert shelf.run("SELECT count(*) FROM term_deletions") == [(0,)]


def test_chunks_that_are_not_there_are_not_indexed(shelf: Shelf) -> None:
    (chunk,) = shelf.add(shelf.generation(2), HEAP)
    shelf.run("DELETE FROM chunks")
    with shelf.engine.begin() as connection:
        assert index_terms(connection, [chunk]) == 0
        assert index_terms(connection, []) == 0
