"""Step 5: a reviewer audits a checked draft; its verdict is overruled where the evidence does not bear it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.analysis import BillAnalysis, BillRef, DraftReview, Review, Rubric
from schemas.bills import SectionPart
from tasks.analysis.drafting import PROMPTS, ask_about, readings_of
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
    overruled = reasons_not_to_pass(len(answer.value.factual_errors), analysis)
    return Review(
        passed=answer.value.passed and not overruled,
        reviewer_passed=answer.value.passed,
        overruled_because=overruled,
        readings=readings_of(answer, "review", group),
        **answer.value.model_dump(exclude={"passed", "rubric"}),
        rubric=answer.value.rubric,
    )


def reasons_not_to_pass(errors: int, analysis: BillAnalysis) -> list[str]:
    """Why the analysis cannot pass whatever the reviewer says; empty when nothing stands in the way.

    Args:
        errors: how many factual errors the reviewer lists.
    """
    reasons = []
    if errors:
        reasons.append(f"the reviewer lists {errors} factual error{'s' if errors > 1 else ''}")
    if not any(impact.supported for impact in analysis.impacts):
        reasons.append("no impact has located evidence")
    for impact in analysis.impacts:
        if not impact.supported:
            reasons.append(f"impact {impact.number} has no located evidence")
        elif not all(item.located for item in impact.evidence):
            reasons.append(f"evidence of impact {impact.number} is not located")
    return reasons


def join_reviews(reviews: Sequence[Review], parts: Sequence[BillAnalysis]) -> Review:
    """One verdict over all parts of a bill: it passes only if every part does.

    Args:
        reviews: one of each part, in order; a reviewer counts the impacts of a part from 1.
        parts: what each of them is about, with the numbers that the impacts have in the whole.
    """
    if len(reviews) == 1:
        return reviews[0]
    places = [_place(number, part) for number, part in enumerate(parts, 1)]
    scores = [review.rubric for review in reviews]
    mean = {name: round(sum(getattr(item, name) for item in scores) / len(scores)) for name in Rubric.model_fields}
    return Review(
        passed=all(review.passed for review in reviews),
        critique="\n".join(_placed(places, ([review.critique] for review in reviews))),
        missing_impacts=_placed(places, (review.missing_impacts for review in reviews)),
        factual_errors=_placed(places, (review.factual_errors for review in reviews)),
        rubric=Rubric(**mean),
        reviewer_passed=all(review.reviewer_passed for review in reviews),
        overruled_because=_overruled(reviews, parts),
        readings=[item for review in reviews for item in review.readings],
    )


def _overruled(reviews: Sequence[Review], parts: Sequence[BillAnalysis]) -> list[str]:
    where: dict[str, list[int]] = {}
    for number, (review, part) in enumerate(zip(reviews, parts, strict=True), 1):
        for reason in reasons_not_to_pass(len(review.factual_errors), part):
            where.setdefault(reason, []).append(number)
    return [f"in part{'s' * (len(found) > 1)} {_listed(found)} {reason}" for reason, found in where.items()]


def _place(number: int, part: BillAnalysis) -> str:
    """A part as it is called in what was said of it: the reviewer's impact 1 is the first one named here."""
    if not part.impacts:
        return f"Part {number}"
    return f"Part {number} (impacts {part.impacts[0].number} to {part.impacts[-1].number}, counted from 1)"


def _placed(places: Sequence[str], said: Iterable[Sequence[str]]) -> list[str]:
    """What was said, each with its part; what was said of several parts alike is said once."""
    parts: dict[str, list[int]] = {}
    for number, items in enumerate(said, 1):
        for item in filter(None, items):
            parts.setdefault(item, []).append(number)
    return [
        f"{places[numbers[0] - 1] if len(numbers) == 1 else f'Parts {_listed(numbers)}'}: {item}"
        for item, numbers in parts.items()
    ]


def _listed(numbers: Sequence[int]) -> str:
    """Ascending numbers for people: 1–3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
