"""Search by the forum's old rules: reads courses and materials and lets `old_rules` decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.search import CourseProposal, SearchFilter, SearchHit, SearchOutcome, Why
from tasks.retrieval.old_rules import OldCourse, OldMaterial, Relevance, detect, select
from tasks.retrieval.word_search import WANTED_MATERIALS, filter_values

# Equal ones are in the order that the forum kept them in: by type, as its types were listed.
_MATERIALS = text(f"""
    SELECT id, course_id, type, week, title, content, keywords FROM course_materials WHERE {WANTED_MATERIALS}
    ORDER BY array_position(ARRAY['lecture', 'slide', 'assignment', 'reading', 'lab', 'textbook'], type) NULLS LAST, id
""")
_COURSES = text("SELECT id, code, name, status = 'active' AS active FROM courses ORDER BY id")


async def search_by_old_rules(
    connection: AsyncConnection, question: str, chosen: SearchFilter, limit: int, min_relevance: float
) -> SearchOutcome:
    """The materials that the old rules select, whole, best first."""
    rows = {row.id: row for row in await _read_materials(connection, chosen)}
    found = select(question, [_old(row) for row in rows.values()], most=limit, least=100 * min_relevance)
    hits = tuple(_hit(rows[material.id], judged) for material, judged in found)
    return SearchOutcome(query=question, mode="legacy", hits=hits, candidates=len(rows))


async def propose_by_old_rules(connection: AsyncConnection, question: str) -> list[CourseProposal]:
    """At most three courses by the old rules; all active ones, with a score of 0, where there is no sign of any."""
    courses = [OldCourse(**row._mapping) for row in await connection.execute(_COURSES)]
    materials = [_old(row) for row in await _read_materials(connection, SearchFilter())]
    known = {course.id: course for course in courses}
    return [
        CourseProposal(
            course_id=found.course_id,
            code=known[found.course_id].code,
            name=known[found.course_id].name,
            score=found.score,
            because=found.because,
        )
        for found in detect(question, courses, materials)
    ]


async def _read_materials(connection: AsyncConnection, chosen: SearchFilter) -> Sequence[Row[Any]]:
    return (await connection.execute(_MATERIALS, filter_values(chosen))).all()


def _old(row: Row[Any]) -> OldMaterial:
    return OldMaterial(id=row.id, course_id=row.course_id, keywords=tuple(row.keywords), content=row.content)


def _hit(row: Row[Any], judged: Relevance) -> SearchHit:
    return SearchHit(
        chunk_id=None,
        material_id=row.id,
        course_id=row.course_id,
        type=row.type,
        week=row.week,
        title=row.title,
        content=row.content,
        start_char=0,
        end_char=len(row.content),
        score=judged.percent,
        relevance=judged.percent / 100,
        why=Why(keywords=judged.keywords),
    )
