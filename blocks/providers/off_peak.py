"""Hours of the day in which a provider charges less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Window:
    """From `start` to before `end`, UTC; past midnight where `end` is not later than `start`.

    Attributes:
        weekdays: ISO weekdays (Monday is 1) on which it holds.
        calendar: time zone whose calendar names the weekday.
    """

    start: time
    end: time
    weekdays: frozenset[int]
    calendar: str

    def holds_at(self, moment: datetime) -> bool:
        """True when `moment` (time zone aware) lies in the window."""
        if moment.astimezone(ZoneInfo(self.calendar)).isoweekday() not in self.weekdays:
            return False
        clock = moment.astimezone(UTC).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


def windows_of(block: Mapping[str, Any]) -> tuple[Window, ...]:
    """The windows of an `off_peak_pricing` block of LiteLLM's price table."""
    calendar = str(block.get("weekday_timezone") or "UTC")
    rules = [{"hours_utc": block.get("hours_utc")}, *block.get("windows", ())]
    return tuple(
        _window(hours, rule.get("weekdays"), calendar) for rule in rules for hours in _as_list(rule.get("hours_utc"))
    )


def _as_list(hours: Any) -> list[str]:
    if hours is None:
        return []
    return [hours] if isinstance(hours, str) else list(hours)


def _window(hours: str, weekdays: Any, calendar: str) -> Window:
    start, end = (time.fromisoformat(part.strip()) for part in hours.split("-"))
    return Window(start, end, frozenset(weekdays or range(1, 8)), calendar)
