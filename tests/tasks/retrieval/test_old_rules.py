"""The old rules, held to what they gave on the forum's own records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.settings import Settings
from tasks.ledger.session import Ledger
from tasks.retrieval.courses import propose_courses
from tasks.retrieval.old_rules import (
    OldCourse,
    OldMaterial,
    detect,
    keywords_of,
    relevance,
    score_courses,
    select,
)
from tasks.retrieval.searching import search
from tests.conftest import shared_data


@pytest.fixture(scope="module")
def records() -> Path:
    return shared_data("origin/quokkaq")


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def material(**given: Any) -> OldMaterial:
    return OldMaterial(**{"id": "m", "course_id": "c", "keywords": (), "content": ""} | given)


def test_the_forums_questions_have_the_results_on_record(records: Path) -> None:
    materials = [
        OldMaterial(id=row["id"], course_id=row["courseId"], keywords=row["keywords"], content=row["content"])
        for row in read(records / "course-materials.json")
    ]
    courses = [
        OldCourse(id=row["id"], code=row["code"], name=row["name"], active=row["status"] == "active")
        for row in read(records / "courses.json")
    ]
    baseline = read(records / "ranking_baseline.json")
    assert len(baseline) == 5
    for expected in baseline:
        question = expected["question"]
        assert list(keywords_of(question)) == expected["keywords"]
        found = [[judged.percent, one.id] for one, judged in select(question, materials)]
        assert found == expected["selected_top5_min30"]
        scored = [[one.course_id, one.score] for one in score_courses(question, courses, materials)]
        if expected["detect"] == "ALL ACTIVE (6)":
            assert scored == []
            assert len(detect(question, courses, materials)) == 6
        else:
            assert scored == expected["detect"]


@pytest.fixture
def moved_in(records: Path, database: Engine) -> None:
    """The forum's courses and materials, in another order than theirs."""
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO courses (id, code, name, status) VALUES (:id, :code, :name, :status)"),
            read(records / "courses.json"),
        )
        connection.execute(
            text(
                "INSERT INTO course_materials (id, course_id, type, title, content, keywords) "
                "VALUES (:id, :courseId, :type, :title, :content, :keywords)"
            ),
            [{**row, "metadata": None} for row in reversed(read(records / "course-materials.json"))],
        )


@pytest.mark.usefixtures("moved_in")
async def test_search_and_proposals_by_the_old_rules_give_the_same(records: Path, ledger: Ledger) -> None:
    for expected in read(records / "ranking_baseline.json"):
        found = await search(expected["question"], mode="legacy", limit=5)
        assert [[hit.score, hit.material_id] for hit in found.hits] == expected["selected_top5_min30"]
        proposed = await propose_courses(expected["question"], mode="legacy")
        if expected["detect"] == "ALL ACTIVE (6)":
            assert [one.score for one in proposed] == [0] * 6
        else:
            assert [[one.course_id, one.score] for one in proposed] == expected["detect"]


@pytest.mark.usefixtures("moved_in")
async def test_a_hit_by_the_old_rules_is_a_whole_material_with_its_keywords(settings: Settings) -> None:
    found = await search("How do I use LIATE for integration by parts?", courses=["MATH 221"], mode="legacy", limit=1)
    (hit,) = found.hits
    assert (hit.chunk_id, hit.course_id, hit.relevance) == (None, "course-math221", 0.7)
    assert hit.why.keywords == ("use", "liate", "integration", "parts")
    assert len(hit.content) == hit.end_char


def test_relevance_is_sixty_for_keywords_and_forty_for_text() -> None:
    own = material(keywords=("binary tree",), content="A TREE is a graph")
    judged = relevance(["tree", "graph", "sort"], own)
    assert judged.percent == 47  # 60 · 1/3 + 40 · 2/3 = 46.67
    assert judged.keywords == ("tree", "graph")
    assert relevance([], own).percent == 0


def test_half_a_point_is_rounded_up() -> None:
    assert relevance(["a" * 3] + [f"w{i}x" for i in range(7)], material(content="aaa bbb")).percent == 5
    assert relevance(["aaa", *(f"w{i}x" for i in range(15))], material(content="aaa")).percent == 3  # 2.5


def test_keywords_in_capitals_match_only_when_courses_are_detected() -> None:
    own = material(keywords=("LIATE",))
    assert relevance(["liate"], own).percent == 0
    course = OldCourse(id="c", code="M 1", name="Calculus", active=True)
    assert [one.score for one in score_courses("liate", [course], [own])] == [10]


def test_a_course_without_a_code_is_not_in_every_question() -> None:
    course = OldCourse(id="c", code=None, name="Calculus", active=True)
    assert score_courses("liate", [course], []) == []


def test_the_first_are_taken_before_the_least_relevant_are_left_out() -> None:
    materials = [material(id=str(number), content="tree") for number in range(3)]
    assert [one.id for one, _ in select("tree", materials, most=2, least=40)] == ["0", "1"]
    assert select("tree graph", materials, most=2, least=40) == []
