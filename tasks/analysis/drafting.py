"""What every prompt about a bill shares: the document first, so that its reading is cached, the task last."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from schemas.analysis import DraftAnalysis, Reading
from schemas.bills import MIN_QUOTE_WORDS, SectionPart, Sentence, Span
from schemas.calls import ChatParameters, Message, ModelInfo
from tasks.analysis.grouping import group_sections
from tasks.analysis.reading import BillText
from tasks.ledger.calls import StructuredCompletion, complete_structured
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import open_ledger

T = TypeVar("T", bound=BaseModel)

PROMPTS = Path(__file__).parent / "prompts"
SYSTEM = Prompt(PROMPTS / "system.md")
DOCUMENT = Prompt(PROMPTS / "document.md")

ANSWER_TOKENS = 1600
"""Room for an answer; also what a call reserves at worst."""
REASONING_TOKENS = 8000
"""What a reasoning model may think before it answers; reserved like the answer."""
TASK_TOKENS = 3000
"""Room for the task, research results and an analysis under review."""
MARKUP = 1.3
"""A numbered document has about a fifth more tokens than its text, by measurement; this leaves slack."""
GROUP_TOKENS = 12_000
"""Tokens of bill text read at once at most: beyond that models overlook what stands in the middle
(Liu et al., "Lost in the Middle", TACL 2024)."""
LISTED_CITES = 200
"""Up to so many sentences the answer's schema lists every number that may be cited: OpenAI takes 1,000 values in a
schema, llama.cpp's grammar grows with each."""


def group_bill(bill: BillText, model: ModelInfo) -> list[list[SectionPart]]:
    """Groups of sections that `model` can read at once with task and answer; together they are the bill."""
    window = model.context_window or 8192
    room = int((window - ANSWER_TOKENS - TASK_TOKENS) / MARKUP)
    return group_sections(bill.text, bill.sections, max(500, min(GROUP_TOKENS, room)))


def sentences_of(bill: BillText, group: Sequence[SectionPart]) -> list[Sentence]:
    """The sentences that begin in the group's spans, in order."""
    starts = [sentence.span.start for sentence in bill.sentences]
    return [
        sentence
        for part in group
        for sentence in bill.sentences[bisect_left(starts, part.span.start) : bisect_left(starts, part.span.end)]
    ]


def render_document(bill: BillText, group: Sequence[SectionPart]) -> str:
    """The group's sentences, numbered, under their sections' titles."""
    sections: list[dict[str, Any]] = []
    for part in group:
        lines = [
            {"number": sentence.number, "text": bill.reading(sentence.span)} for sentence in sentences_of(bill, [part])
        ]
        if lines:
            sections.append({"title": bill.section_title(part.section), "sentences": lines})
    return DOCUMENT.render(key=str(bill.ref.key), sections=sections)


async def ask_about(
    bill: BillText,
    group: Sequence[SectionPart],
    task: str,
    output: type[T],
    model: str,
    *,
    output_schema: dict[str, Any] | None = None,
) -> StructuredCompletion[T]:
    """The model's answer to `task` about a group of sections."""
    messages = (
        Message(role="system", content=SYSTEM.render()),
        Message(role="user", content=f"{render_document(bill, group)}\n\n{task}"),
    )
    parameters = await answer_parameters(model, ANSWER_TOKENS)
    return await complete_structured(messages, output, model=model, parameters=parameters, output_schema=output_schema)


async def answer_parameters(model: str, tokens: int) -> ChatParameters:
    """Sampling that repeats itself, with room for an answer of `tokens`.

    A reasoning model chooses its own sampling, and thinks within its output tokens.
    """
    async with open_ledger() as ledger:
        known = await ledger.providers.describe(model)
    if known.reasoning:
        return ChatParameters(max_tokens=tokens + REASONING_TOKENS)
    return ChatParameters(max_tokens=tokens, temperature=0.0)


def readings_of(answer: StructuredCompletion[Any], step: str, group: Sequence[SectionPart]) -> list[Reading]:
    """Which calls, repair rounds among them, read which spans; neighbouring sections are one span."""
    spans: list[Span] = []
    for part in group:
        if spans and spans[-1].end == part.span.start:
            spans[-1] = Span(start=spans[-1].start, end=part.span.end)
        else:
            spans.append(part.span)
    return [Reading(request_id=item.request_id, step=step, spans=spans) for item in answer.rounds]


def citable(bill: BillText, group: Sequence[SectionPart]) -> list[Sentence]:
    """The group's sentences that can support a claim: long enough, and not the printed matter before section 1."""
    long_enough = [
        sentence
        for sentence in sentences_of(bill, group)
        if len(bill.reading(sentence.span).split()) >= MIN_QUOTE_WORDS
    ]
    in_sections = [item for item in long_enough if bill.sections[item.section].kind != "preamble"]
    return in_sections or long_enough or sentences_of(bill, group)


def citable_schema(bill: BillText, group: Sequence[SectionPart], extra_cites: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON schema of a draft in which a citation can only name sentences of the group, or `extra_cites`."""
    schema = copy.deepcopy(DraftAnalysis.model_json_schema())
    sentences = citable(bill, group)
    cites = [f"S{sentence.number}" for sentence in sentences] + list(extra_cites)
    titles = list(dict.fromkeys(bill.section_title(sentence.section) for sentence in sentences))
    cite = schema["$defs"]["Citation"]["properties"]["cite"]
    if len(cites) <= LISTED_CITES:
        cite["enum"] = cites
        schema["$defs"]["DraftImpact"]["properties"]["section"]["enum"] = titles
    else:
        cite["pattern"] = "^[SR][0-9]+$"
    return schema
