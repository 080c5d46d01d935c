"""Which chunks a model is shown: the best that fit a budget of tokens. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from schemas.answering import ContextLimits, Passage
from tasks.answering.searching import Hit

BYTES_PER_TOKEN = 4
FRAME_TOKENS = 24
"""Of the marks around a passage."""
SHORTEST_CUT = 0.8
"""A passage that is cut ends with a sentence or a line, if that leaves so much of what fits."""
_END = re.compile(r"[.!?](?=\s)|\n|[。！？]")


def count_tokens(text: str) -> int:
    """Tokens of `text`, one for every four bytes begun: what English comes to in most vocabularies."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


@dataclass
class _Choice:
    """Hits that are chosen, and what they come to."""

    limits: ContextLimits
    chosen: list[Hit] = field(default_factory=list)
    materials: dict[str, None] = field(default_factory=dict)
    tokens: int = 0

    def fill(self, hits: Iterable[Hit], *, tokens: int, materials: int) -> None:
        """The first of `hits` that fit are chosen, up to so many tokens and materials in all."""
        for hit in hits:
            cost = _cost(hit)
            is_new = hit.material_id not in self.materials
            if self.tokens + cost > tokens or (is_new and len(self.materials) >= materials) or hit in self.chosen:
                continue
            self.chosen.append(hit)
            self.materials[hit.material_id] = None
            self.tokens += cost


def choose_passages(hits: Sequence[Hit], limits: ContextLimits, *, several: bool) -> tuple[Passage, ...]:
    """The best of `hits` within `limits`, numbered by rank.

    Over several courses each has its share, ⌊what is left / courses left⌋, in the order of their best hits, and what
    none of them uses goes to the best that are left. Where not even the first fits, it is cut.

    Args:
        hits: best first.
        several: the question is put to several courses.
    """
    hits = [hit for hit in hits if hit.chunk_id is not None]
    budget = limits.budget(several=several)
    choice = _Choice(limits)
    courses = list(dict.fromkeys(hit.course_id for hit in hits))
    for left, course in zip(range(len(courses), 0, -1), courses, strict=True):
        choice.fill(
            (hit for hit in hits if hit.course_id == course),
            tokens=choice.tokens + (budget - choice.tokens) // left,
            materials=len(choice.materials) + -(-(limits.materials - len(choice.materials)) // left),
        )
    choice.fill(hits, tokens=budget, materials=limits.materials)
    ranked = [hit for hit in hits if hit in choice.chosen]
    if hits and not ranked:
        return (_passage(1, hits[0], _cut(hits[0], budget)),)
    return tuple(_passage(number, hit, hit.content) for number, hit in enumerate(ranked, 1))


def context_tokens(passages: Iterable[Passage]) -> int:
    """Tokens of what a model is shown of them."""
    return sum(FRAME_TOKENS + count_tokens(passage.heading) + count_tokens(passage.content) for passage in passages)


def _cost(hit: Hit) -> int:
    return context_tokens([_passage(0, hit, hit.content)])


def _cut(hit: Hit, budget: int) -> str:
    """The beginning of the content that fits, to the end of a sentence where one is near."""
    room = max(1, budget - context_tokens([_passage(0, hit, "")]))
    whole = hit.content.encode()[: room * BYTES_PER_TOKEN].decode("utf-8", "ignore")
    ends = [found.end() for found in _END.finditer(whole)]
    return whole[: ends[-1]] if ends and ends[-1] >= SHORTEST_CUT * len(whole) else whole


def _passage(number: int, hit: Hit, content: str) -> Passage:
    assert hit.chunk_id is not None  # or else it is not among those that are shown
    return Passage(
        number=number,
        chunk_id=hit.chunk_id,
        material_id=hit.material_id,
        course_id=hit.course_id,
        type=hit.type,
        week=hit.week,
        title=hit.title,
        heading_path=tuple(hit.heading_path),
        content=content,
        start=hit.start_char,
        relevance=round(hit.relevance, 4),
    )
