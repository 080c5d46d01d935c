"""Identifiers are ordered by time, those that are derived as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identifiers import derived_id, new_id

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is added


@given(MOMENTS, st.lists(st.text(), min_size=1))
def test_a_derived_identifier_is_of_version_7_and_has_its_millisecond(moment: datetime, names: list[str]) -> None:
    made = derived_id(moment, *names)
    assert made == derived_id(moment, *names)
    assert (made.version, made.variant) == (7, new_id().variant)
    assert made.int >> 80 == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(MOMENTS, MOMENTS)
def test_derived_identifiers_are_ordered_as_their_times(one: datetime, other: datetime) -> None:
    early, late = sorted([one, other])
    if late - early >= timedelta(milliseconds=1):
        assert derived_id(early, "a") < derived_id(late, "b")


def test_names_and_not_their_zone_tell_derived_identifiers_apart() -> None:
    noon = datetime(2025, 9, 8, 12, tzinfo=UTC)
    assert derived_id(noon, "a", "b") != derived_id(noon, "ab")
    assert derived_id(noon, "a") == derived_id(noon.replace(tzinfo=None), "a")
    assert derived_id(noon, "a") == derived_id(noon.astimezone(timezone(timedelta(hours=2))), "a")


@pytest.mark.parametrize("year", [1, 1969])
def test_what_is_older_than_1970_counts_as_1970(year: int) -> None:
    assert derived_id(datetime(year, 1, 1, tzinfo=UTC), "a").int >> 80 == 0
