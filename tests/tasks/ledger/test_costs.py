"""What calls cost: in which day, by what, and what is not known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from schemas.errors import BadInput
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.costs import CostLine, CostReport, Dimension, _lines_by, _Selection, read_costs
from tasks.ledger.limits import set_budgets
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.cost_rows import call, id_at, store

Clock = Callable[[datetime], None]
MODEL = "gpt-4o-mini"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time that reports go by."""

    def set_to(moment: datetime) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return moment

        monkeypatch.setattr("tasks.ledger.costs.datetime", Stopped)

    return set_to


def lines(report: CostReport, by: Dimension) -> dict[str | None, CostLine]:
    """The lines of one group, by their key."""
    (group,) = [group for group in report.groups if group.by == by]
    return {line.key: line for line in group.lines}


def spent(report: CostReport, by: Dimension) -> dict[str | None, Decimal | None]:
    """What the lines of one group come to."""
    return {key: line.spent_usd for key, line in lines(report, by).items()}


# --- days ---


async def test_the_day_the_clocks_go_forward_has_23_hours(
    environment: Environment, settings: Settings, database: Engine, clock: Clock
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE="Europe/Berlin")
    clock(datetime(2026, 3, 31, 12, tzinfo=UTC))
    # Berlin: 29 March 2026 begins at 23:00 UTC of the 28th (+1 h) and ends at 22:00 UTC (+2 h).
    moments = {
        datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC): "1",
        datetime(2026, 3, 28, 23, 0, tzinfo=UTC): "2",
        datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC): "4",
        datetime(2026, 3, 29, 22, 0, tzinfo=UTC): "8",
    }
    store(database, [call(moment, cost) for moment, cost in moments.items()])
    report = await read_costs(by=("day",))
    assert spent(report, "day") == {"2026-03-28": 1, "2026-03-29": 6, "2026-03-30": 8}
    assert [day.spent_usd for day in report.days] == [0] * 27 + [1, 6, 8, 0]
    assert (await read_costs(since=date(2026, 3, 29), until=date(2026, 3, 29))).total.spent_usd == 6


async def test_the_day_the_clocks_go_back_has_25_hours(
    environment: Environment, settings: Settings, database: Engine, clock: Clock
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE="America/New_York")
    clock(datetime(2026, 11, 2, 12, tzinfo=UTC))
    # New York: 1 November 2026 begins at 04:00 UTC (-4 h) and ends at 05:00 UTC of the 2nd (-5 h).
    moments = {
        datetime(2026, 11, 1, 3, 59, 59, tzinfo=UTC): "1",
        datetime(2026, 11, 1, 4, 0, tzinfo=UTC): "2",
        datetime(2026, 11, 2, 4, 59, 59, tzinfo=UTC): "4",
        datetime(2026, 11, 2, 5, 0, tzinfo=UTC): "8",
    }
    store(database, [call(moment, cost) for moment, cost in moments.items()])
    report = await read_costs(by=("day",))
    assert spent(report, "day") == {"2026-11-01": 6, "2026-11-02": 8}
    assert (report.today.spent_usd, report.month.spent_usd) == (8, 14)


async def test_a_month_begins_at_its_own_midnight(
    environment: Environment, settings: Settings, database: Engine, clock: Clock
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE="Asia/Tokyo")
    clock(datetime(2026, 3, 31, 15, 30, tzinfo=UTC))  # 00:30 on 1 April in Tokyo
    before, after = datetime(2026, 3, 31, 14, 59, tzinfo=UTC), datetime(2026, 3, 31, 15, 0, tzinfo=UTC)
    store(database, [call(before, "1"), call(after, "2")])
    report = await read_costs()
    assert (report.since, report.until) == (date(2026, 4, 1), date(2026, 4, 1))
    assert (report.today.spent_usd, report.month.spent_usd, report.total.spent_usd) == (2, 2, 2)
    march = await read_costs(until=date(2026, 3, 31))
    assert (march.since, march.total.spent_usd, march.month.spent_usd) == (date(2026, 3, 1), 1, 2)


async def test_a_call_counts_when_its_row_was_written_however_long_it_had_waited_for_that(
    ledger: Ledger, database: Engine, clock: Clock
) -> None:
    clock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    waited = call(datetime(2026, 3, 2, 0, 0, tzinfo=UTC), "1")
    waited["id"] = str(id_at(datetime(2026, 3, 1, 3, 0, tzinfo=UTC)))
    store(database, [waited])
    report = await read_costs(since=date(2026, 3, 2))
    assert (report.total.spent_usd, report.today.spent_usd) == (1, 1)
    assert (await read_costs(until=date(2026, 3, 1))).total.spent_usd == 0


def test_other_months_are_not_read(database: Engine) -> None:
    today = datetime.now(UTC).date()
    parameters = _Selection(today, today, "UTC", None, None).parameters()
    with database.connect() as connection:
        plan = "\n".join(
            connection.execute(text(f"EXPLAIN {_lines_by(frozenset({'day'})).text}"), parameters).scalars()
        )
        partitions = "SELECT relname FROM pg_class WHERE relname ~ '^llm_requests_\\d+_\\d+$' ORDER BY 1"
        months = list(connection.execute(text(partitions)).scalars())
    read = [month for month in months if f"on {month} " in plan]
    assert len(months) == 4
    assert read in (months[:1], months[:2])  # this month, and on its last day the next one


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ({"since": date(2026, 3, 3)}, "--since 2026-03-03 is in the future; today is 2026-03-02"),
        ({"since": date(2026, 3, 2), "until": date(2026, 3, 1)}, "--since 2026-03-02 is after --until 2026-03-01"),
        ({"since": date(1969, 1, 1)}, "--since 1969-01-01 is before 2000-01-01, and no call is so old"),
    ],
)
async def test_days_that_cannot_be_are_bad_input(
    ledger: Ledger, clock: Clock, days: dict[str, date], says: str
) -> None:
    clock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    with pytest.raises(BadInput, match=says):
        await read_costs(**days)


async def test_a_report_ends_today_at_the_latest(ledger: Ledger, clock: Clock) -> None:
    clock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    report = await read_costs(until=date(2999, 1, 1))
    assert (report.since, report.until, len(report.days)) == (date(2026, 3, 1), date(2026, 3, 2), 2)


# --- what is and what is not known ---


NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def noon(clock: Clock) -> None:
    """It is noon on 2 March 2026."""
    clock(NOON)


@pytest.mark.usefixtures("noon")
async def test_calls_of_unknown_price_are_counted_and_their_cost_is_not_0(ledger: Ledger, database: Engine) -> None:
    store(
        database,
        [
            call(NOON, "1.5", model="priced", purpose="draft"),
            call(NOON, model="house", purpose="draft"),
            call(NOON, model="house", purpose="draft", status="unknown"),
        ],
    )
    report = await read_costs()
    assert spent(report, "model") == {"priced": Decimal("1.5"), "house": None}
    assert lines(report, "model")["house"].unpriced_calls == 2
    assert (report.total.spent_usd, report.total.unpriced_calls) == (Decimal("1.5"), 2)
    alone = await read_costs(since=NOON.date(), by=("step",))
    assert lines(alone, "step")["draft"].unpriced_calls == 2


@pytest.mark.usefixtures("noon")
async def test_a_day_of_unpriced_calls_alone_has_no_known_cost(ledger: Ledger, database: Engine) -> None:
    store(database, [call(NOON, model="house")])
    report = await read_costs()
    assert [(day.day.day, day.spent_usd) for day in report.days] == [(1, 0), (2, None)]
    assert (report.today.spent_usd, report.month.spent_usd) == (None, None)


@pytest.mark.usefixtures("noon")
async def test_a_call_of_unknown_outcome_or_usage_counts_at_its_worst(ledger: Ledger, database: Engine) -> None:
    store(
        database,
        [
            call(NOON, "1", reserved_usd="9"),
            call(NOON, status="unknown", reserved_usd="2"),
            call(NOON, status="succeeded", reserved_usd="4"),  # answered, and nothing to be believed of its usage
        ],
    )
    total = (await read_costs()).total
    assert (total.calls, total.spent_usd, total.at_worst_usd, total.unpriced_calls) == (3, 7, 6, 0)
    assert (total.unknown_calls, total.unknown_usd) == (1, 2)


@pytest.mark.usefixtures("noon")
async def test_failed_calls_in_flight_ones_and_replays_are_lines_of_their_own(ledger: Ledger, database: Engine) -> None:
    store(
        database,
        [
            call(NOON, "1"),
            call(NOON, "0", status="failed", reserved_usd="5", input_tokens=None, output_tokens=None),
            call(NOON, "0.25", status="failed", reserved_usd="5"),
            call(NOON, status="reserved", reserved_usd="3", input_tokens=None, output_tokens=None),
            call(NOON, "0", status="replayed", saved_usd="1"),
            call(NOON, "0", status="replayed", saved_usd="1"),
        ],
    )
    report = await read_costs(by=("outcome",))
    total = report.total
    assert (total.calls, total.spent_usd) == (4, Decimal("1.25"))
    assert (total.failed_calls, total.failed_usd) == (2, Decimal("0.25"))
    assert (total.open_calls, total.open_usd) == (1, 3)
    assert (total.replays, total.saved_usd) == (2, 2)
    assert (total.input_tokens, total.output_tokens) == (20, 10)
    assert spent(report, "outcome") == {"succeeded": 1, "failed": Decimal("0.25"), "reserved": 0, "replayed": 0}
    assert {line.key for line in report.outcomes} == {"succeeded", "failed", "reserved", "replayed"}


@pytest.mark.usefixtures("noon")
async def test_what_replays_of_unpriced_answers_saved_is_unknown(ledger: Ledger, database: Engine) -> None:
    store(database, [call(NOON, "0", status="replayed")])
    total = (await read_costs()).total
    assert (total.calls, total.spent_usd, total.replays, total.saved_usd) == (0, 0, 1, None)


@pytest.mark.usefixtures("noon")
async def test_costs_are_told_by_whatever_is_asked(ledger: Ledger, database: Engine) -> None:
    store(
        database,
        [
            call(NOON, "1", project="p", user_id="ada", purpose="draft", model="m", answered_model="m-1"),
            call(NOON, "2", project="p", purpose="review", model="m", provider="bedrock"),
            call(NOON, "4", project="q", user_id="ada", model="n"),
        ],
    )
    report = await read_costs(by=("model", "step", "project", "user", "provider"))
    assert spent(report, "model") == {"n": 4, "m": 2, "m-1": 1}
    assert spent(report, "step") == {"chat": 4, "review": 2, "draft": 1}
    assert spent(report, "project") == {"q": 4, "p": 3}
    assert spent(report, "user") == {"ada": 5, None: 2}
    assert spent(report, "provider") == {"openai": 5, "bedrock": 2}
    assert list(spent(report, "project")) == ["q", "p"]  # the most expensive first
    assert (await read_costs(project="p")).total.spent_usd == 3
    assert (await read_costs(user="ada")).month.spent_usd == 5
    assert (await read_costs(user="ada", project="p")).total.spent_usd == 1


async def test_without_calls_everything_is_0_and_nothing_unknown(ledger: Ledger) -> None:
    report = await read_costs()
    assert (report.total.spent_usd, report.total.calls, report.total.saved_usd) == (0, 0, 0)
    assert report.today == report.total
    assert [group.lines for group in report.groups] == [()] * 4


# --- beside the budgets ---


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.scripted(
    faults={1: "500", 2: "reset"},
    respond=lambda _: Reply("yes", usage={"prompt_tokens": 10, "completion_tokens": 100}),
)
async def test_a_cache_hit_is_not_spent_and_a_failure_does_not_vanish(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    await set_budgets(project="default", day="5")
    answer = await complete("Why?", model=MODEL, user="ada", purpose="generate")  # the third try
    hit = await complete("Why?", model=MODEL, user="ada", purpose="generate")
    assert (hit.replayed, provider.paid) == (True, 1)
    report = await read_costs()
    paid = 10 * Decimal("0.15e-6") + 100 * Decimal("0.60e-6")  # gpt-4o-mini by its price list
    assert answer.cost_usd == paid
    total = report.total
    assert (total.calls, total.failed_calls, total.unknown_calls) == (3, 1, 1)
    assert (total.replays, total.saved_usd) == (1, paid)
    assert total.spent_usd == paid + total.unknown_usd
    assert total.unknown_usd == total.at_worst_usd > 0
    spent_of = {(state.scope_kind, state.period): state for state in report.limits}
    assert spent_of["project", "day"].spent_usd == total.spent_usd
    assert (spent_of["project", "day"].limit_usd, spent_of["project", "month"].limit_usd) == (5, None)


async def test_limits_shown_are_those_that_bear_on_the_calls(settings: Settings, database: Engine) -> None:
    async with open_ledger(settings):
        await set_budgets(project="p", day="5")
        await set_budgets(user="ada", month="1")
        everything = await read_costs()
        of_ada = await read_costs(user="ada")
    assert {state.scope_id for state in everything.limits} == {"default", "p", "ada"}
    assert [(state.scope_id, state.period, state.limit_usd) for state in of_ada.limits] == [
        ("ada", "day", None),
        ("ada", "month", 1),
    ]
