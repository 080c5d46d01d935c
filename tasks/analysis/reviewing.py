"""Step 5: a reviewer audits a checked draft; its verdict is overruled where the evidence does not bear it out."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.analysis import BillAnalysis, BillRef, DraftReview, Review, Rubric
from schemas.bills import SectionPart
from tasks.analysis.drafting import PROMPTS, ask_about
from tasks.analysis.reading import load_bill
from tasks.ledger.prompts import Prompt
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

REVIEW = Prompt(PROMPTS / "review.md")


@step("review", version="1", prompt=REVIEW)
async def review_analysis(bill: BillRef, group: list[SectionPart], analysis: BillAnalysis, model: str) -> Review:
    """The verdict on the analysis of one group of sections."""
    async with open_ledger() as ledger:
        loaded = await load_bill(ledger.engine, bill.id)
        task = REVIEW.render(summary=analysis.summary, impacts=analysis.impacts)
        answer = await ask_about(loaded, group, task, DraftReview, model)
    overruled = reasons_not_to_pass(answer.value, analysis)
    return Review(
        passed=answer.value.passed and not overruled,
        reviewer_passed=answer.value.passed,
        overruled_because=overruled,
        request_ids=[item.request_id for item in answer.rounds],
        **answer.value.model_dump(exclude={"passed", "rubric"}),
        rubric=answer.value.rubric,
    )


def reasons_not_to_pass(draft: DraftReview, analysis: BillAnalysis) -> list[str]:
    """Why the analysis cannot pass whatever the reviewer says; empty when nothing stands in the way."""
    reasons = []
    if draft.factual_errors:
        count = len(draft.factual_errors)
        reasons.append(f"the reviewer lists {count} factual error{'s' if count > 1 else ''}")
    if not any(impact.supported for impact in analysis.impacts):
        reasons.append("no impact has located evidence")
    for impact in analysis.impacts:
        if not impact.supported:
            reasons.append(f"impact {impact.number} has no located evidence")
        elif not all(item.located for item in impact.evidence):
            reasons.append(f"evidence of impact {impact.number} is not located")
    return reasons


def join_reviews(reviews: Sequence[Review]) -> Review:
    """One verdict over all parts of a bill: it passes only if every part does."""
    if len(reviews) == 1:
        return reviews[0]
    scores = [review.rubric for review in reviews]
    mean = {name: round(sum(getattr(item, name) for item in scores) / len(scores)) for name in Rubric.model_fields}
    return Review(
        passed=all(review.passed for review in reviews),
        critique="\n".join(dict.fromkeys(review.critique for review in reviews if review.critique)),
        missing_impacts=[item for review in reviews for item in review.missing_impacts],
        factual_errors=[item for review in reviews for item in review.factual_errors],
        rubric=Rubric(**mean),
        reviewer_passed=all(review.reviewer_passed for review in reviews),
        overruled_because=list(dict.fromkeys(item for review in reviews for item in review.overruled_because)),
        request_ids=[item for review in reviews for item in review.request_ids],
    )
