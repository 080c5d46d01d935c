"""Which courses a question is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Row, text

from schemas.search import CourseProposal, SearchHit
from tasks.ledger.session import open_ledger
from tasks.retrieval.legacy_search import propose_by_old_rules
from tasks.retrieval.searching import reading, search

MOST_COURSES = 3
LOOKED_AT = 20
"""Hits of a search over all courses whose relevance speaks for theirs."""
LEAST_SHARE = 0.1

_COURSES = text("SELECT id, code, name FROM courses WHERE status = 'active' ORDER BY id")


async def propose_courses(
    question: str,
    *,
    mode: Literal["hybrid", "words", "legacy"] = "hybrid",
    user: str | None = None,
    project: str | None = None,
) -> list[CourseProposal]:
    """The courses that `question` is about, the surest first, at most three.

    A course that the question names, by code (`CS 101`, `cs101`) or full name, has a score of 1 or more; the others
    have their share of the relevance of what a search over all courses finds, from a tenth on. With `legacy` the old
    rules decide, and propose all active courses, with a score of 0, where there is no sign of any.

    Raises:
        BadInput, NotFound, BudgetExceeded, ConfigurationError, RetriesExhausted: as `search`.
    """
    async with open_ledger() as ledger:
        if mode == "legacy":
            async with reading(ledger) as connection:
                return await propose_by_old_rules(connection, question)
        async with reading(ledger) as connection:
            courses = (await connection.execute(_COURSES)).all()
        found = await search(question, limit=LOOKED_AT, mode=mode, user=user, project=project)
    return weigh_courses(question, courses, found.hits)


def weigh_courses(question: str, courses: Sequence[Row[Any]], hits: Sequence[SearchHit]) -> list[CourseProposal]:
    """The proposals that the names in `question` and the hits of a search over all courses make."""
    whole = sum(hit.relevance for hit in hits) or 1.0
    proposals = []
    for course in courses:
        own = [hit for hit in hits if hit.course_id == course.id]
        share = sum(hit.relevance for hit in own) / whole
        named = _named(question, course)
        if named or share >= LEAST_SHARE:
            held = [f"{len(own)} of the {len(hits)} best passages"] if own else []
            because = (*(["the question names it"] if named else []), *held)
            proposals.append(
                CourseProposal(
                    course_id=course.id, code=course.code, name=course.name, score=named + share, because=because
                )
            )
    return sorted(proposals, key=lambda proposal: -proposal.score)[:MOST_COURSES]


def _named(question: str, course: Row[Any]) -> bool:
    """The question has the course's code, however it is spaced, or its whole name."""
    said, name = (" ".join(re.findall(r"\w+", given.casefold())) for given in (question, course.name))
    parts = re.findall(r"[^\W\d_]+|\d+", (course.code or "").casefold())
    code = r"[\s_-]*".join(map(re.escape, parts))
    return f" {name} " in f" {said} " or bool(parts and re.search(rf"\b{code}\b", question.casefold()))
