"""Step 4: every citation of a draft is looked up, without a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from blocks.documents.evidence import NormalizedBill, locate
from schemas.analysis import (
    Amounts,
    BillAnalysis,
    BillRef,
    Citation,
    DraftAnalysis,
    DraftImpact,
    Evidence,
    Impact,
    Research,
    SearchResult,
)
from schemas.bills import MIN_QUOTE_WORDS, Sentence, Span
from tasks.analysis.reading import BillText, load_bill
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


@step("check", version="1")
async def check_evidence(bill: BillRef, draft: DraftAnalysis, research: Research) -> BillAnalysis:
    """The draft with its evidence looked up in the stored bill and in what research found."""
    async with open_ledger() as ledger:
        loaded = await load_bill(ledger.engine, bill.id)
    return await asyncio.to_thread(check_draft, draft, loaded, research)  # seconds for the longest bills


def check_draft(draft: DraftAnalysis, bill: BillText, research: Research) -> BillAnalysis:
    """The draft with each quote located in its source; claims without located evidence are unsupported.

    Amounts stay only where every number they name as their basis stands in a located quote.
    """
    impacts = [_check_impact(number, impact, bill, research) for number, impact in enumerate(draft.impacts, 1)]
    return BillAnalysis(summary=draft.summary, impacts=impacts)


def number_impacts(parts: Sequence[BillAnalysis]) -> list[BillAnalysis]:
    """The parts of one bill's analysis with their impacts numbered through, from 1."""
    numbered, before = [], 0
    for part in parts:
        impacts = [impact.model_copy(update={"number": before + place}) for place, impact in enumerate(part.impacts, 1)]
        numbered.append(part.model_copy(update={"impacts": impacts}))
        before += len(impacts)
    return numbered


def _check_impact(number: int, impact: DraftImpact, bill: BillText, research: Research) -> Impact:
    cited = dict.fromkeys(impact.evidence)
    evidence = [_check_citation(citation, bill, research) for citation in cited]
    amounts, removed = _check_amounts(impact.amounts, evidence)
    return Impact(
        number=number,
        clause=next((item.section for item in evidence if item.located and item.section), "no clause located"),
        affected=impact.affected,
        direction=impact.direction,
        description=impact.description,
        causality=impact.causality,
        confidence=impact.confidence / 100,
        amounts=amounts,
        amounts_removed=removed,
        evidence=evidence,
        supported=any(item.located and item.start is not None for item in evidence),
    )


def _check_citation(citation: Citation, bill: BillText, research: Research) -> Evidence:
    if result := _result(citation.cite, research):
        return _from_research(citation, result)
    sentence = _sentence(citation.cite, bill)
    if citation.quote and citation.quote.strip():
        return _from_quote(citation.quote, bill, sentence)
    if sentence is None:
        return Evidence(quote="", source=citation.cite, status="missing", located=False)
    quote = bill.reading(sentence.span)
    return Evidence(
        quote=quote,
        source="bill",
        status="exact",
        located=len(quote.split()) >= MIN_QUOTE_WORDS,
        start=sentence.span.start,
        end=sentence.span.end,
        section=bill.section_title(sentence.section),
        similarity=1.0,
    )


def _sentence(cite: str, bill: BillText) -> Sentence | None:
    match = re.fullmatch(r"\[?S(\d+)\]?", cite.strip())
    number = int(match[1]) if match else 0
    return bill.sentences[number - 1] if 1 <= number <= len(bill.sentences) else None


def _result(cite: str, research: Research) -> SearchResult | None:
    match = re.fullmatch(r"\[?R(\d+)\]?", cite.strip())
    return next((item for item in research.results if match and item.number == int(match[1])), None)


def _from_quote(quote: str, bill: BillText, sentence: Sentence | None) -> Evidence:
    """Evidence the model quoted in its own words: it counts only if those are the bill's."""
    found = locate(quote, bill.normalized, near=sentence.span if sentence else None)
    if found.start is None or found.end is None:
        return Evidence(quote=quote, source="bill", status="missing", located=False)
    exact, span = found.status == "exact", Span(start=found.start, end=found.end)
    there = bill.reading(span)
    return Evidence(
        quote=there if exact else quote,
        source="bill",
        status=found.status,
        located=found.supports,
        start=span.start,
        end=span.end,
        section=_section_at(bill, span),
        nearest=None if exact else there,
        similarity=found.similarity,
    )


def _section_at(bill: BillText, span: Span) -> str:
    inside = next(section for section in bill.sections if section.span.start <= span.start < section.span.end)
    return bill.section_title(inside.ordinal)


def _from_research(citation: Citation, result: SearchResult) -> Evidence:
    """Evidence from research says where it is from; it cannot alone support a claim about the bill."""
    quote = (citation.quote or "").strip() or result.text
    found = locate(quote, NormalizedBill.of(result.text))
    return Evidence(
        quote=quote, source=result.source, status=found.status, located=found.supports, similarity=found.similarity
    )


def _check_amounts(amounts: Amounts | None, evidence: Sequence[Evidence]) -> tuple[Amounts | None, str | None]:
    """The amounts and nothing, or nothing and why they were removed."""
    if amounts is None:
        return None, None
    quoted = {number for item in evidence if item.located for number in _numbers(item.quote)}
    named = set(_numbers(amounts.basis))
    if not named or not named <= quoted:
        return None, f"no located quote states {amounts.basis!r}"
    percentiles = [amounts.p10, amounts.p25, amounts.p50, amounts.p75, amounts.p90]
    if percentiles != sorted(percentiles):
        return None, "the percentiles do not ascend"
    return amounts, None


def _numbers(text: str) -> list[str]:
    """Numbers of `text` without thousands separators."""
    return [match.replace(",", "") for match in NUMBER.findall(text)]
