"""`headrace search`: materials embedded, searched, explained and changed, from the command line."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.conftest import Environment
from tests.flows.conftest import Look, Run
from tests.flows.course import add_materials, material
from tests.scripted_provider import ScriptedProvider


@pytest.fixture
def course(database: Engine) -> None:
    """Two materials."""
    add_materials(
        database,
        [
            material("m-heap", "# Sift\n\nA heap keeps its smallest key on top.\n", title="Heaps"),
            material("m-tree", "# Rotation\n\nA tree is balanced by rotating it.\n", title="Trees", week=2),
        ],
    )


@pytest.mark.usefixtures("course")
def test_what_was_embedded_is_found_and_explained(headrace: Run, look: Look, database: Engine) -> None:
    assert headrace("embed", "--bare", "--json").code == 0
    done = headrace("search", "balanced trees", "--limit", "1", "--explain")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "1. Trees > Rotation"
    assert lines[1].startswith("   m-tree, lecture of C1, week 2, characters ")
    assert lines[2].startswith("   words: rank 1, ")
    assert "tree" in lines[2]
    assert lines[3].startswith("   vectors: rank 1, ")
    assert lines[4].startswith("   both: ")
    assert "A tree is balanced by rotating it." in lines[5]
    assert lines[6].startswith("1 of 2 passages compared, hybrid, generation ")

    found = headrace("search", "smallest key", "--mode", "words", "--json").json
    assert (found["run_id"], found["status"], found["mode"], found["cost_usd"]) == (None, "completed", "words", "0")
    assert [hit["material_id"] for hit in found["hits"]] == ["m-heap"]
    hit = found["hits"][0]
    (stored,) = look("SELECT content FROM course_materials WHERE id = 'm-heap'")
    assert stored["content"][hit["start_char"] : hit["end_char"]] == hit["content"]
    assert {share["term"] for share in hit["why"]["terms"]} == {"smallest", "key"}

    other = headrace("search", "smallest key", "--mode", "words", "--week", "2", "--course", "C1", "--type", "lecture")
    assert other.out == "no passage found, words, generation 1, $0\n"

    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM course_materials WHERE id = 'm-heap'")
        connection.exec_driver_sql("UPDATE course_materials SET content = 'A tree has a smallest key too.'")
    assert headrace("embed", "--bare", "--json").code == 0
    found = headrace("search", "smallest key", "--mode", "words", "--json").json
    assert [hit["content"] for hit in found["hits"]] == ["A tree has a smallest key too."]
    assert headrace("search", "rotating", "--mode", "words", "--json").json["hits"] == []


@pytest.mark.usefixtures("course")
def test_courses_are_proposed_and_old_rules_asked(headrace: Run) -> None:
    legacy = headrace("search", "balanced trees", "--mode", "legacy", "--explain")
    assert legacy.out == "no passage found, legacy, $0\n"
    found = headrace("search", "balanced tree", "--mode", "legacy", "--explain")
    assert "keywords: balanced, tree" in found.out
    proposed = headrace("search", "balanced tree", "--mode", "legacy", "--courses", "--json").json
    assert [(one["course_id"], one["score"]) for one in proposed["courses"]] == [("C1", 5.0)]
    assert "C1" in headrace("search", "balanced tree", "--mode", "legacy", "--courses").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["heap"], 2, "run `headrace embed`"),
        (["heap", "--course", "nowhere"], 2, "there is no course nowhere"),
        (["heap", "--courses", "--week", "1"], 2, "--week is for passages"),
        (["heap", "--courses", "--mode", "vectors"], 2, "courses are proposed by"),
        (["heap", "--rerank"], 2, "HEADRACE_RERANK_MODEL"),
        (["heap", "--mode", "magic"], 2, "magic"),
        ([" "], 2, "no query"),
        (["?! …"], 2, "neither a letter nor a digit"),
        (["🙂", "--mode", "vectors"], 2, "neither a letter nor a digit"),
        (["👍🏽", "--courses", "--mode", "legacy"], 2, "neither a letter nor a digit"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(
    headrace: Run, provider: ScriptedProvider, environment: Environment, arguments: list[str], code: int, said: str
) -> None:
    done = headrace("search", *arguments)
    assert done.code == code
    assert said in done.reason
    assert provider.log == []
