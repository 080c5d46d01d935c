"""Which round stands, and what a report says was read."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.analysis import Coverage, Reading, Review, Round, Rubric
from schemas.bills import Span
from schemas.identifiers import new_id
from tasks.analysis.rounds import best_round
from tests.tasks.analysis.small_bills import analysis_with


def round_of(number: int, *, passed: bool, quality: float) -> Round:
    review = Review(
        passed=passed,
        critique="",
        missing_impacts=[],
        factual_errors=[],
        rubric=Rubric(accuracy=3, completeness=3, evidence=3, clarity=3),
        reviewer_passed=passed,
        overruled_because=[],
        readings=[],
    )
    return Round(number=number, analysis=analysis_with([True]), review=review, quality_score=quality)


@pytest.mark.parametrize(
    ("rounds", "best"),
    [
        ([(False, 0.9), (True, 0.5)], 2),
        ([(False, 0.4), (False, 0.6), (False, 0.5)], 2),
        ([(False, 0.6), (False, 0.6)], 1),
        ([(True, 0.2)], 1),
    ],
    ids=["passed before better", "better before worse", "earlier of equals", "the only one"],
)
def test_the_round_that_stands(rounds: list[tuple[bool, float]], best: int) -> None:
    made = [round_of(number, passed=passed, quality=quality) for number, (passed, quality) in enumerate(rounds, 1)]
    assert {best_round(order).number for order in permutations(made)} == {best}


def reading(step: str, *spans: tuple[int, int]) -> Reading:
    return Reading(request_id=new_id(), step=step, spans=[Span(start=start, end=end) for start, end in spans])


def test_a_bill_is_covered_when_its_drafts_rest_on_all_of_it() -> None:
    readings = [reading("generate", (40, 100)), reading("generate", (0, 25), (20, 40)), reading("review", (0, 10))]
    assert Coverage.of(readings, 100).complete
    assert Coverage.of(readings, 100).readings == readings
    assert not Coverage.of(readings, 101).complete
    assert not Coverage.of(readings[1:], 100).complete


def test_what_only_others_read_is_not_covered() -> None:
    gap = [reading("generate", (0, 10)), reading("generate", (11, 20)), reading("research", (0, 20))]
    assert not Coverage.of(gap, 20).complete
