"""Which of two answers to one prompt is taken for the better."""

from __future__ import annotations

from uuid import UUID

from schemas.choices import Opinion
from schemas.training import ExportOptions
from tasks.training.examples import Example
from tasks.training.pairs import pairs_of

PROMPT = [{"role": "user", "content": "Why?"}]


def example(number: int, given: str, opinion: Opinion = "none", score: float | None = None) -> Example:
    """An answer, with what is known of it."""
    return Example(UUID(int=number), PROMPT, given, given, opinion, score, 5, "m", False, PROMPT)


def pairs(*group: Example) -> list[tuple[str, ...]]:
    """The better and the worse answer of each pair."""
    return [row.answers for row in pairs_of(group, ExportOptions(format="trl-dpo"))]


def test_what_people_thought_comes_before_scores() -> None:
    assert pairs(example(1, "kind", "positive", 0.2), example(2, "curt", "negative", 0.9)) == [("kind", "curt")]


def test_no_pair_says_the_opposite_of_another() -> None:
    group = [example(1, "a", "positive"), example(2, "b", "negative"), example(3, "b", "positive")]
    assert pairs(*group, example(4, "a", "negative")) == [("a", "b")]


def test_a_difference_of_just_the_margin_is_enough() -> None:
    assert pairs(example(1, "better", score=0.5), example(2, "worse", score=0.4)) == [("better", "worse")]
    assert pairs(example(1, "better", score=0.5), example(2, "worse", score=0.41)) == []
