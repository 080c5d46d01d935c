"""How long a provider asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from blocks.providers.waiting import duration_seconds, retry_after

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("2h", 7200.0),
        ("1d2h3m4s5ms", 93784.005),
        ("3m", 180.0),
    ],
)
def test_durations_are_read_in_the_units_openai_writes(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "-1s", "1s 2m", "s", "1e3s", "inf"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert duration_seconds(text) is None


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_written_duration_reads_back(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    expected = timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
    read = duration_seconds(f"{hours}h{minutes}m{seconds}s{milliseconds}ms")
    assert read == pytest.approx(expected.total_seconds())


def test_a_date_is_the_time_until_then_and_never_negative() -> None:
    later, earlier = NOW + timedelta(seconds=90), NOW - timedelta(seconds=90)
    assert retry_after({"retry-after": format_datetime(later, usegmt=True)}, NOW) == 90.0
    assert retry_after({"retry-after": format_datetime(earlier, usegmt=True)}, NOW) == 0.0
    assert retry_after({"retry-after": "Sat, 31 Jan 2026 12:00:10 -0000"}, NOW) == 10.0


def test_the_limit_that_is_used_up_decides_the_wait() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": "8h0m0s",
        "x-ratelimit-reset-tokens": "6s",
    }
    assert retry_after(headers) == 6.0
    assert retry_after({**headers, "x-ratelimit-remaining-tokens": "5"}) == 28800.0
    assert retry_after({**headers, "Retry-After": "2"}) == 6.0
    assert retry_after(CIMultiDict({**headers, "Retry-After": "2"})) == 2.0


@given(st.text(max_size=40))
def test_any_header_gives_a_wait_that_can_be_waited_or_none(value: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"):
        seconds = retry_after({name: value}, NOW)
        assert seconds is None or 0 <= seconds < float("inf")
