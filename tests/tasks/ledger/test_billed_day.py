"""A day of traffic to a Bedrock model is billed to the cent, wherever the bill is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from schemas.calls import ChatCall, ProviderReply, Usage
from schemas.errors import ContentRefused
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.costs import read_costs
from tasks.ledger.limits import list_budgets, set_budgets
from tasks.ledger.rebuild import rebuild_usage
from tasks.ledger.session import open_ledger
from tests.conftest import Environment
from tests.tasks.ledger.conftest import Look

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
# AWS's price list: 0.25 USD for a million tokens of input, 1.25 USD for a million of output.
INPUT_USD, OUTPUT_USD = Decimal("0.25") / 1_000_000, Decimal("1.25") / 1_000_000
CALLS, REFUSED, REPEATED = 400, 7, 60


def tokens_of(number: int) -> tuple[int, int]:
    """Input and output tokens of call `number`: odd numbers, long and short, as a day brings them."""
    return 180 + number * 7919 % 40_000, 1 + number * 104_729 % 3_000


@pytest.fixture
def midday() -> str:
    """A time zone in which it is about noon, so that the test's calls are of one day and month."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"  # in POSIX's manner: west of Greenwich is positive


class Bedrock:
    """Answers with the usage of the call's number; refuses some calls, unbilled."""

    def __init__(self) -> None:
        self.asked: Iterator[int] = count()
        self.paid: dict[int, tuple[int, int]] = {}

    async def chat(self, call: ChatCall, **_: Any) -> ProviderReply:
        """Stands in for the registry's way to AWS."""
        next(self.asked)
        number = int(call.messages[0].content.split()[1])
        await asyncio.sleep(0)
        if number < REFUSED:
            raise ContentRefused("the answer was withheld")
        self.paid[number] = tokens_of(number)
        usage = Usage(input_tokens=self.paid[number][0], output_tokens=self.paid[number][1])
        return ProviderReply(text="yes", model=MODEL, usage=usage, request_bytes=b"{}", response_bytes=b"{}")


async def ask(number: int) -> None:
    """A call of its own."""
    await complete(
        f"Question {number} {'of many words ' * 10}", model=MODEL, user=f"user {number % 9}", purpose="tutor"
    )


async def test_a_day_of_bedrock_traffic_is_billed_to_the_cent(
    environment: Environment, settings: Settings, database: Engine, look: Look, midday: str
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE=midday, HEADRACE_USER_REQUESTS_PER_MINUTE=0)  # a day, without its pauses
    bedrock = Bedrock()
    async with open_ledger() as ledger:
        ledger.providers.chat = bedrock.chat  # type: ignore[method-assign, assignment]
        await set_budgets(day="1000", month="1000")
        outcomes = await asyncio.gather(*(ask(number) for number in range(CALLS)), return_exceptions=True)
        await asyncio.gather(*(ask(number) for number in range(CALLS - REPEATED, CALLS)))
        report = await read_costs()
        states = await list_budgets()
        rebuilt = await rebuild_usage()

    assert [type(item) for item in outcomes[:REFUSED]] == [ContentRefused] * REFUSED
    assert outcomes[REFUSED:] == [None] * (CALLS - REFUSED)
    assert next(bedrock.asked) == CALLS  # nothing was asked twice
    answered = [tokens_of(number) for number in range(REFUSED, CALLS)]
    billed = sum(came * INPUT_USD + went * OUTPUT_USD for came, went in answered)
    assert billed.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal("2.71")

    assert look("SELECT status, count(*), sum(cost_usd) FROM llm_requests GROUP BY 1 ORDER BY 1") == [
        ("failed", REFUSED, 0),
        ("replayed", REPEATED, 0),
        ("succeeded", CALLS - REFUSED, billed),
    ]
    assert [(state.spent_usd, state.reserved_usd) for state in states] == [(billed, 0)] * 2
    assert rebuilt.differences == ()
    today = datetime.now(ZoneInfo(midday)).date()
    with database.begin() as connection:
        connection.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": midday})
        daily = connection.execute(text("SELECT total_cost FROM get_daily_cost(:day)"), {"day": today})
        assert daily.scalar_one() == billed
        monthly = text("SELECT total_cost FROM get_monthly_cost(:year, :month)")
        assert connection.execute(monthly, {"year": today.year, "month": today.month}).scalar_one() == billed
    assert report.today.spent_usd == report.month.spent_usd == report.total.spent_usd == billed
    saved = sum(came * INPUT_USD + went * OUTPUT_USD for came, went in map(tokens_of, range(CALLS - REPEATED, CALLS)))
    assert (report.total.replays, report.total.saved_usd) == (REPEATED, saved)
    assert (report.total.failed_calls, report.total.unpriced_calls) == (REFUSED, 0)
    by = {group.by: group.lines for group in report.groups}
    assert [(line.key, line.spent_usd) for line in by["model"]] == [(MODEL, billed)]
    assert sum(line.spent_usd or 0 for line in by["user"]) == billed
