"""What paths and front matter say of a material."""

from __future__ import annotations

from pathlib import PurePath
from typing import get_args

import pytest

from schemas.choices import MaterialType
from schemas.tables.forum import MATERIAL_TYPES
from tasks.embedding.front_matter import split_front_matter
from tasks.embedding.material_paths import names_of, type_of, week_of


def test_the_types_are_those_of_the_table() -> None:
    assert get_args(MaterialType) == MATERIAL_TYPES


@pytest.mark.parametrize(
    ("path", "material_type", "week"),
    [
        ("lecture-3.md", "lecture", None),
        ("week-3/intro.md", None, 3),
        ("Week 03/Lectures/graphs.pdf", "lecture", 3),
        ("lectures/wk12-lab2.tex", "lab", 12),
        ("slides/w1/reading.html", "reading", 1),
        ("hw2.tex", "assignment", None),
        ("problem_set_week_4.md", "assignment", 4),
        ("syllabus.txt", "syllabus", None),
        ("weekend/labour-notebook.md", None, None),
        ("week-123.md", None, None),
        ("show2.md", None, None),
    ],
)
def test_a_path_says_type_and_week(path: str, material_type: str | None, week: int | None) -> None:
    names = names_of(PurePath("/home/labs/week-9/course") / path, PurePath("/home/labs/week-9/course"))
    assert (type_of(names), week_of(names)) == (material_type, week)


def test_of_a_file_that_is_named_its_own_folder_counts() -> None:
    file = PurePath("/home/labs/week-2/graphs.md")
    assert names_of(file, file) == ["graphs", "week-2"]


@pytest.mark.parametrize(
    ("text", "fields", "content"),
    [
        ("---\nTitle: A\nweek: 3\n---\nB\n", {"title": "A", "week": 3}, "B\n"),
        ("---\ntitle: A\n...\n", {"title": "A"}, ""),
        ("---\n- a\n---\nB", {}, "---\n- a\n---\nB"),
        ("---\na: [\n---\nB", {}, "---\na: [\n---\nB"),
        ("---\nd: 2024-99-99\n---\nB", {}, "---\nd: 2024-99-99\n---\nB"),
        ("a\n---\nb: c\n---\n", {}, "a\n---\nb: c\n---\n"),
        ("---\nnever closed: 1\n", {}, "---\nnever closed: 1\n"),
        ("---\n" + "[" * 5000 + "\n---\nB", {}, "---\n" + "[" * 5000 + "\n---\nB"),
        ("---\na: " + "x" * 40_000 + "\n---\nB", {}, "---\na: " + "x" * 40_000 + "\n---\nB"),
    ],
)
def test_front_matter_is_a_mapping_at_the_top_or_text(text: str, fields: dict[str, object], content: str) -> None:
    assert split_front_matter(text) == (fields, content)
