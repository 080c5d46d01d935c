"""Calls in flight: halved on a refusal, raised one by one by answers."""

from __future__ import annotations

from tasks.ledger.adaptive import AdaptiveLimit


def test_it_begins_at_the_ceiling_and_never_passes_it() -> None:
    limit = AdaptiveLimit(8)
    assert limit.allowed == 8
    for _ in range(100):
        limit.note_answer()
    assert limit.allowed == 8


def test_a_refusal_halves_it_down_to_one() -> None:
    limit = AdaptiveLimit(9)
    found = []
    for moment in range(5):
        limit.note_refusal(begun_at=moment, now=moment)
        found.append(limit.allowed)
    assert found == [4, 2, 1, 1, 1]


def test_calls_that_were_in_flight_together_are_cut_for_once() -> None:
    limit = AdaptiveLimit(64)
    for begun_at in (1.0, 1.5, 2.0):
        limit.note_refusal(begun_at, now=3.0)
    assert limit.allowed == 32
    limit.note_refusal(begun_at=3.0, now=4.0)
    assert limit.allowed == 16


def test_a_round_of_answers_makes_it_one_more() -> None:
    limit = AdaptiveLimit(8)
    limit.note_refusal(0.0, 0.0)
    assert limit.allowed == 4
    answers = 0
    while limit.allowed < 5:
        limit.note_answer()
        answers += 1
    # 4 → 4.25 → 4.485 → 4.708 → 4.920 → 5.124
    assert answers == 5
    while limit.allowed < 8:
        limit.note_answer()
        answers += 1
    assert answers < 5 + 6 + 7 + 8 + 1
