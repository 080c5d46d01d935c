"""How long a provider asks to wait, read from the headers of its answer.

`Retry-After` is RFC 9110, section 10.2.3 (seconds or an HTTP date); `retry-after-ms` and
`x-ratelimit-*` are OpenAI's (https://platform.openai.com/docs/guides/rate-limits).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
LIMITS = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds the provider asks to wait, never negative; None when it does not say.

    The most exact header wins: `retry-after-ms`, `Retry-After`, then the reset of the limit that is
    used up.

    Args:
        headers: looked up as they are; give a case-insensitive mapping.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked is not None:
        seconds = _number(asked)
        return _until(asked, now or datetime.now(UTC)) if seconds is None else seconds
    return _reset(headers)


def duration_seconds(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `1.5s`, `20ms` or `2h`; None for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)


def _reset(headers: Mapping[str, str]) -> float | None:
    resets = {limit: duration_seconds(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in LIMITS}
    spent = [limit for limit in LIMITS if headers.get(f"x-ratelimit-remaining-{limit}", "").strip() == "0"]
    known = [seconds for limit, seconds in resets.items() if seconds is not None and limit in (spent or LIMITS)]
    return max(known, default=None)


def _until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def _number(text: str | None) -> float | None:
    """`text` as a number of seconds or milliseconds: finite, not negative."""
    if text is None or not re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII):
        return None
    return float(text)
