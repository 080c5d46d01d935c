"""Steps 3 to 6 over all groups of a bill: draft, check, review, and refine what did not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.analysis import AnalysisModels, BillAnalysis, Draft, Reading, Research, Review, Round
from schemas.bills import SectionPart
from tasks.analysis.checking import check_evidence, number_impacts
from tasks.analysis.generation import generate_draft, merge_summaries, refine_draft
from tasks.analysis.quality import quality_score
from tasks.analysis.reading import BillText
from tasks.analysis.reviewing import join_reviews, review_analysis
from tasks.ledger.fan_out import for_each

GROUPS_AT_ONCE = 8


@dataclass
class GroupState:
    """One group of sections and how far its analysis is."""

    parts: list[SectionPart]
    analysis: BillAnalysis | None = None
    review: Review | None = None


@dataclass
class Analyst:
    """Works a bill through its rounds; every model call is inside a recorded step."""

    bill: BillText
    models: AnalysisModels
    research: Research
    groups: list[GroupState]
    readings: list[Reading] = field(default_factory=list)

    async def work(self, max_rounds: int) -> list[Round]:
        """Rounds until one passes, at most `max_rounds` refinements after the first."""
        await for_each(self.groups, self._generate, at_once=GROUPS_AT_ONCE)
        rounds = [await self._conclude(1)]
        while not rounds[-1].review.passed and len(rounds) <= max_rounds:
            open_groups = [group for group in self.groups if group.review and not group.review.passed]
            await for_each(open_groups, self._refine, at_once=GROUPS_AT_ONCE)
            rounds.append(await self._conclude(len(rounds) + 1))
        return rounds

    async def _generate(self, group: GroupState) -> None:
        draft = await generate_draft(self.bill.ref, group.parts, self.research, self.models.generate)
        await self._judge(group, draft)

    async def _refine(self, group: GroupState) -> None:
        if group.analysis is None or group.review is None:
            raise AssertionError("a group is refined after it was reviewed")
        draft = await refine_draft(self.bill.ref, group.parts, group.analysis, group.review, self.models.generate)
        await self._judge(group, draft)

    async def _judge(self, group: GroupState, draft: Draft) -> None:
        """Check the draft's evidence, then have it reviewed."""
        group.analysis = await check_evidence(self.bill.ref, draft.analysis, self.research)
        group.review = await review_analysis(self.bill.ref, group.parts, group.analysis, self.models.review)
        self.readings += [*draft.readings, *group.review.readings]

    async def _conclude(self, number: int) -> Round:
        """The groups' analyses and reviews as one round over the whole bill."""
        analyses = number_impacts([group.analysis for group in self.groups if group.analysis])
        reviews = [group.review for group in self.groups if group.review]
        summaries = [analysis.summary for analysis in analyses]
        summary = summaries[0]
        if len(summaries) > 1:
            summary = (await merge_summaries(self.bill.ref, summaries, self.models.generate)).summary
        analysis = BillAnalysis(summary=summary, impacts=[impact for part in analyses for impact in part.impacts])
        review = join_reviews(reviews, analyses)
        words = [len(section.span.of(self.bill.text).split()) for section in self.bill.sections]
        score = quality_score(analysis, review.rubric, words)
        return Round(number=number, analysis=analysis, review=review, quality_score=score)


def best_round(rounds: Sequence[Round]) -> Round:
    """The round that stands: one that passed before one that did not, then by quality, then the earliest."""
    return max(rounds, key=lambda item: (item.review.passed, item.quality_score, -item.number))
