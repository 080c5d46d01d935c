"""What an analysis of a bill says, first as a model drafts it, then as it stands when checked."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.bills import BillKey, Span

Direction = Literal["benefit", "burden", "mixed"]
EvidenceStatus = Literal["exact", "approximate", "missing"]


class Frozen(BaseModel):
    """Base of values that do not change once made."""

    model_config = ConfigDict(frozen=True)


class AnalysisModels(Frozen):
    """LiteLLM names of the models; what is empty is the model configured for that step."""

    research: str = Field(
        "", title="Research model", description="Writes the search queries", json_schema_extra={"position": 0}
    )
    generate: str = Field(
        "", title="Generate model", description="Drafts and refines the analysis", json_schema_extra={"position": 1}
    )
    review: str = Field("", title="Review model", description="Audits the drafts", json_schema_extra={"position": 2})


class BillRef(Frozen):
    """A stored bill: its row and the text that row holds."""

    id: UUID
    key: BillKey
    title: str | None
    text_sha256: str
    characters: int
    sections: int
    source: str


# --- what a model is asked for ---------------------------------------------------------------------


class SearchQueries(Frozen):
    """Search queries about a bill."""

    queries: list[str] = Field(min_length=1, max_length=20)


class Citation(Frozen):
    """A numbered sentence of the bill (`S12`) or a research result (`R3`) that supports a claim."""

    cite: str
    quote: str | None = Field(None, description="Words copied from it, six or more; null to quote it whole")


class Amounts(Frozen):
    """Percentiles of a yearly amount in US dollars."""

    p10: float
    p25: float
    p50: float
    p75: float
    p90: float
    basis: str = Field(description="The number in a cited sentence that these rest on, as it is written there")


class DraftImpact(Frozen):
    """One effect of the bill; section and evidence come first, so that the claim follows from them."""

    section: str = Field(description="Title of the section it comes from")
    evidence: list[Citation] = Field(min_length=1, max_length=2)
    affected: str = Field(max_length=100, description="The group whose position changes")
    description: str = Field(max_length=300, description="What changes for that group")
    direction: Direction
    causality: str = Field(max_length=240, description="Why: the provision, what it makes people do, what follows")
    confidence: int = Field(ge=0, le=100, description="In percent")  # llama.cpp bounds integers, not fractions
    amounts: Amounts | None = None


class DraftAnalysis(Frozen):
    """A model's reading of a bill or of a group of its sections."""

    impacts: list[DraftImpact] = Field(max_length=12)
    summary: str = Field(max_length=600)


class DraftSummary(Frozen):
    """One summary made of several."""

    summary: str = Field(max_length=1200)


class Rubric(Frozen):
    """Scores from 1 (poor) to 5 (excellent)."""

    accuracy: int = Field(ge=1, le=5)
    completeness: int = Field(ge=1, le=5)
    evidence: int = Field(ge=1, le=5)
    clarity: int = Field(ge=1, le=5)


Finding = Annotated[str, Field(max_length=240)]


class DraftReview(Frozen):
    """A reviewer's findings; the verdict comes last, after what it rests on."""

    factual_errors: list[Finding] = Field(max_length=5, description="Statements the bill contradicts or never makes")
    missing_impacts: list[Finding] = Field(max_length=5, description="Effects that the analysis leaves out")
    critique: str = Field(max_length=400)
    rubric: Rubric
    passed: bool


# --- what stands when checked ----------------------------------------------------------------------


class SearchResult(Frozen):
    """A passage found by research, with where it is from."""

    number: int
    title: str
    source: str
    text: str
    query: str
    score: float


class Reading(Frozen):
    """Which part of the text one model call read."""

    request_id: UUID
    step: str
    spans: list[Span]


class Research(Frozen):
    """What research asked and found; a query without results is kept with none."""

    queries: list[str]
    results: list[SearchResult]
    queries_without_results: list[str]
    provider: str
    readings: list[Reading]


class Evidence(Frozen):
    """A quote and whether it is where it is said to be.

    Attributes:
        quote: as it stands in the source when located, else as the model gave it.
        located: found exactly (white space, quotes and hyphens apart) and long enough to support a claim.
        start / end: character offsets in the bill's text; None for research and for what is missing.
        nearest: for an approximate match, what the bill says there.
    """

    quote: str
    source: str
    status: EvidenceStatus
    located: bool
    start: int | None = None
    end: int | None = None
    section: str | None = None
    nearest: str | None = None
    similarity: float | None = None


class Impact(Frozen):
    """A claim about the bill with its checked evidence."""

    number: int
    clause: str
    affected: str
    direction: Direction
    description: str
    causality: str
    confidence: float
    amounts: Amounts | None
    amounts_removed: str | None
    evidence: list[Evidence]
    supported: bool


class BillAnalysis(Frozen):
    """Summary and impacts of a bill, each piece of evidence looked up in its text."""

    summary: str
    impacts: list[Impact]

    @property
    def evidence(self) -> list[Evidence]:
        """All evidence of all impacts."""
        return [item for impact in self.impacts for item in impact.evidence]


class Draft(Frozen):
    """A draft with the calls that made it."""

    analysis: DraftAnalysis
    readings: list[Reading]


class Review(Frozen):
    """The verdict on an analysis: the reviewer's, overruled where the evidence does not bear it out."""

    passed: bool
    critique: str
    missing_impacts: list[str]
    factual_errors: list[str]
    rubric: Rubric
    reviewer_passed: bool
    overruled_because: list[str]
    readings: list[Reading]


class Round(Frozen):
    """One draft, checked and reviewed."""

    number: int
    analysis: BillAnalysis
    review: Review
    quality_score: float


class Coverage(Frozen):
    """Which calls read which spans of the bill; `complete` when the drafts rest on all of its text."""

    complete: bool
    readings: list[Reading]

    @classmethod
    def of(cls, readings: list[Reading], characters: int) -> Self:
        """The coverage of a bill of so many characters."""
        covered = 0
        for span in sorted((span for item in readings if item.step == "generate" for span in item.spans), key=_start):
            if span.start > covered:
                break
            covered = max(covered, span.end)
        return cls(complete=covered >= characters, readings=readings)


def _start(span: Span) -> int:
    return span.start


class BillReport(Frozen):
    """The outcome of a run over one bill."""

    run_id: UUID
    status: str
    bill: BillRef
    models: AnalysisModels
    research: Research
    analysis: BillAnalysis
    review: Review
    passed: bool
    quality_score: float
    best_round: int
    rounds: list[Round]
    coverage: Coverage
    cost_usd: Decimal | None
    report: str
