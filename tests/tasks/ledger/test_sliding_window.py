"""In no 60 seconds is there more than the limit."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tasks.ledger.sliding_window import SlidingWindow


def take_now(window: SlidingWindow, amount: int, now: float) -> None:
    """A call of `amount` is made."""
    window.begin(window.take(amount), now)


def test_what_was_taken_comes_free_a_minute_after_it_was_taken() -> None:
    window = SlidingWindow(3)
    for moment in (0.0, 10.0, 20.0):
        assert window.seconds_until(1, moment) == 0
        take_now(window, 1, moment)
    assert window.seconds_until(1, 20.0) == 40.0
    assert window.seconds_until(2, 20.0) == 50.0
    assert window.seconds_until(1, 59.0) == 1.0
    assert window.seconds_until(1, 60.0) == 0
    assert window.seconds_until(2, 60.0) == 10.0


def test_a_call_about_to_be_made_counts_and_its_minute_begins_when_it_is_made() -> None:
    window = SlidingWindow(1)
    share = window.take(1)
    assert window.seconds_until(1, 500.0) == math.inf, "nobody knows when it will be made"
    window.begin(share, 500.0)
    assert window.seconds_until(1, 500.0) == 60.0


def test_what_a_call_took_is_corrected_up_down_and_to_nothing() -> None:
    window = SlidingWindow(100)
    share = window.take(90)
    window.begin(share, 0.0)
    assert window.seconds_until(20, 0.0) == 60.0
    window.correct(share, 10)
    assert window.seconds_until(90, 0.0) == 0
    window.correct(share, 95)
    assert window.seconds_until(6, 0.0) == 60.0
    withdrawn = window.take(5)
    window.correct(withdrawn, 0)
    assert window.seconds_until(5, 0.0) == 0


def test_a_correction_after_its_minute_changes_nothing() -> None:
    window = SlidingWindow(10)
    share = window.take(10)
    window.begin(share, 0.0)
    assert window.seconds_until(10, 60.0) == 0
    window.correct(share, 3)
    take_now(window, 10, 60.0)
    assert window.seconds_until(1, 60.0) == 60.0


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    window = SlidingWindow(100)
    take_now(window, 1, 0.0)
    assert window.seconds_until(5000, 1.0) == 59.0
    take_now(window, 5000, 60.0)
    assert window.seconds_until(1, 60.0) == 60.0
    assert window.seconds_until(0, 61.0) == 59.0, "every call is counted as something"


def test_those_ahead_go_first() -> None:
    window = SlidingWindow(2)
    take_now(window, 1, 0.0)
    take_now(window, 1, 30.0)
    assert [window.seconds_until(1, 30.0, ahead=ahead) for ahead in range(4)] == [30.0, 60.0, 90.0, 120.0]


# Eighths of a second, of which sums and differences are exact.
GAPS = st.integers(0, 240).map(lambda eighths: eighths / 8)
CALLS = st.lists(st.tuples(GAPS, st.integers(1, 12)), max_size=60)


@given(limit=st.integers(1, 20), calls=CALLS)
def test_no_window_holds_more_than_the_limit_and_nobody_waits_longer_than_needed(
    limit: int, calls: list[tuple[float, int]]
) -> None:
    window, now, made = SlidingWindow(limit), 0.0, list[tuple[float, int]]()
    for gap, amount in calls:
        now += gap
        amount = min(amount, limit)

        def used(at: float) -> int:
            return sum(taken for moment, taken in made if moment + 60.0 > at)

        seconds = window.seconds_until(amount, now)
        if seconds > 0:
            assert used(now) + amount > limit, "it waits for a reason"
            now += seconds
        assert used(now) + amount <= limit
        assert window.seconds_until(amount, now) == 0
        take_now(window, amount, now)
        made.append((now, amount))
