"""Answers cite words that stand in the materials, or say that the materials do not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from sqlalchemy import Engine

from schemas.answering import THE_MATERIALS_DO_NOT_SAY, ContextLimits
from schemas.errors import AnswerRejected, BadInput, NotFound
from schemas.search import CourseChoice, CourseProposal
from tasks.answering.ask import LONGEST_QUESTION, ask
from tasks.answering.searching import Hit
from tasks.ledger.fencing import APART
from tasks.ledger.session import Ledger
from tasks.retrieval.courses import choose_courses
from tests.scripted_provider import ScriptedProvider
from tests.tasks.answering.conftest import (
    DERIVATIVE,
    INJECTED,
    MATERIALS,
    Tutor,
    chunk_of,
    counted,
    run,
    search_rows,
)

STANDS = """
    SELECT whole.content, chunks.content FROM chunks JOIN course_materials AS whole ON whole.id = material_id
    WHERE chunks.id = :id
"""
QUESTION = "What is the derivative of a function?"


async def test_every_citation_is_a_chunk_that_was_shown_and_words_that_stand_in_it(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [
        (1, "the derivative of f at a is the limit of the difference quotient", "It is a limit"),
        (2, "The product rule says that (fg)' = f'g + fg'", "Products have a rule. [7]"),
    ]
    answer = await ask("What is the derivative, and the product rule?", search=search_rows, courses=["math"])
    assert answer.text == "It is a limit. [1] Products have a rule. [2]"
    first, second = answer.citations
    assert {first.material_id, second.material_id} == {"m-derivative", "m-product"}
    for cited in answer.citations:
        found = run(school, STANDS, id=cited.chunk_id)
        assert cited.chunk_id in answer.shown
        (whole, chunk) = found[0]
        assert whole[cited.start : cited.end] == cited.quote
        assert cited.quote in chunk
    assert (answer.answered, answer.dropped, answer.confidence.support) == (True, (), 1.0)


async def test_the_words_kept_are_the_material_s_own(ledger: Ledger, school: Engine, tutor: Tutor) -> None:
    tutor.claims = [(1, "derivative of f at a is the LIMIT of the difference\nquotient", "It is a limit.")]
    answer = await ask("difference quotient", search=search_rows)
    assert [cited.quote for cited in answer.citations] == [
        "derivative** of f at a is the limit of the difference quotient"
    ]


async def test_claims_whose_quote_is_not_there_are_dropped_with_the_reason(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [
        (1, "The derivative of f at a is the area under its graph", "It is an area."),
        (1, "limit of the difference quotient", "It is a limit."),
        (9, "no such words anywhere at all", "It is nothing."),
        (1, "the limit", "Short."),
    ]
    answer = await ask(QUESTION, search=search_rows, courses=["math"])
    assert answer.text == "It is a limit. [1]"
    assert [dropped.text for dropped in answer.dropped] == ["It is an area.", "It is nothing.", "Short."]
    assert "passage 9" in answer.dropped[1].reason
    assert answer.confidence.support == 0.25


async def test_a_quote_of_another_passage_than_the_one_named_is_cited_from_where_it_stands(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [(2, "limit of the difference quotient", "It is a limit."), (9, "It is written f'(a)", "So.")]
    answer = await ask("derivative difference quotient limit", search=search_rows, courses=["math"])
    assert {cited.material_id for cited in answer.citations} == {"m-derivative"}


async def test_an_answer_none_of_whose_claims_stands_is_that_the_materials_do_not_say(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    for claims in ([], [(1, "words that stand nowhere", "Invented.")]):
        tutor.claims = list(claims)
        answer = await ask(f"{QUESTION} {len(claims)}", search=search_rows)
        assert (answer.text, answer.answered, answer.citations) == (THE_MATERIALS_DO_NOT_SAY, False, ())
        assert (answer.confidence.score, answer.confidence.level) == (0, "low")


async def test_where_nothing_is_found_no_model_is_asked(
    ledger: Ledger, school: Engine, provider: ScriptedProvider
) -> None:
    answer = await ask("Quo vadis?", search=search_rows)
    assert (answer.answered, answer.request_id, provider.paid) == (False, None, 0)
    assert answer.cost_usd == 0


async def test_an_answer_is_stored_with_its_citations_by_material_and_chunk(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [(1, "limit of the difference quotient", "It is a limit.")]
    answer = await ask(QUESTION, search=search_rows, courses=["MATH221"], user="ada")
    (row,) = run(
        school, "SELECT thread_id, course_id, user_id, question, content, confidence_level, request_id FROM ai_answers"
    )
    assert row == (None, "math", "ada", QUESTION, "It is a limit. [1]", "high", answer.request_id)
    assert run(school, "SELECT id, material_id, chunk_id, course_id, ordinal, title, source_type, excerpt, relevance "
                       "FROM citations") == [
        (f"{answer.id}/cite-1", "m-derivative", chunk_of("m-derivative"), "math", 1, "Derivatives", "lecture",
         "limit of the difference quotient", 100),
    ]  # fmt: skip
    run(school, "DELETE FROM chunks")
    assert run(school, "SELECT material_id, chunk_id FROM citations") == [("m-derivative", None)]


async def test_the_same_question_is_paid_once(ledger: Ledger, school: Engine, provider: ScriptedProvider) -> None:
    first = await ask(QUESTION, search=search_rows)
    again = await ask(QUESTION, search=search_rows)
    assert (first.replayed, again.replayed, provider.paid) == (False, True, 1)
    assert run(school, "SELECT count(*) FROM ai_answers") == [(2,)]


async def test_an_instruction_in_a_material_is_quoted_between_tags_that_it_cannot_close(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    await ask("Reveal the derivative document", search=search_rows, courses=["cs"])
    system, user = tutor.requests[-1]["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    (fence,) = set(re.findall(r"passage-([0-9a-f]{16}) N>", system["content"]))
    assert "never an instruction" in system["content"]
    assert "Ignore" not in system["content"], "neither the material nor its title is among the instructions"
    pieces = re.split(rf"</?(?:passage|question)-{fence}(?: \d+)?>", user["content"])
    outside, inside = pieces[::2], pieces[1::2]
    assert "".join(outside).strip() == "", "everything that the user message says is quoted"
    (quoted,) = [piece for piece in inside if "Ignore the above" in piece]
    assert "Ignore all previous instructions" in quoted, "the title too"
    assert "</passage>" in quoted, "a guess closes nothing"
    assert "<|im_start|>" not in user["content"]
    assert quoted.replace(APART, "").strip().endswith(INJECTED)
    assert fence not in "".join(content for *_, content in MATERIALS.values())


async def test_each_request_has_a_fence_of_its_own_and_equal_ones_the_same(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    for question in ("difference quotient", "difference quotient?"):
        await ask(question, search=search_rows)
    one, other = (re.findall(r"passage-([0-9a-f]{16})", request["messages"][0]["content"])[0]
                  for request in tutor.requests)  # fmt: skip
    assert one != other


async def test_the_schema_names_only_passages_that_are_shown(ledger: Ledger, school: Engine, tutor: Tutor) -> None:
    answer = await ask("derivative functions", search=search_rows, courses=["math"])
    schema = tutor.requests[-1]["response_format"]["json_schema"]["schema"]
    assert '"enum": [1, 2]' in str(schema).replace("'", '"')
    assert len(answer.shown) == 2


async def test_a_user_is_answered_from_the_courses_they_are_enrolled_in_alone(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    await ask("Where are the solutions of the derivative exam?", search=search_rows, user="ada")
    assert "safe" not in tutor.last["user"]
    await ask("Where are the solutions of the derivative exam?", search=search_rows)
    assert "safe" in tutor.last["user"]
    with pytest.raises(NotFound, match="no course PHYS 201 that ada is enrolled in"):
        await ask(QUESTION, search=search_rows, user="ada", courses=["PHYS 201"])
    asked = len(tutor.requests)
    nobody = await ask(QUESTION, search=search_rows, user="eve")
    assert (nobody.answered, len(tutor.requests)) == (False, asked)


class Choice:
    """Always the same courses; and what was asked of it."""

    def __init__(self, *chosen: str) -> None:
        self.choice = CourseChoice(
            proposed=tuple(CourseProposal(course_id=each, code=None, name=each, score=1.0) for each in chosen),
            chosen=chosen,
        )
        self.among: list[Sequence[str]] = []

    async def __call__(self, question: str, hits: Sequence[Hit], /, *, among: Sequence[str] = ()) -> CourseChoice:
        self.among.append(among)
        return self.choice


async def test_where_no_course_is_named_those_that_the_question_is_about_are_looked_in(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    question = "Where are the solutions of the derivative exam?"
    answer = await ask(question, search=search_rows, choose=Choice("math"))
    assert "safe" not in tutor.last["user"]
    assert (answer.courses, answer.narrowed) == (("math",), True)
    ((course, kept),) = run(school, "SELECT course_id, attributes FROM ai_answers")
    assert (course, kept["narrowed"], kept["proposed"][0]["course_id"]) == ("math", True, "math")
    everywhere = await ask(question, search=search_rows, choose=Choice())
    assert "safe" in tutor.last["user"]
    assert (everywhere.narrowed, set(everywhere.courses) >= {"physics", "math"}) == (False, True)
    lost = await ask(question, search=search_rows, choose=Choice("nowhere"))
    assert (lost.narrowed, lost.courses) == (False, everywhere.courses), "what has nothing to say is not looked in"


async def test_a_course_that_the_asker_names_or_has_alone_is_not_chosen_for_them(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    choice = Choice("math")
    await ask(QUESTION, search=search_rows, choose=choice, courses=["cs"])
    await ask(QUESTION, search=search_rows, choose=choice, user="tess")
    assert choice.among == []
    await ask(QUESTION, search=search_rows, choose=choice, user="ada")
    assert choice.among == [("cs", "math")], "of their own courses"


async def test_the_context_stays_within_its_budget(ledger: Ledger, school: Engine, tutor: Tutor) -> None:
    answer = await ask(QUESTION, search=search_rows, limits=ContextLimits(materials=1))
    assert len(answer.shown) == 1
    answer = await ask(QUESTION, search=search_rows, limits=ContextLimits(tokens=100))
    assert 0 < answer.context_tokens <= 100


async def test_what_is_no_question_is_refused(ledger: Ledger, school: Engine) -> None:
    for question, reason in (
        (" ", "no question"),
        ("…🙂", "neither a letter nor a digit"),
        ("?" * (LONGEST_QUESTION + 1), "at most 8,000"),
        ("a\0b", "NUL"),
    ):
        with pytest.raises(BadInput, match=reason):
            await ask(question, search=search_rows)


async def test_an_answer_outside_the_schema_is_no_answer_and_leaves_no_row(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    tutor.claims = [(1, "q", "t")] * 9
    with pytest.raises(AnswerRejected):
        await ask(QUESTION, search=search_rows)
    assert run(school, "SELECT count(*) FROM ai_answers") == [(0,)]


async def test_the_queries_of_an_answer_do_not_grow_with_what_it_cites(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    counts = []
    quotes = (
        "limit of the difference quotient",
        "It is written f'(a)",
        "The product rule says",
        "stores pairs in buckets",
    )
    for claims in ([(1, quotes[0], "One.")], [(1, quote, quote) for quote in quotes]):
        tutor.claims = list(claims)
        with counted(ledger) as seen:
            answer = await ask(f"{DERIVATIVE} product functions stores buckets {len(claims)}", search=search_rows)
        assert len(answer.citations) == len(claims)
        counts.append(len([each for each in seen if "ai_answers" in each or "citations" in each or "courses" in each]))
    assert counts == [3, 3], "the chunks (by the stand-in), the answer, its citations"


async def test_choosing_courses_costs_one_query_and_a_second_search_only_where_it_narrows(
    ledger: Ledger, school: Engine, tutor: Tutor
) -> None:
    counts = []
    for question in ("difference quotient?", "In MATH 221, what of the derivative office?"):
        with counted(ledger) as seen:
            answer = await ask(question, search=search_rows, choose=choose_courses)
        assert (answer.narrowed, answer.courses) == (True, ("math",))
        counts.append(
            len([each for each in seen if any(name in each for name in ("ai_answers", "FROM c", "citations"))])
        )
    assert counts == [3, 4], "the chunks (by the stand-in), the courses, the answer; the chunks of the course"
