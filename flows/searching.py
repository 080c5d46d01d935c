"""What `headrace search` does and shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from flows.presentation import console, money, table, write_json
from schemas.errors import BadInput
from schemas.search import CourseProposal, Fusion, SearchHit, SearchMode, SearchOutcome, Standing
from tasks.ledger.reranking import rerank_model as default_rerank_model
from tasks.ledger.session import open_ledger
from tasks.retrieval.courses import propose_courses
from tasks.retrieval.ranking import RankingOptions
from tasks.retrieval.searching import search

SHOWN_CHARACTERS = 240
"""Of a passage, for people."""


class _Found(SearchOutcome):
    run_id: None = None
    status: str = "completed"


class _Courses(BaseModel):
    run_id: None = None
    status: str = "completed"
    courses: list[CourseProposal]


async def find(
    query: str,
    *,
    courses: Sequence[str],
    types: Sequence[str],
    weeks: Sequence[int],
    mode: SearchMode,
    fusion: Fusion,
    limit: int,
    min_relevance: float | None,
    mmr: float | None,
    rerank: bool,
    rerank_model: str | None,
    user: str | None,
    project: str | None,
) -> SearchOutcome:
    """The passages found; errors as in `search`."""
    async with open_ledger() as ledger:
        if rerank and rerank_model is None:
            rerank_model = default_rerank_model(ledger.settings)
        return await search(
            query,
            courses=courses,
            types=types,
            weeks=weeks,
            limit=limit,
            mode=mode,
            min_relevance=min_relevance,
            mmr=mmr,
            rerank_model=rerank_model,
            user=user,
            project=project,
            options=RankingOptions(fusion=fusion),
        )


async def find_courses(
    question: str, *, mode: SearchMode, user: str | None, project: str | None
) -> list[CourseProposal]:
    """The courses that the question is about; errors as in `propose_courses`."""
    if mode == "vectors":
        raise BadInput("courses are proposed by hybrid search, by words, or by the old rules (legacy)")
    return await propose_courses(question, mode=mode, user=user, project=project)


def refuse_for_courses(**given: Any) -> None:
    """Nothing was asked that is for passages alone.

    Raises:
        BadInput: something was.
    """
    if named := [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, False, "")]:
        raise BadInput(f"{', '.join(named)} is for passages: --courses looks at all of them")


def show_found(found: SearchOutcome, *, explain: bool, as_json: bool) -> int:
    """The passages, best first, each with where it is."""
    if as_json:
        write_json(_Found(**found.model_dump()))
        return 0
    out = console()
    for place, hit in enumerate(found.hits, start=1):
        _show_hit(out, place, hit, explain=explain)
    some = f"{len(found.hits)} of {found.candidates} passages compared" if found.hits else "no passage found"
    where = f", generation {found.generation}" if found.generation is not None else ""
    _say(out, f"{some}, {found.mode}{where}, {money(found.cost_usd)}")
    return 0


def show_courses(proposals: Sequence[CourseProposal], *, as_json: bool) -> int:
    """The courses proposed, the surest first."""
    if as_json:
        write_json(_Courses(courses=list(proposals)))
        return 0
    out = console()
    rows = [(f"{one.score:.2f}", one.course_id, one.code or "", one.name, "; ".join(one.because)) for one in proposals]
    out.print(table("", ["score", "course", "code", "name", "because"], rows))
    return 0


def _show_hit(out: Console, place: int, hit: SearchHit, *, explain: bool) -> None:
    path = " > ".join([hit.title, *(heading for heading in hit.heading_path if heading != hit.title)])
    week = f", week {hit.week}" if hit.week is not None else ""
    _say(out, f"{place}. {path}")
    where = f"{hit.material_id}, {hit.type} of {hit.course_id}{week}, characters {hit.start_char}–{hit.end_char}"
    _say(out, f"   {where}; score {hit.score:.3f}, relevance {hit.relevance:.2f}")
    if explain:
        for line in _explanation(hit):
            _say(out, f"   {line}")
    text = " ".join(hit.content.split())
    _say(out, f"   {text if len(text) <= SHOWN_CHARACTERS else f'{text[: SHOWN_CHARACTERS - 1]}…'}")


def _explanation(hit: SearchHit) -> list[str]:
    why = hit.why
    lines = []
    if why.words is not None:
        shares = ", ".join(f"{share.term} {share.score:.2f}" for share in why.terms)
        lines.append(f"words: {_standing(why.words)} ({shares})")
    if why.vectors is not None:
        lines.append(f"vectors: {_standing(why.vectors)}")
    if why.fused is not None:
        lines.append(f"both: {why.fused:.3f}")
    if why.marginal_relevance is not None:
        lines.append(f"with what is above it taken off: {why.marginal_relevance:.3f}")
    if why.rerank is not None:
        lines.append(f"reranked: {_standing(why.rerank)}")
    if why.keywords:
        lines.append(f"keywords: {', '.join(why.keywords)}")
    return lines


def _standing(standing: Standing) -> str:
    rank = "below the candidates" if standing.rank is None else f"rank {standing.rank}"
    return f"{rank}, {standing.score:.3f}"


def _say(out: Console, line: str) -> None:
    out.print(line, soft_wrap=True, markup=False, highlight=False)
