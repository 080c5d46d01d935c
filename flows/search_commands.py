"""`headrace search`: passages of course materials, and the courses a question is about."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.command_options import AtLeastOne, Json

Switch = Parameter(negative="")


def search(
    query: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    course: list[str] | None = None,
    type: list[str] | None = None,  # the option is named for what the materials have
    week: list[int] | None = None,
    mode: Literal["hybrid", "words", "vectors", "legacy"] = "hybrid",
    fusion: Literal["scores", "ranks"] = "scores",
    limit: AtLeastOne = 10,
    min_relevance: float | None = None,
    mmr: float | None = None,
    rerank: Annotated[bool, Switch] = False,
    rerank_model: str = "",
    courses: Annotated[bool, Switch] = False,
    explain: Annotated[bool, Switch] = False,
    user: str = "",
    project: str = "",
    json: Json = False,
) -> int:
    """Search course materials by words and by meaning.

    Parameters
    ----------
    query
        A question or some words.
    course
        Only materials of this course, by id or code; may be given again.
    type
        Only materials of this type (lecture, slide, reading …); may be given again.
    week
        Only materials of this week; may be given again.
    mode
        words (BM25), vectors (cosine similarity), both, or the forum's old rules.
    fusion
        How hybrid makes both one: by their scores, or by their ranks (reciprocal rank fusion).
    limit
        At most so many passages.
    min_relevance
        Leave out what is less relevant, from 0 to 1; 0.3 with legacy, else nothing, when not given.
    mmr
        Prefer passages that differ: weight of relevance, from 0 to 1; 0.7 is a good beginning.
    rerank
        Have the best put in order by the model of HEADRACE_RERANK_MODEL.
    rerank_model
        Have that done by this model.
    courses
        Propose the courses the question is about instead of passages.
    explain
        Say of each passage how it came to its place.
    user
        Whose search it is.
    project
        Project whose budget pays.
    """
    from flows import searching

    if courses:
        searching.refuse_for_courses(
            course=course, type=type, week=week, min_relevance=min_relevance, mmr=mmr, rerank=rerank or rerank_model
        )
        found = searching.find_courses(query, mode=mode, user=user or None, project=project or None)
        return searching.show_courses(asyncio.run(found), as_json=json)
    work = searching.find(
        query,
        courses=course or (),
        types=type or (),
        weeks=week or (),
        mode=mode,
        fusion=fusion,
        limit=limit,
        min_relevance=min_relevance,
        mmr=mmr,
        rerank=rerank,
        rerank_model=rerank_model or None,
        user=user or None,
        project=project or None,
    )
    return searching.show_found(asyncio.run(work), explain=explain, as_json=json)
