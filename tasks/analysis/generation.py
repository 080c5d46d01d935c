"""Steps 3 and 6: drafts of an analysis, a group of sections at a time, and their refinement."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.analysis import BillAnalysis, BillRef, Draft, DraftAnalysis, DraftSummary, Research, Review
from schemas.bills import SectionPart
from schemas.calls import Message
from tasks.analysis.drafting import (
    PROMPTS,
    SYSTEM,
    answer_parameters,
    ask_about,
    citable,
    citable_schema,
    readings_of,
)
from tasks.analysis.reading import BillText, load_bill
from tasks.ledger.calls import complete_structured
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

GENERATE = Prompt(PROMPTS / "generate.md")
REFINE = Prompt(PROMPTS / "refine.md")
MERGE = Prompt(PROMPTS / "merge.md")
MOST_IMPACTS = 4
SUMMARY_TOKENS = 500
MERGED_AT_ONCE = 12
"""Summaries merged in one call; more are merged in layers."""


@step("generate", version="1", prompt=GENERATE)
async def generate_draft(bill: BillRef, group: list[SectionPart], research: Research, model: str) -> Draft:
    """A draft of the impacts of one group of sections, each citing numbered sentences."""
    async with open_ledger() as ledger:
        loaded = await load_bill(ledger.engine, bill.id)
        least = _least_impacts(loaded, group)
        task = GENERATE.render(results=research.results, least=least, most=MOST_IMPACTS)
        results = [f"R{result.number}" for result in research.results]
        return await _draft(loaded, group, task, results, model, "generate")


@step("refine", version="1", prompt=REFINE)
async def refine_draft(
    bill: BillRef, group: list[SectionPart], analysis: BillAnalysis, review: Review, model: str
) -> Draft:
    """A draft that answers a reviewer's critique of `analysis`."""
    async with open_ledger() as ledger:
        loaded = await load_bill(ledger.engine, bill.id)
        least = _least_impacts(loaded, group)
        task = REFINE.render(
            summary=analysis.summary,
            impacts=analysis.impacts,
            least=least,
            most=MOST_IMPACTS,
            **review.model_dump(include={"critique", "factual_errors", "missing_impacts", "overruled_because"}),
        )
        return await _draft(loaded, group, task, (), model, "refine")


async def _draft(
    bill: BillText, group: Sequence[SectionPart], task: str, results: Sequence[str], model: str, step_name: str
) -> Draft:
    schema = citable_schema(bill, group, results)
    schema["properties"]["impacts"] |= {"minItems": _least_impacts(bill, group), "maxItems": MOST_IMPACTS}
    answer = await ask_about(bill, group, task, DraftAnalysis, model, output_schema=schema)
    return Draft(analysis=answer.value, readings=readings_of(answer, step_name, group))


def _least_impacts(bill: BillText, group: Sequence[SectionPart]) -> int:
    """As many as the group has sections with something to cite, at most three."""
    return min(3, len({sentence.section for sentence in citable(bill, group)}) or 1)


@step("merge", version="1", prompt=MERGE)
async def merge_summaries(bill: BillRef, summaries: list[str], model: str) -> DraftSummary:
    """One summary of a bill that was read in parts, merged in layers where there are many."""
    while len(summaries) > 1:
        summaries = [
            await _merge_some(bill, summaries[start : start + MERGED_AT_ONCE], model)
            for start in range(0, len(summaries), MERGED_AT_ONCE)
        ]
    return DraftSummary(summary=summaries[0])


async def _merge_some(bill: BillRef, summaries: list[str], model: str) -> str:
    if len(summaries) == 1:
        return summaries[0]
    messages = (
        Message(role="system", content=SYSTEM.render()),
        Message(role="user", content=MERGE.render(key=str(bill.key), summaries=summaries)),
    )
    parameters = await answer_parameters(model, SUMMARY_TOKENS)
    answer = await complete_structured(messages, DraftSummary, model=model, parameters=parameters)
    return answer.value.summary
