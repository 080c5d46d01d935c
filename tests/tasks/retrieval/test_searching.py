"""Searches: what they find, what they ask, and how many statements they put to the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from sqlalchemy import event

from schemas.errors import BadInput, NotFound
from schemas.search import EVERYTHING, CourseChoice, SearchFilter, SearchOutcome
from tasks.ledger.session import Ledger, open_ledger
from tasks.retrieval import searching, vector_search
from tasks.retrieval.courses import choose_courses, propose_courses
from tasks.retrieval.ranking import RankingOptions
from tasks.retrieval.searching import search
from tasks.retrieval.vector_search import active_generation, nearest
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider
from tests.scripted_provider.replies import EMBEDDING_DIMENSIONS, embed
from tests.tasks.retrieval.conftest import Shelf, Text
from tests.wire.cohere_rerank import Cohere, Scores

DIMENSIONS = EMBEDDING_DIMENSIONS


def like(meaning: str, *, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector that the scripted provider gives these words."""
    return [float(value) for value in embed(meaning, dimensions)]


HEAP = Text("m-heap", "A heap keeps its smallest key on top.", like("heap"), title="Heaps")
PILE = Text("m-pile", "Piles are queues by priority.", like("heap heap queue"), title="Priority", week=3)
TREE = Text("m-tree", "A tree is rotated.", like("tree"), title="Trees", course="course-cs201", type="slide")
MENTION = Text("m-mention", "A tree is no heap.", like("forest"), title="Asides", course="course-cs201", week=None)


@pytest.fixture
def found_on(shelf: Shelf) -> Shelf:
    """The four texts in an active generation."""
    shelf.add(shelf.generation(DIMENSIONS), HEAP, PILE, TREE, MENTION)
    return shelf


class Weighed(NamedTuple):
    """What a hit says of its course."""

    course_id: str
    relevance: float


def materials(found: SearchOutcome) -> list[str]:
    return [hit.material_id for hit in found.hits]


@pytest.mark.usefixtures("found_on")
class TestModes:
    """What each mode finds."""

    async def test_words_find_what_has_them(self, ledger: Ledger) -> None:
        found = await search("heaps", mode="words")
        assert materials(found) == ["m-heap", "m-mention"]
        assert found.requests == ()
        first = found.hits[0]
        assert first.why.words is not None
        assert first.why.words.rank == 1
        assert first.why.words.score == pytest.approx(sum(share.score for share in first.why.terms))
        assert (first.why.vectors, first.why.fused, first.relevance) == (None, None, 1.0)

    async def test_vectors_find_what_means_it(self, ledger: Ledger) -> None:
        found = await search("heap", mode="vectors", limit=2)
        assert materials(found) == ["m-heap", "m-pile"]
        assert found.hits[0].why.vectors is not None
        assert found.hits[0].why.vectors.score == pytest.approx(1)
        assert found.hits[1].relevance == pytest.approx(np.dot(like("heap"), like("heap heap queue")), abs=1e-6)

    async def test_hybrid_finds_both_and_says_why(self, ledger: Ledger) -> None:
        found = await search("heap")
        assert materials(found)[0] == "m-heap"
        assert set(materials(found)) == {"m-heap", "m-pile", "m-mention", "m-tree"}
        by_name = {hit.material_id: hit for hit in found.hits}
        assert by_name["m-pile"].why.words is None
        mention = by_name["m-mention"].why
        assert mention.words is not None
        assert mention.vectors is not None
        assert mention.words.rank == 2
        assert by_name["m-heap"].score == by_name["m-heap"].why.fused == pytest.approx(1.0)

    async def test_ranks_can_be_fused_instead_of_scores(self, ledger: Ledger) -> None:
        found = await search("heap", options=RankingOptions(fusion="ranks"), limit=1)
        assert found.hits[0].score == pytest.approx(2 / 61)

    async def test_a_hit_is_a_place_in_a_material(self, ledger: Ledger) -> None:
        hit = (await search("rotating trees", limit=1)).hits[0]
        assert (hit.material_id, hit.course_id, hit.type, hit.week) == ("m-tree", "course-cs201", "slide", 1)
        assert (hit.title, hit.content, hit.start_char, hit.end_char) == ("Trees", TREE.content, 0, len(TREE.content))
        assert hit.chunk_id is not None

    async def test_words_that_nobody_has_find_nothing(self, ledger: Ledger) -> None:
        assert (await search("what is it?", mode="words")).hits == ()
        assert (await search("zyzzyva", mode="words")).hits == ()

    @pytest.mark.parametrize("mode", ["hybrid", "words", "vectors"])
    async def test_filters_hold_in_every_mode(self, ledger: Ledger, mode: Any) -> None:
        for course in ("course-cs201", "COURSE-cs201"):
            assert set(materials(await search("heap tree", mode=mode, courses=[course]))) == {"m-tree", "m-mention"}
        assert materials(await search("heap", mode=mode, weeks=[3], types=["slide"])) == []
        assert materials(await search("tree", mode=mode, types=["slide"])) == ["m-tree"]

    async def test_the_least_relevant_are_left_out(self, ledger: Ledger) -> None:
        assert materials(await search("heap", min_relevance=0.99)) == ["m-heap", "m-mention"]

    async def test_passages_that_differ_come_before_those_that_repeat(self, found_on: Shelf, ledger: Ledger) -> None:
        assert materials(await search("heap tree", mode="vectors", limit=3))[1] == "m-tree"
        found_on.add(1, Text("m-twin", "The heap once more.", like("heap"), title="Again"))
        assert materials(await search("heap", mode="vectors", limit=2)) == ["m-heap", "m-twin"]
        diverse = await search("heap", mode="vectors", limit=2, mmr=0.3)
        assert materials(diverse) == ["m-heap", "m-tree"]
        assert diverse.hits[1].why.marginal_relevance == diverse.hits[1].score
        words = await search("heap", mode="words", limit=3, mmr=0.5)
        assert materials(words)[0] == "m-heap"

    async def test_courses_are_proposed_by_what_is_found_and_named(self, ledger: Ledger) -> None:
        proposed = await propose_courses("How does one rotate a tree?", mode="words")
        assert [one.course_id for one in proposed] == ["course-cs201"]
        named = await propose_courses("trees in COURSE-CS101?", mode="words")
        assert [(one.course_id, one.score) for one in named] == [("course-cs101", 1.0), ("course-cs201", 1.0)]
        assert named[0].because == ("the question names it",)

    async def test_a_question_is_put_to_courses_that_it_names_or_that_hold_the_best(self, ledger: Ledger) -> None:
        hits = (await search("heap tree", mode="words")).hits
        assert {hit.course_id for hit in hits} == {"course-cs101", "course-cs201"}
        both = await choose_courses("heap tree", hits)
        assert set(both.chosen) == {"course-cs101", "course-cs201"}
        named = await choose_courses("What of a tree, in Course CS 101?", hits)
        assert (named.chosen, len(named.proposed)) == (("course-cs101",), 2)
        one = await choose_courses("heap", hits, among=["course-cs201"])
        assert [each.course_id for each in one.proposed] == ["course-cs201"], (
            "who may not read the other is not told of it"
        )
        assert one.chosen == (), "the best are of another"
        assert await choose_courses("Quo vadis?", ()) == CourseChoice()

    async def test_a_course_of_little_weight_among_the_best_leaves_it_in_doubt(
        self, ledger: Ledger, found_on: Shelf
    ) -> None:
        weights = {"course-cs101": [1.0] * 9 + [0.9] * 10, "course-cs201": [1.0]}
        heavy, light = ([Weighed(course, each) for each in relevances] for course, relevances in weights.items())
        doubt = await choose_courses("keys", [*heavy[:9], *light, *heavy[9:]])
        assert ([one.course_id for one in doubt.proposed], doubt.chosen) == (["course-cs101"], ())
        sure = await choose_courses("keys", [*heavy[:10], *light, *heavy[10:]])
        assert sure.chosen == ("course-cs101",), "the other is eleventh, and a twentieth of what was found"

    async def test_a_name_of_one_word_may_be_what_is_asked_about(self, ledger: Ledger, found_on: Shelf) -> None:
        found_on.run("INSERT INTO courses (id, code, name) VALUES ('a', 'ART', 'Heaps'), ('b', NULL, 'Modern Piles')")
        hits = (await search("heap tree", mode="words")).hits
        word = await choose_courses("heaps of art", hits)
        assert {one.course_id for one in word.proposed} == {"course-cs101", "course-cs201", "a"}
        assert not any(one.named for one in word.proposed)
        assert (await choose_courses("Of modern piles: why?", hits)).chosen == ("b",)

    async def test_a_course_that_does_not_exist_is_said(self, ledger: Ledger) -> None:
        with pytest.raises(NotFound, match="there is no course course-x"):
            await search("heap", courses=["course-cs101", "course-x"])


REPEATS = [
    Text("m-flood", "Heap: office hours.", like(f"heap heap heap heap week{number}"), title=f"Week {number}")
    for number in range(120)
]
OTHERS = [
    Text(f"m-{number}", f"Of a heap, as it is told in part {number}.", like(f"heap part{number} words"))
    for number in range(12)
]


@pytest.mark.parametrize("mode", ["hybrid", "words", "vectors"])
@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("chosen", [{}, {"courses": ["course-cs101"]}])
async def test_a_passage_that_a_material_repeats_is_found_once_and_leaves_room_for_others(
    shelf: Shelf, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, mode: Any, built: bool, chosen: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(vector_search, "EXACT_BELOW", 0 if built else 2_000)
    generation = shelf.generation(DIMENSIONS)
    shelf.add(generation, *REPEATS, *[REPEATS[0]] * 60, *OTHERS)
    if built:
        shelf.build_index(generation, DIMENSIONS)
    for options in (RankingOptions(), RankingOptions(fusion="ranks")):
        found = await search("heap", mode=mode, limit=13, options=options, **chosen)
        assert sorted(materials(found)) == sorted(["m-flood", *(one.material for one in OTHERS)])
        assert materials(found)[0] == "m-flood"
        assert materials(await search("heap", mode=mode, limit=3, options=options, **chosen)).count("m-flood") == 1


async def test_a_text_of_several_materials_is_found_in_each(shelf: Shelf, ledger: Ledger) -> None:
    shelf.add(shelf.generation(DIMENSIONS), HEAP, HEAP._replace(material="m-other"), TREE)
    for mode in ("hybrid", "words", "vectors"):
        assert set(materials(await search("heap", mode=mode, limit=2))) == {"m-heap", "m-other"}


@pytest.mark.usefixtures("found_on")
async def test_an_equal_query_is_embedded_once_and_paid_by_its_user(
    ledger: Ledger, provider: ScriptedProvider, found_on: Shelf
) -> None:
    first = await search("heap", user="ada")
    again = await search("heap", user="ada", weeks=[3])
    assert provider.paid == 1
    assert len(first.requests) == len(again.requests) == 1
    rows = found_on.run("SELECT status, purpose, user_id FROM llm_requests ORDER BY id")
    assert rows == [("succeeded", "search", "ada"), ("replayed", "search", "ada")]


@contextmanager
def counted(ledger: Ledger) -> Iterator[list[str]]:
    """The statements sent meanwhile, without those of the gateway."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *more: Any) -> None:
        sent.append(" ".join(statement.split()))

    event.listen(ledger.engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(ledger.engine.sync_engine, "before_cursor_execute", note)


@pytest.mark.usefixtures("found_on")
async def test_a_search_takes_as_many_statements_whatever_it_finds(ledger: Ledger, found_on: Shelf) -> None:
    counts = []
    for _ in range(2):
        with counted(ledger) as sent:
            await search("heap tree", mode="words", limit=50)
        few = len(sent)
        with counted(ledger) as sent:
            await search("heap tree", limit=50, mmr=0.7, courses=["course-cs101"])
        ours = [one for one in sent if "llm_" not in one and "answers" not in one]
        counts.append((few, len(ours)))
        many = [Text(f"m-{number}", f"A heap {number}", like(f"heap {number}")) for number in range(40)]
        if len(counts) < 2:
            found_on.add(1, *many)
    assert counts[0] == counts[1]
    assert counts[0][0] <= 5  # the generation, that it is still there, words, which texts are the same, hits
    assert counts[0][1] <= 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": "  "}, "no query"),
        ({"query": "?!… — ()"}, "neither a letter nor a digit"),
        ({"query": " 🙂 👍🏽 ", "mode": "vectors"}, "neither a letter nor a digit"),
        ({"query": "\u200b\u0301", "mode": "legacy"}, "neither a letter nor a digit"),
        ({"query": "x" * 9000}, "at most 8,000"),
        ({"query": "a\0b"}, "query"),
        ({"query": "a", "limit": 0}, "from 1 to 1000"),
        ({"query": "a", "mmr": 1.5}, "mmr is from 0 to 1"),
        ({"query": "a", "min_relevance": -0.5}, "min_relevance is from 0 to 1"),
        ({"query": "a", "mode": "legacy", "mmr": 0.5}, "rank by themselves"),
    ],
)
async def test_what_cannot_be_searched_is_said(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        await search(**arguments)


@pytest.mark.usefixtures("found_on")
@pytest.mark.parametrize("query", ["C++", "ꦲ", "७", "樹", "x²", "1️⃣"])
async def test_a_letter_or_a_digit_of_any_script_can_be_searched(ledger: Ledger, query: str) -> None:
    assert len((await search(query)).hits) == 4


async def test_before_anything_is_embedded_the_command_to_run_is_named(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="headrace embed"):
        await search("heap")


async def test_a_generation_that_is_dropped_meanwhile_is_not_searched(
    shelf: Shelf, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shelf.generation(DIMENSIONS)
    shelf.add(old, HEAP)
    embedded = searching.embed

    async def swap(texts: Sequence[str], **arguments: Any) -> Any:
        if shelf.run("SELECT status FROM embedding_generations WHERE id = :id", id=old):
            shelf.run("DELETE FROM embedding_generations WHERE id = :id", id=old)
            shelf.run("DELETE FROM chunks")
            new = shelf.generation(DIMENSIONS)
            shelf.add(new, HEAP._replace(material="m-new", title="New"))
        return await embedded(texts, **arguments)

    monkeypatch.setattr(searching, "embed", swap)
    found = await search("heap", limit=1)
    assert materials(found) == ["m-new"]
    assert found.generation != old


async def test_a_model_that_is_asked_for_dimensions_is_asked_for_them_with_queries(
    shelf: Shelf, ledger: Ledger, provider: ScriptedProvider
) -> None:
    generation = shelf.generation(12)
    shelf.run("UPDATE embedding_generations SET model_identity = 'm asked for 12 dimensions'")
    shelf.add(generation, HEAP._replace(vector=like("heap", dimensions=12)))
    found = await search("heap", mode="vectors")
    assert found.hits[0].relevance == pytest.approx(1)
    (request,) = shelf.run("SELECT request ->> 'dimensions' FROM llm_requests")
    assert request == ("12",)


def around(number: int) -> list[float]:
    """Unit vectors on a quarter of a circle."""
    angle = number / 400 * np.pi / 2
    return [float(np.cos(angle)), float(np.sin(angle)), 0.0]


@pytest.mark.parametrize("exact_below", [0, 2_000])
@pytest.mark.parametrize("built", [False, True])
async def test_the_nearest_of_a_filter_are_found_by_index_and_without(
    shelf: Shelf, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, built: bool, exact_below: int
) -> None:
    monkeypatch.setattr(vector_search, "EXACT_BELOW", exact_below)
    generation = shelf.generation(3)
    texts = [
        Text(f"m-{number:03}", f"text {number}", around(number), week=number % 20, course=f"course-{number % 2}")
        for number in range(400)
    ]
    shelf.add(generation, *texts)
    if built:
        shelf.build_index(generation, 3)
    for chosen, expected in (
        (EVERYTHING, ["m-000", "m-001", "m-002"]),
        (SearchFilter(courses=("course-1",)), ["m-001", "m-003", "m-005"]),
        (SearchFilter(weeks=(7,)), ["m-007", "m-027", "m-047"]),
    ):
        async with ledger.engine.connect() as connection:
            known = await active_generation(connection)
            assert known is not None
            wanted = None
            if chosen.limits:
                rows = shelf.run(
                    "SELECT number FROM term_documents JOIN course_materials ON course_materials.id = material_id "
                    "WHERE week = ANY(:weeks) OR course_id = ANY(:courses)",
                    weeks=list(chosen.weeks),
                    courses=list(chosen.courses),
                )
                wanted = np.array([row[0] for row in rows], dtype=np.int32)
            near = await nearest(connection, known, around(0), limit=3, wanted=wanted, chosen=chosen)
            names = dict(shelf.run("SELECT number, material_id FROM term_documents"))  # type: ignore[arg-type]
            assert [names[number] for number in near] == expected
            first = np.dot(around(0), around(int(expected[0][2:])))
            assert next(iter(near.values())) == pytest.approx(first, abs=1e-6)


async def test_a_query_of_the_index_is_spelled_as_the_index_is(shelf: Shelf, ledger: Ledger) -> None:
    generation = shelf.generation(3)
    shelf.add(generation, *[Text(f"m-{number}", f"text {number}", around(number)) for number in range(50)])
    shelf.build_index(generation, 3)
    sent: list[str] = []
    async with ledger.engine.connect() as connection:
        known = await active_generation(connection)
        assert known is not None
        with counted(ledger) as sent:
            await nearest(connection, known, around(0), limit=3)
        query = next(one for one in sent if "ORDER BY" in one)
        planned = await connection.exec_driver_sql(
            f"EXPLAIN {query}", {"query": "[1,0,0]", "limit": 3, "chunker": known.chunker}
        )
        assert any(f"headrace_hnsw_{generation}" in row[0] for row in planned)


def test_above_two_thousand_dimensions_the_index_has_half_precision() -> None:
    wide = vector_search.Generation(1, "m", "m", 3072, "c", True)
    assert wide.indexed == "embedding::halfvec(3072)"
    assert wide.asked_dimensions is None


async def test_a_model_that_reranks_has_the_last_word(
    shelf: Shelf, environment: Environment, database_url: str
) -> None:
    shelf.add(shelf.generation(DIMENSIONS), HEAP, MENTION, TREE)
    async with Cohere(Scores(of={0: 0.1, 1: 0.8})) as server:
        settings = environment(DATABASE_URL=database_url, HEADRACE_RETRY_ATTEMPTS=1, **server.environment())
        async with open_ledger(settings):
            found = await search("heap", mode="words", rerank_model=server.model)
    assert materials(found) == ["m-mention", "m-heap"]
    first = found.hits[0]
    assert first.why.rerank is not None
    assert (first.score, first.why.rerank.rank, first.why.words.rank if first.why.words else None) == (0.8, 1, 2)
    assert server.asked[0].body["documents"] == [f"Heaps\n{HEAP.content}", f"Asides\n{MENTION.content}"]
    assert len(found.requests) == 1
    assert found.cost_usd is not None
    assert found.cost_usd > 0
