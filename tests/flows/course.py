"""A course with materials, as tests of embeddings want them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

_COURSE = text("INSERT INTO courses (id, name) VALUES (:id, :id) ON CONFLICT DO NOTHING")
_MATERIAL = text(
    "INSERT INTO course_materials (id, course_id, type, title, content, week) "
    "VALUES (:id, :course_id, 'lecture', :title, :content, :week)"
)

HEADINGS = 3


def lecture(name: str, sections: int = HEADINGS) -> str:
    """Markdown of so many sections, each long enough to be a chunk by itself."""
    return "\n\n".join(
        f"# {name} {number}\n\n" + " ".join(f"{name}{number}word{each}" for each in range(24))
        for number in range(sections)
    )


def material(identity: str, content: str, *, title: str = "", course: str = "C1", week: int = 1) -> dict[str, Any]:
    """A row of `course_materials`."""
    return {"id": identity, "course_id": course, "title": title or identity, "content": content, "week": week}


def add_materials(database: Engine, materials: Iterable[dict[str, Any]]) -> None:
    """They are there, and their courses."""
    rows = list(materials)
    with database.begin() as connection:
        connection.execute(_COURSE, [{"id": each} for each in sorted({row["course_id"] for row in rows})])
        connection.execute(_MATERIAL, rows)


def real_materials(folder: Path) -> list[dict[str, Any]]:
    """The real course documents."""
    records = map(json.loads, (folder / "materials.jsonl").read_text().splitlines())
    return [
        material(each["id"], each["content"], title=each["title"], course=each["course_code"], week=each["week"])
        for each in records
    ]
