"""Insights of the keyword service: what is known of a market, and the four shapes of what is made of it.

Bounds and field names are those that the service's clients have always been given.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

from schemas.choices import InsightType

MOST_KEYWORDS = 50
TTL_MINUTES: dict[InsightType, int] = {"market_brief": 1440, "radar": 1440, "risk": 720, "ad_insight": 360}
"""How long an insight is used again; HEADRACE_ANSWER_TTL_MINUTES may say otherwise."""


def _normal(text: object) -> object:
    """Equal terms are equal texts, however they were typed: lower case, single spaces."""
    return " ".join(text.split()).lower() if isinstance(text, str) else text


Term = Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(_normal)]
Score = Annotated[float, Field(ge=0, le=1)]
Cents = Annotated[int, Field(ge=0)]
Said = Annotated[str, Field(min_length=1)]


class KeywordFigures(BaseModel):
    """One keyword and what was measured of it; None where nothing was."""

    model_config = ConfigDict(frozen=True)

    term: Term
    demand_index: FiniteFloat | None = None
    competition_score: FiniteFloat | None = None
    trend_momentum: FiniteFloat | None = None
    engagement_score: FiniteFloat | None = None
    ai_opportunity_score: FiniteFloat | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures that are known, by name."""
        return {name: value for name, value in self if name != "term" and value is not None}


class ContextMetadata(BaseModel):
    """About the context itself; no part of what the model is told, so that a new time is no new question."""

    model_config = ConfigDict(frozen=True)

    generated_at: datetime | None = None


class InsightContext(BaseModel):
    """What an insight is made from."""

    model_config = ConfigDict(frozen=True)

    market: Term = Field(description="Country or marketplace, e.g. us")
    niche_terms: tuple[Term, ...] = Field((), description="Terms that describe the niche")
    keywords: tuple[KeywordFigures, ...] = Field(
        (), max_length=MOST_KEYWORDS, description="Keywords with their figures, 50 at most"
    )
    budget_cents: Cents | None = Field(None, description="Advertising budget a day in cents, for ad_insight")
    metadata: ContextMetadata = Field(ContextMetadata(), description="When the figures were taken")

    @property
    def terms(self) -> list[str]:
        """Every term of niche and keywords, once, in alphabetical order."""
        return sorted({*self.niche_terms, *(keyword.term for keyword in self.keywords)})

    @property
    def why_too_thin(self) -> str | None:
        """Why nothing reliable can be said of it; None when something can."""
        if not self.keywords:
            return "the context has no keywords"
        if not any(keyword.figures for keyword in self.keywords):
            return "none of the keywords has a figure"
        return None


class Metric(BaseModel):
    """A figure worth knowing."""

    label: Said
    value: str | float
    score: Score | None = None
    interpretation: str | None = None


class TermWithReason(BaseModel):
    """A term and why it matters."""

    term: Said
    why: Said


class MarketBrief(BaseModel):
    """The niche at a glance."""

    niche: Said
    summary: Said
    key_metrics: list[Metric] = Field(default_factory=list, max_length=8)
    top_opportunities: list[TermWithReason] = Field(max_length=10)
    risks: list[TermWithReason] = Field(max_length=10)
    actions: list[str] = Field(max_length=10)
    confidence: Score


class RadarScores(BaseModel):
    """Where a term stands, each from 0 to 1."""

    demand: Score
    momentum: Score
    competition: Score
    novelty: Score
    profit: Score


class RadarItem(BaseModel):
    """One term on the radar."""

    term: Said
    scores: RadarScores
    comment: str


class Radar(BaseModel):
    """Terms compared along five scores."""

    items: list[RadarItem] = Field(max_length=20)


class BudgetShare(BaseModel):
    """What to spend on one term a day and what it should bring."""

    term: Said
    daily_cents: Cents
    expected_cpc_cents: Cents
    expected_clicks: Cents


class AdInsight(BaseModel):
    """A daily advertising budget split over terms."""

    budget_split: list[BudgetShare] = Field(max_length=20)
    notes: str


class Alert(BaseModel):
    """One thing that may go wrong, and what shows it."""

    term: Said
    issue: Said
    severity: Literal["low", "medium", "high"]
    evidence: str
    action: str


class RiskReport(BaseModel):
    """What may go wrong in the niche."""

    alerts: list[Alert] = Field(max_length=20)


Insight = MarketBrief | Radar | AdInsight | RiskReport
SHAPES: dict[InsightType, type[Insight]] = {
    "market_brief": MarketBrief,
    "radar": Radar,
    "ad_insight": AdInsight,
    "risk": RiskReport,
}


class InsightAnswer(BaseModel):
    """An insight with its record.

    Attributes:
        request_id: what feedback refers to.
        replayed: a stored answer was used; nothing was paid now.
        cost_usd: of this use, 0 for a replay; None when unknown.
        saved_usd: of a replay, what the answer has cost; None when unknown or not a replay.
        latency_ms: how long the model took, also where that was earlier.
        unknown_terms: terms the model names that the context does not have.
    """

    insight: Insight
    request_id: UUID
    model: str
    replayed: bool
    cost_usd: Decimal | None
    saved_usd: Decimal | None
    latency_ms: int
    unknown_terms: list[str]


class InsightReport(BaseModel):
    """What became of one order for an insight.

    Attributes:
        reliable: False when the context was too thin to ask a model; `message` says why, and `answer` is None.
        daily_cap_usd: limit on what the project may spend a day; None when none is set.
    """

    run_id: UUID
    status: str = "completed"
    insight_type: InsightType
    market: str
    reliable: bool
    message: str | None = None
    answer: InsightAnswer | None = None
    daily_cap_usd: Decimal | None
