"""Bills in memory, made for tests."""

from __future__ import annotations

from typing import Any

from schemas.analysis import (
    Amounts,
    BillAnalysis,
    BillRef,
    Citation,
    DraftAnalysis,
    DraftImpact,
    Research,
    SearchResult,
)
from schemas.bills import BillKey
from schemas.identifiers import new_id
from tasks.analysis.reading import BillText
from tasks.analysis.sections import split_sections

RENTS = """SECTION 1. RENTS.

    (a) No owner of a dwelling shall raise the rent of it by more than six percent in any year.
    (b) The board shall give its reasons.

SECTION 2. FEES.

    The owner shall pay the fee of $1,250.50 to the clerk before July 1, 2027. The fee is waived for a dwelling
that its owner occupies.
"""


def bill_of(text: str = RENTS) -> BillText:
    """`text` as a stored bill would be."""
    sections = split_sections(text)
    ref = BillRef(
        id=new_id(),
        key=BillKey(jurisdiction="US", bill_id="HR 5", session="117"),
        title=None,
        text_sha256="0" * 64,
        characters=len(text),
        sections=len(sections),
        source="bill.txt",
    )
    return BillText(ref, text, sections)


def research_of(*passages: str) -> Research:
    """Research that found `passages`, numbered from 1."""
    results = [
        SearchResult(number=number, title="T", source="CA/AB7/2024", text=passage, query="q", score=1.0)
        for number, passage in enumerate(passages, 1)
    ]
    return Research(queries=["q"], results=results, queries_without_results=[], provider="test", readings=[])


def claim(*evidence: Citation, amounts: Amounts | None = None, **more: Any) -> DraftImpact:
    """An impact with this evidence."""
    given = {"section": "s", "affected": "a", "description": "d", "causality": "c", "confidence": 80} | more
    return DraftImpact(evidence=list(evidence), direction="burden", amounts=amounts, **given)


def draft_of(*impacts: DraftImpact) -> DraftAnalysis:
    """A draft of these impacts."""
    return DraftAnalysis(impacts=list(impacts), summary="s")


def analysis_with(*located: list[bool]) -> BillAnalysis:
    """An analysis with an impact for each list, each of its pieces of evidence located or not."""
    from schemas.analysis import Evidence, Impact

    def impact(number: int, found: list[bool]) -> Impact:
        evidence = [
            Evidence(
                quote="q",
                source="bill",
                status="exact" if there else "missing",
                located=there,
                start=0 if there else None,
                section=f"Section {number}" if there else None,
            )
            for there in found
        ]
        return Impact(
            number=number,
            clause="c",
            affected="a",
            direction="burden",
            description="d",
            causality="c",
            confidence=0.5,
            amounts=None,
            amounts_removed=None,
            evidence=evidence,
            supported=any(found),
        )

    return BillAnalysis(summary="s", impacts=[impact(number, found) for number, found in enumerate(located, 1)])
