"""Charts of characters, for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

EIGHTHS = " ▁▂▃▄▅▆▇█"
UNKNOWN = "?"
LABELLED_DAYS = (1, 5, 10, 15, 20, 25, 30)

Amounts = Sequence[tuple[date, Decimal | None]]


def bars(amounts: Amounts, *, width: int, height: int = 6) -> list[str]:
    """Upright bars, one for each day, with the days under them; the tallest is `height` lines high.

    Where there are more days than columns, a bar is the sum of several. An amount above 0 is seen, however small;
    one that is not known is a question mark.

    Args:
        width: columns there are.

    Returns:
        `height` lines of bars and one of days; no line has spaces at its end.
    """
    columns = _columns(amounts, width)
    step = 2 if 2 * len(columns) <= width else 1
    top = max((amount for _, amount in columns if amount is not None), default=Decimal(0))
    heights = [_eighths(amount, top, height) for _, amount in columns]
    lines = ["".join(_cell(eighths, level).ljust(step) for eighths in heights) for level in reversed(range(height))]
    return [line.rstrip() for line in (*lines, _days(amounts, columns, step))]


def _columns(amounts: Amounts, width: int) -> Amounts:
    """As few days to a bar as fit; the sum of days is unknown where it is of all of them."""
    each = -(-len(amounts) // max(width, 1))
    found = []
    for start in range(0, len(amounts), max(each, 1)):
        together = amounts[start : start + each]
        known = [amount for _, amount in together if amount is not None]
        found.append((together[0][0], sum(known, Decimal(0)) if known else None))
    return found


def _eighths(amount: Decimal | None, top: Decimal, height: int) -> int | None:
    """The height of a bar in eighths of a line."""
    if amount is None:
        return None
    return max(1, round(amount / top * height * 8)) if amount > 0 else 0


def _cell(eighths: int | None, level: int) -> str:
    """What a bar shows on the line that is `level` lines above the ground."""
    if eighths is None:
        return UNKNOWN if level == 0 else " "
    return EIGHTHS[min(max(eighths - 8 * level, 0), 8)]


def _days(amounts: Amounts, columns: Amounts, step: int) -> str:
    """Days of the month under the bars of one month, else the first and the last day at the ends."""
    length = step * len(columns)
    first, last = amounts[0][0], amounts[-1][0]
    if step == 1 or (first.year, first.month) != (last.year, last.month):
        ends = f"{first:%F}", f"{last:%F}"
        return ends[0] + ends[1].rjust(length - len(ends[0]) if length >= 21 else 11)
    return "".join((str(day.day) if day.day in LABELLED_DAYS else "").ljust(step) for day, _ in columns)
