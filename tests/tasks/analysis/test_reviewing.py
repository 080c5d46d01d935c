"""What a reviewer says, and where it is overruled."""

from __future__ import annotations

from schemas.analysis import BillAnalysis, Reading, Review, Rubric
from schemas.bills import Span
from schemas.identifiers import new_id
from tasks.analysis.checking import number_impacts
from tasks.analysis.reviewing import join_reviews, reasons_not_to_pass
from tests.tasks.analysis.small_bills import analysis_with


def test_located_evidence_without_errors_may_pass() -> None:
    assert reasons_not_to_pass(0, analysis_with([True], [True, True])) == []


def test_errors_stand_in_the_way() -> None:
    assert reasons_not_to_pass(1, analysis_with([True])) == ["the reviewer lists 1 factual error"]
    assert reasons_not_to_pass(3, analysis_with([True])) == ["the reviewer lists 3 factual errors"]


def test_every_impact_needs_evidence_and_every_piece_of_it_a_place() -> None:
    assert reasons_not_to_pass(0, analysis_with([True], [False], [True, False])) == [
        "impact 2 has no located evidence",
        "evidence of impact 3 is not located",
    ]


def test_an_analysis_without_impacts_cannot_pass() -> None:
    assert reasons_not_to_pass(0, BillAnalysis(summary="s", impacts=[])) == ["no impact has located evidence"]


def verdict(*, passed: bool, errors: tuple[str, ...] = (), missing: tuple[str, ...] = (), score: int = 4) -> Review:
    return Review(
        passed=passed,
        critique="Fine." if passed else "Wrong.",
        missing_impacts=list(missing),
        factual_errors=list(errors),
        rubric=Rubric(accuracy=score, completeness=score, evidence=score, clarity=score),
        reviewer_passed=True,
        overruled_because=[],
        readings=[Reading(request_id=new_id(), step="review", spans=[Span(start=0, end=1)])],
    )


def test_a_single_part_keeps_its_review_as_it_is() -> None:
    review = verdict(passed=True)
    assert join_reviews([review], [analysis_with([True])]) is review


def test_parts_pass_only_together_and_say_which_impacts_are_meant() -> None:
    second = verdict(passed=False, errors=("Impact 1 is wrong.",), missing=("Fees",), score=2)
    reviews = [verdict(passed=True, score=5), second]
    parts = number_impacts([analysis_with([True], [True]), analysis_with([True], [False])])
    joined = join_reviews(reviews, parts)
    assert (joined.passed, joined.reviewer_passed) == (False, True)
    assert joined.factual_errors == ["Part 2 (impacts 3 to 4, counted from 1): Impact 1 is wrong."]
    assert joined.missing_impacts == ["Part 2 (impacts 3 to 4, counted from 1): Fees"]
    assert joined.critique.splitlines() == [
        "Part 1 (impacts 1 to 2, counted from 1): Fine.",
        "Part 2 (impacts 3 to 4, counted from 1): Wrong.",
    ]
    assert joined.overruled_because == [
        "in part 2 the reviewer lists 1 factual error",
        "in part 2 impact 4 has no located evidence",
    ]
    assert joined.rubric == Rubric(accuracy=4, completeness=4, evidence=4, clarity=4)  # 3.5, to even
    assert joined.readings == [*reviews[0].readings, *reviews[1].readings]


def test_a_part_without_impacts_is_named_by_its_number() -> None:
    reviews = [verdict(passed=True), verdict(passed=False, missing=("All",))]
    joined = join_reviews(reviews, number_impacts([analysis_with([True]), analysis_with()]))
    assert joined.missing_impacts == ["Part 2: All"]
    assert joined.overruled_because == ["in part 2 no impact has located evidence"]
