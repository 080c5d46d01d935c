"""The forum's old rules of relevance, as they were: pure, without I/O.

They look for substrings, so that `use` is found in `because`, and count what a material's keywords and text share with
the question's. Kept for those who compare; `tests/tasks/retrieval/test_old_rules.py` holds them to what they gave.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

LEAST_RELEVANCE = 30
MOST_COURSES = 3
SHORTEST_KEYWORD = 3
STOP_WORDS = frozenset(
    [
        *("the", "and", "but", "for", "with", "from", "about", "into", "not"),
        *("are", "was", "were", "been", "being", "have", "has", "had", "does", "did", "doing"),
        *("can", "could", "may", "might", "must", "shall", "should", "will", "would"),
        *("what", "which", "who", "whom", "whose", "when", "where", "why", "how"),
        *("this", "that", "these", "those", "you", "your", "they", "them", "their"),
    ]
)
"""Function words of three letters or more; shorter words are dropped anyway. The forum's own list is not on record:
this one gives the same keywords for the questions whose results are."""


class OldMaterial(BaseModel):
    """What the rules look at in a material."""

    model_config = ConfigDict(frozen=True)

    id: str
    course_id: str
    keywords: tuple[str, ...]
    content: str


class OldCourse(BaseModel):
    """What the rules look at in a course."""

    model_config = ConfigDict(frozen=True)

    id: str
    code: str | None
    name: str
    active: bool


class Relevance(BaseModel):
    """How relevant a material is, from 0 to 100, and the question's keywords that it has."""

    model_config = ConfigDict(frozen=True)

    percent: int
    keywords: tuple[str, ...]


class CourseScore(BaseModel):
    """What the rules found in a course, and why."""

    model_config = ConfigDict(frozen=True)

    course_id: str
    score: int
    because: tuple[str, ...]


def keywords_of(question: str) -> tuple[str, ...]:
    """The words that count, in their order, each once: three characters or more and no stop words."""
    words = re.sub(r"[^\w\s]", " ", question.lower(), flags=re.ASCII).split()
    return tuple(dict.fromkeys(word for word in words if len(word) >= SHORTEST_KEYWORD and word not in STOP_WORDS))


def relevance(keywords: Sequence[str], material: OldMaterial) -> Relevance:
    """60 points for keywords that contain, or are contained in, one of the material's; 40 for those in its text.

    The material's own keywords are compared as they are written, so that those in capitals never match.
    """
    if not keywords:
        return Relevance(percent=0, keywords=())
    content = material.content.lower()
    named = [word for word in keywords if any(word in own or own in word for own in material.keywords)]
    said = [word for word in keywords if word in content]
    percent = math.floor(60 * len(named) / len(keywords) + 40 * len(said) / len(keywords) + 0.5)
    either = tuple(word for word in keywords if word in named or word in said)
    return Relevance(percent=min(percent, 100), keywords=either)


def select(
    question: str, materials: Sequence[OldMaterial], *, most: int = 5, least: float = LEAST_RELEVANCE
) -> list[tuple[OldMaterial, Relevance]]:
    """The most relevant materials: the first `most` of those with any relevance, of them those with `least`."""
    keywords = keywords_of(question)
    scored = [(material, relevance(keywords, material)) for material in materials]
    found = sorted((pair for pair in scored if pair[1].percent > 0), key=lambda pair: -pair[1].percent)
    return [pair for pair in found[:most] if pair[1].percent >= least]


def score_courses(question: str, courses: Sequence[OldCourse], materials: Sequence[OldMaterial]) -> list[CourseScore]:
    """Courses with any sign of being meant, the surest first; none when there is no sign."""
    keywords = keywords_of(question)
    scored = [
        _score_course(question.lower(), keywords, course, [one for one in materials if one.course_id == course.id])
        for course in courses
    ]
    return sorted((one for one in scored if one.score > 0), key=lambda one: -one.score)


def detect(question: str, courses: Sequence[OldCourse], materials: Sequence[OldMaterial]) -> list[CourseScore]:
    """At most three courses; all that are active, with a score of 0, when there is no sign of any."""
    if found := score_courses(question, courses, materials):
        return found[:MOST_COURSES]
    return [CourseScore(course_id=course.id, score=0, because=()) for course in courses if course.active]


def _score_course(
    question: str, keywords: Sequence[str], course: OldCourse, materials: Sequence[OldMaterial]
) -> CourseScore:
    own = {word.lower() for material in materials for word in material.keywords}
    matching = [word for word in keywords if any(word in one or one in word for one in own)]
    holding = sum(any(word in material.content.lower() for word in keywords) for material in materials)
    signs = (
        (100, bool(course.code) and (course.code or "").lower() in question, "its code is in the question"),
        (50, course.name.lower() in question, "its name is in the question"),
        (10 * len(matching), bool(matching), f"keywords: {', '.join(matching)}"),
        (5 * holding, holding > 0, f"{holding} materials with a keyword in their text"),
    )
    return CourseScore(
        course_id=course.id,
        score=sum(points for points, holds, _ in signs if holds),
        because=tuple(said for _, holds, said in signs if holds),
    )
