"""Which sentences of a model's answer stand: those whose quote is in a passage that the model was shown. No I/O.

A quote is compared as `blocks.documents.evidence` does: letters, digits and punctuation in the same order, white space,
quotation marks and hyphens between words apart. Marks of Markdown in the material may be missing from it. What is kept
as the quote is the material's own text, so that a reader sees what stands there. A quote that stands in another passage
than the one the model named is that passage's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from blocks.documents.evidence import NormalizedBill, locate
from schemas.answering import CitedPassage, DroppedClaim, Passage
from schemas.bills import Span

SHORTEST_QUOTE = 3
"""Words; fewer could stand anywhere."""
MOST_CLAIMS = 8

_MARKUP = re.compile(r"\*+|__+|`+|(?m:^[ \t]*(?:#{1,6}|>|[-+])[ \t])|(?<=\])\([^()\s]*\)|!?\[(?=[^\[\]]*\]\()|\](?=\()")
_NUMBERS = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")
_STOP = re.compile(r"[.!?。！？…][\"'”’)\]]*\Z")


class DraftClaim(BaseModel):
    """One sentence of an answer and what it rests on; the quote comes first, so that the sentence follows from it."""

    model_config = ConfigDict(extra="forbid")

    passage: int
    quote: str
    text: str


class DraftAnswer(BaseModel):
    """An answer as a model gives it: its sentences in order, none where the passages do not say."""

    model_config = ConfigDict(extra="forbid")

    claims: list[DraftClaim] = Field(max_length=MOST_CLAIMS)


@dataclass(frozen=True)
class Supported:
    """A sentence whose quote stands in `passage`, at `span` of its content."""

    text: str
    passage: Passage
    span: Span


@dataclass(frozen=True)
class Checked:
    """The sentences of an answer, and those that were dropped."""

    supported: tuple[Supported, ...]
    dropped: tuple[DroppedClaim, ...]


def narrow_schema(passages: Sequence[Passage]) -> dict[str, object]:
    """The schema of a draft in which every claim names one of `passages`, for models that are held to a schema."""
    schema = DraftAnswer.model_json_schema()
    numbers = [passage.number for passage in passages]
    schema["$defs"]["DraftClaim"]["properties"]["passage"] = {"type": "integer", "enum": numbers}
    return schema


def check_claims(draft: DraftAnswer, passages: Sequence[Passage]) -> Checked:
    """The claims of `draft` whose quotes stand in `passages`, and why the others are not among them."""
    supported: list[Supported] = []
    dropped: list[DroppedClaim] = []
    known = {passage.number: passage for passage in passages}
    for claim in draft.claims:
        text = _sentence(claim.text)
        if not text:
            continue
        found = _find(claim, known)
        if isinstance(found, str):
            dropped.append(DroppedClaim(text=text, reason=found))
        else:
            supported.append(Supported(text, *found))
    return Checked(tuple(supported), tuple(dropped))


def _sentence(text: str) -> str:
    """`text` on one line, without characters that a terminal obeys and without numbers of citations, which are ours."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return _NUMBERS.sub("", line).strip()


def _find(claim: DraftClaim, known: dict[int, Passage]) -> tuple[Passage, Span] | str:
    """Where the quote stands, the passage that the claim names first; or why nowhere."""
    if found := find_passage(claim.quote, [claim.passage], known):
        return found
    if claim.passage not in known:
        return f"no passage {claim.passage} was shown"
    return f"its quote does not stand in passage {claim.passage}, nor in another"


def find_passage(quote: str, named: Sequence[int], known: Mapping[int, Passage]) -> tuple[Passage, Span] | None:
    """Where `quote` stands: in a passage whose number is `named`, else in another of those `known` by number."""
    first = [known[number] for number in named if number in known]
    for passage in (*first, *(each for each in known.values() if each.number not in named)):
        if span := find_quote(quote, passage.content):
            return passage, span
    return None


def count_words(quote: str) -> int:
    """Words of `quote` as those of a quotation are counted."""
    return locate(quote, NormalizedBill.of("")).words


def find_quote(quote: str, content: str) -> Span | None:
    """Where `quote` stands in `content`, to the letter but for what may differ; None if nowhere or too short."""
    for text in dict.fromkeys((content, _without_markup(content))):
        located = locate(quote, NormalizedBill.of(text))
        if located.status == "exact" and located.words >= SHORTEST_QUOTE:
            assert located.start is not None
            assert located.end is not None
            return Span(start=located.start, end=located.end)
    return None


def _without_markup(content: str) -> str:
    """`content` at equal length with marks of Markdown as spaces."""
    return _MARKUP.sub(lambda found: " " * len(found[0]), content)


def compose(supported: Sequence[Supported]) -> tuple[str, tuple[CitedPassage, ...]]:
    """The answer's text, each sentence with the number of its citation, and the citations in the order of the text."""
    citations: dict[tuple[object, int, int], CitedPassage] = {}
    sentences = []
    for each in supported:
        place = (each.passage.chunk_id, each.span.start, each.span.end)
        cited = citations.setdefault(place, _citation(len(citations) + 1, each))
        stop = "" if _STOP.search(each.text) else "."
        sentences.append(f"{each.text}{stop} [{cited.ordinal}]")
    return " ".join(sentences), tuple(citations.values())


def _citation(ordinal: int, supported: Supported) -> CitedPassage:
    passage, span = supported.passage, supported.span
    return cite(passage, ordinal, span)


def cite(passage: Passage, ordinal: int, span: Span) -> CitedPassage:
    """The characters `span` of a passage as a citation."""
    return CitedPassage(
        ordinal=ordinal,
        quote=span.of(passage.content),
        start=passage.start + span.start,
        end=passage.start + span.end,
        **passage.model_dump(exclude={"number", "content", "start"}),
    )
