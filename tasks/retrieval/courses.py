"""Which courses a question is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from sqlalchemy import Row, text

from schemas.search import CourseChoice, CourseProposal
from tasks.ledger.session import open_ledger
from tasks.retrieval.legacy_search import propose_by_old_rules
from tasks.retrieval.searching import reading, require_query, search

MOST_COURSES = 3
LOOKED_AT = 20
"""Hits of a search over all courses whose relevance speaks for theirs."""
LEAST_SHARE = 0.1
BEST = 10
"""Hits that must all be of proposed courses, or else a question is put to all.

Measured on 37 questions about seven real courses: each is shown the material that answers it either way; of what is
shown, 82 % instead of 72 % is of the courses that were asked about, in 2,325 tokens instead of 2,539; one question that
two courses answer is shown one of them.
"""

_COURSES = text("""
    SELECT id, code, name FROM courses
    WHERE status = 'active' AND (CAST(:among AS text[]) = '{}' OR id = ANY(CAST(:among AS text[]))) ORDER BY id
""")


class Found(Protocol):
    """What a hit says of its course."""

    @property
    def course_id(self) -> str: ...
    @property
    def relevance(self) -> float: ...


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
    require_query(question)
    async with open_ledger() as ledger:
        if mode == "legacy":
            async with reading(ledger) as connection:
                return await propose_by_old_rules(connection, question)
        async with reading(ledger) as connection:
            courses = (await connection.execute(_COURSES, {"among": []})).all()
        found = await search(question, limit=LOOKED_AT, mode=mode, user=user, project=project)
    return weigh_courses(question, courses, found.hits)


async def choose_courses(question: str, hits: Sequence[Found], /, *, among: Sequence[str] = ()) -> CourseChoice:
    """Where to look for what `question` asks, after a search found `hits`.

    Courses that it names by code, or by a name of several words, are looked in alone. Else those proposed are, if the
    ten best passages all stand in them: what is left out then has little to say. It is in doubt otherwise.

    Args:
        hits: of a search over all courses, or all of `among`, best first.
        among: ids of the courses that may be proposed; all when empty.
    """
    async with open_ledger() as ledger, reading(ledger) as connection:
        courses = (await connection.execute(_COURSES, {"among": list(among)})).all()
    proposed = weigh_courses(question, courses, hits[:LOOKED_AT])
    named = tuple(one.course_id for one in proposed if one.named)
    known = tuple(one.course_id for one in proposed)
    stands_out = bool(hits) and all(hit.course_id in known for hit in hits[:BEST])
    return CourseChoice(proposed=tuple(proposed), chosen=named or (known if stands_out else ()))


def weigh_courses(question: str, courses: Sequence[Row[Any]], hits: Sequence[Found]) -> list[CourseProposal]:
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
                    course_id=course.id,
                    code=course.code,
                    name=course.name,
                    score=bool(named) + share,
                    because=because,
                    named=named == "plainly",
                )
            )
    return sorted(proposals, key=lambda proposal: -proposal.score)[:MOST_COURSES]


def _named(question: str, course: Row[Any]) -> Literal["plainly", "perhaps"] | None:
    """Whether the question has the course's code, however it is spaced, or its whole name.

    Only a code with a number, and a name of several words, are nothing else: "physics" may be what is asked about.
    """
    said, name = (" ".join(re.findall(r"\w+", given.casefold())) for given in (question, course.name))
    parts = re.findall(r"[^\W\d_]+|\d+", (course.code or "").casefold())
    code = r"[\s_-]*".join(map(re.escape, parts))
    by_name = f" {name} " in f" {said} "
    by_code = bool(parts) and re.search(rf"\b{code}\b", question.casefold()) is not None
    if (by_code and any(part.isdecimal() for part in parts)) or (by_name and " " in name):
        return "plainly"
    return "perhaps" if by_code or by_name else None
