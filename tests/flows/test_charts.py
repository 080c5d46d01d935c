"""Charts of characters."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from flows.charts import EIGHTHS, bars

MARCH = date(2026, 3, 1)


def days(*amounts: str | None, first: date = MARCH) -> list[tuple[date, Decimal | None]]:
    """Amounts of successive days."""
    return [
        (first + timedelta(days=number), None if amount is None else Decimal(amount))
        for number, amount in enumerate(amounts)
    ]


def test_bars_are_as_high_as_their_amounts_to_an_eighth_of_a_line() -> None:
    # 4 is two lines; 2 one; 3 one and a half; 0.25 an eighth of a line; a thousandth is seen all the same.
    assert bars(days("4", "2", "0", "3", "0.25", "0.001"), width=20, height=2) == [
        "█     ▄",
        "█ █   █ ▁ ▁",
        "1       5",
    ]


def test_an_amount_that_is_not_known_is_a_question_mark_and_not_nothing() -> None:
    assert bars(days("1", None, "0"), width=6, height=2) == ["█", "█ ?", "1"]
    assert bars(days(None), width=6, height=2) == ["", "?", "1"]


def test_more_days_than_columns_are_added_up() -> None:
    # Four days in two columns: 1 + 1 and 4 + nothing known.
    assert bars(days("1", "1", "4", None), width=2, height=2)[:2] == [" █", "██"]
    assert bars(days("1", None, None, None), width=2, height=1)[0] == "█?"


def test_under_several_months_are_the_first_and_the_last_day() -> None:
    chart = bars(days(*["1"] * 40), width=40, height=1)
    assert chart == ["█" * 40, "2026-03-01" + " " * 20 + "2026-04-09"]


def test_a_month_has_its_fifth_days_under_it() -> None:
    assert bars(days(*["1"] * 31), width=70, height=1)[1] == (
        "1       5         10        15        20        25        30"
    )


@given(
    st.lists(st.none() | st.decimals(0, 10**6, places=4), min_size=1, max_size=400),
    st.integers(1, 100),
    st.integers(1, 8),
)
def test_a_chart_is_never_wider_or_higher_than_it_may_be(
    amounts: list[Decimal | None], width: int, height: int
) -> None:
    chart = bars([(MARCH + timedelta(days=n), amount) for n, amount in enumerate(amounts)], width=width, height=height)
    assert len(chart) == height + 1
    assert all(len(line) <= width and set(line) <= {*EIGHTHS, "?"} for line in chart[:-1])
    if any(amounts):
        assert "█" in "".join(chart[:-1]) or len(amounts) > width
