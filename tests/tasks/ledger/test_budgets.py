"""Budgets: what they hold, when a call waits and when it is refused, and in which period it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.providers import prices
from schemas.calls import ChatParameters
from schemas.errors import BadInput, BudgetExceeded, ConfigurationError
from schemas.settings import Settings
from tasks.ledger.budgets import ALL_TIME, Reservation, Usage, UsageKey, period_start, present, usage_keys
from tasks.ledger.calls import complete, estimate_cost
from tasks.ledger.limits import list_budgets, parse_amount, set_budgets
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
USED = {"prompt_tokens": 10, "completion_tokens": 100}
# gpt-4o-mini: 0.15 USD for a million tokens of input, 0.60 for a million of output.
CALL_USD = 10 * Decimal("0.15e-6") + 100 * Decimal("0.60e-6")
cheap = pytest.mark.scripted(respond=lambda _: Reply("yes", usage=USED))

USAGE = "SELECT period, reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = :kind ORDER BY period"


async def worst_case(prompt: str = "Question 0?") -> Decimal:
    """What the questions of these tests can cost at worst."""
    usd = (await estimate_cost(prompt, model=MODEL)).usd
    assert usd
    return usd


async def ask(number: int, **more: object) -> Decimal | None:
    """A question of its own; returns its cost."""
    return (await complete(f"Question {number}?", model=MODEL, **more)).cost_usd  # type: ignore[arg-type]


# --- what is refused ---


@cheap
async def test_a_call_beyond_the_budget_is_refused_before_the_provider_is_asked(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    limit = await worst_case() - Decimal("1e-10")
    await set_budgets(day=str(limit))
    with pytest.raises(BudgetExceeded, match="the day budget of project 'default' is") as refusal:
        await ask(0)
    assert refusal.value.details == {
        "scope_kind": "project",
        "scope_id": "default",
        "period": "day",
        "limit_usd": str(limit),
        "spent_usd": "0E-10",
    }
    assert provider.log == []
    assert look("SELECT FROM llm_requests") == []
    assert look("SELECT FROM answers") == []


@cheap
async def test_a_call_that_fits_to_the_last_digit_is_made(ledger: Ledger, provider: ScriptedProvider) -> None:
    await set_budgets(day=str(await worst_case()))
    assert await ask(0) == CALL_USD
    with pytest.raises(BudgetExceeded):
        await ask(1)
    assert provider.paid == 1


@cheap
async def test_a_replay_needs_no_budget(ledger: Ledger, provider: ScriptedProvider) -> None:
    await ask(0)
    await set_budgets(day="0")
    assert await ask(0) == 0
    with pytest.raises(BudgetExceeded):
        await ask(1)


@cheap
async def test_without_a_budget_there_is_no_limit_and_everything_is_counted(ledger: Ledger, look: Look) -> None:
    await asyncio.gather(*(ask(number) for number in range(10)))
    assert look(USAGE, kind="project") == [("day", 0, 10 * CALL_USD), ("month", 0, 10 * CALL_USD)]
    assert await list_budgets() == []


@cheap
@pytest.mark.parametrize("period", ["day", "month"])
async def test_either_period_can_refuse(ledger: Ledger, provider: ScriptedProvider, period: str) -> None:
    limits = {"day": "100", "month": "100"} | {period: "0.0001"}
    await set_budgets(**limits)  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded, match=f"the {period} budget"):
        await ask(0)


@cheap
async def test_the_budget_of_one_project_is_not_that_of_another(ledger: Ledger, provider: ScriptedProvider) -> None:
    await set_budgets(project="poor", day="0")
    await ask(0, project="rich")
    with pytest.raises(BudgetExceeded, match="'poor'"):
        await ask(0, project="poor")
    assert provider.paid == 1


@cheap
async def test_a_user_s_budget_knows_what_was_spent_before_it_was_set(ledger: Ledger, look: Look) -> None:
    for number in range(3):
        await ask(number, user="ada")
    await set_budgets(user="ada", day=str(3 * CALL_USD))
    with pytest.raises(BudgetExceeded, match="the day budget of user 'ada'"):
        await ask(3, user="ada")
    await ask(3, user="bob")
    assert look(USAGE + ", scope_id", kind="user") == [
        ("day", 0, 3 * CALL_USD),
        ("day", 0, CALL_USD),
        ("month", 0, 3 * CALL_USD),
        ("month", 0, CALL_USD),
    ]


@cheap
async def test_a_budget_that_is_spent_is_named_before_one_that_is_only_reserved(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    await set_budgets(day=str(await worst_case()))
    provider.hold()
    held = asyncio.create_task(ask(0, user="ada"))
    await provider.held(1)
    await set_budgets(user="bob", day="0")
    with pytest.raises(BudgetExceeded, match="user 'bob'"):  # the project's may have room again in a moment
        await ask(1, user="bob")
    provider.release()
    await held


async def test_an_unpriced_model_is_refused_under_a_budget(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await set_budgets(month="100")
    with pytest.raises(ConfigurationError, match=r"no price is known for house-model and the project 'default' has"):
        await complete("Why?", model="house-model")
    assert provider.log == []
    assert look("SELECT FROM llm_requests") == []


async def test_an_unpriced_model_that_is_allowed_by_name_is_called_under_a_budget(
    environment: Environment, settings: Settings, look: Look
) -> None:
    environment(HEADRACE_ALLOW_UNPRICED="other, house-model")
    await set_budgets(month="100")
    answer = await complete("Why?", model="house-model")
    assert (answer.cost_usd, answer.cost_source) == (None, "unpriced")
    assert look(USAGE, kind="project") == [("day", 0, 0), ("month", 0, 0)]


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"cost": 5.0}))
async def test_a_provider_that_charges_more_than_was_reserved_closes_the_budget(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await set_budgets(day="1")
    assert await ask(0) == 5
    assert look(USAGE, kind="project")[0] == ("day", 0, 5)
    with pytest.raises(BudgetExceeded, match=r"with \$5 spent"):
        await ask(1)
    assert provider.paid == 1


@cheap
async def test_a_run_can_have_a_budget_of_its_own(ledger: Ledger, look: Look) -> None:
    async with open_run(RunRequest(flow="f", subject="s", project="default", parameters={})) as run:
        limit = 2 * CALL_USD + await worst_case()
        look("INSERT INTO budgets VALUES ('run', :run, 'total', :limit)", run=str(run.id), limit=limit)
        for number in range(3):
            await ask(number)
        with pytest.raises(BudgetExceeded, match="the total budget of run"):
            await ask(3)
    assert look(USAGE, kind="run") == [("total", 0, 3 * CALL_USD)]


# --- what waits ---


@cheap
async def test_a_call_that_does_not_fit_beside_open_reservations_waits_until_they_settle_for_less(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    worst = await worst_case()
    await set_budgets(day=str(worst + CALL_USD))
    provider.hold()
    first = asyncio.create_task(ask(0))
    await provider.held(1)
    second = asyncio.create_task(ask(1))
    done, _ = await asyncio.wait([second], timeout=0.3)
    assert not done
    assert len(look("SELECT FROM llm_requests")) == 1
    provider.release()
    assert await asyncio.gather(first, second) == [CALL_USD, CALL_USD]
    with pytest.raises(BudgetExceeded):
        await ask(2)


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 20, "completion_tokens": 1024}))
async def test_a_call_that_waits_is_refused_once_what_is_spent_leaves_no_room(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    await set_budgets(day=str(await worst_case() * Decimal("1.5")))
    provider.hold()
    first = asyncio.create_task(ask(0))
    await provider.held(1)
    second = asyncio.create_task(ask(1))
    await asyncio.wait([second], timeout=0.1)
    provider.release()
    assert await first
    with pytest.raises(BudgetExceeded):
        await second
    assert len(provider.log) == 1


@cheap
async def test_what_a_dead_worker_reserved_is_not_waited_for_forever(
    ledger: Ledger, provider: ScriptedProvider, look: Look
) -> None:
    await set_budgets(day=str(await worst_case() * Decimal("1.5")))
    provider.hold()
    lost = asyncio.create_task(ask(0))
    await provider.held(1)
    dead = "00000000-0000-7000-8000-00000000000a"
    look("INSERT INTO workers VALUES (:id, 'another host', 1, 0, now() - interval '1 hour')", id=dead)
    look("UPDATE llm_requests SET worker_id = :id", id=dead)
    with pytest.raises(BudgetExceeded):  # the worst case of the lost call counts as spent
        await ask(1)
    assert look("SELECT status FROM llm_requests") == [("unknown",)]
    provider.release()
    await lost
    await ask(1)


# --- amounts ---


MONEY = st.decimals(0, 1000, places=10)


@given(limit=MONEY, reserved=MONEY, spent=MONEY, amount=MONEY)
def test_what_fits_can_be_reserved_and_what_could_fit_is_worth_waiting_for(
    limit: Decimal, reserved: Decimal, spent: Decimal, amount: Decimal
) -> None:
    usage = Usage(limit, reserved, spent)
    assert usage.fits(amount) == (spent + reserved + amount <= limit)
    assert usage.could_fit(amount) == Usage(limit, Decimal(0), spent).fits(amount)
    assert usage.could_fit(amount) or not usage.fits(amount)
    assert Usage(None, reserved, spent).fits(amount)
    assert Usage(None, reserved, spent).could_fit(amount)


KEY = UsageKey("project", "default", "day", date(2026, 1, 1))


@given(held=MONEY, cost=MONEY | st.none(), before=MONEY)
def test_a_settled_reservation_moves_from_reserved_to_spent_once(
    held: Decimal, cost: Decimal | None, before: Decimal
) -> None:
    counted = held if cost is None else cost
    usage = {KEY: Usage(None, before + held, before)}
    Reservation(held, (KEY,)).settle("reserved", cost, usage)
    assert (usage[KEY].reserved_usd, usage[KEY].spent_usd) == (before, before + counted)
    given_up = {KEY: Usage(None, before, before + held)}
    Reservation(held, (KEY,)).settle("unknown", cost, given_up)
    assert (given_up[KEY].reserved_usd, given_up[KEY].spent_usd) == (before, before + counted)
    settled = {KEY: Usage(None, before, before)}
    Reservation(held, (KEY,)).settle("succeeded", cost, settled)
    assert settled == {KEY: Usage(None, before, before)}


def test_a_usage_key_survives_its_stored_form() -> None:
    assert UsageKey.from_json(KEY.as_json()) == KEY
    total = KEY._replace(period="total", period_start=ALL_TIME)
    assert UsageKey.from_json(total.as_json()) == total


@pytest.mark.parametrize(
    ("said", "amount"),
    [("5", "5"), ("$2.50", "2.5"), (" 0 ", "0"), ("1e-3", "0.001"), ("0.00000000019", "0.0000000002")],
)
def test_an_amount_is_a_number_of_dollars(said: str, amount: str) -> None:
    assert parse_amount(said, "--day") == Decimal(amount)


@pytest.mark.parametrize("said", ["none", "None", " NONE "])
def test_none_is_no_limit(said: str) -> None:
    assert parse_amount(said, "--day") is None


@pytest.mark.parametrize("said", ["", "five", "-1", "nan", "inf", "1e9", "1,5", "5 EUR"])
def test_what_is_no_amount_is_bad_input(said: str) -> None:
    with pytest.raises(BadInput, match=r"--month .* is no amount of US dollars"):
        parse_amount(said, "--month")


async def test_budgets_are_set_read_changed_and_taken_away(ledger: Ledger) -> None:
    set_now = await set_budgets(day="5", month="$100")
    assert [(state.scope_id, state.period, state.limit_usd) for state in set_now] == [
        ("default", "day", 5),
        ("default", "month", 100),
    ]
    assert await list_budgets() == set_now
    await set_budgets(user="ada", day="1")
    changed = await set_budgets(day="none", month="50")
    assert [(state.scope_kind, state.scope_id, state.period, state.limit_usd) for state in changed] == [
        ("project", "default", "month", 50),
        ("user", "ada", "day", 1),
    ]


@cheap
async def test_a_budget_is_listed_with_what_is_reserved_and_spent(ledger: Ledger, provider: ScriptedProvider) -> None:
    await set_budgets(day="5")
    await ask(0)
    provider.hold()
    call = asyncio.create_task(ask(1))
    await provider.held(1)
    (state,) = await list_budgets()
    assert (state.reserved_usd, state.spent_usd) == (await worst_case(), CALL_USD)
    assert state.period_start == datetime.now(UTC).date()
    provider.release()
    await call


async def test_a_budget_without_an_amount_or_for_two_at_once_is_bad_input(ledger: Ledger) -> None:
    with pytest.raises(BadInput, match="give --day or --month"):
        await set_budgets(project="default")
    with pytest.raises(BadInput, match="not for both at once"):
        await set_budgets(project="default", user="ada", day="1")
    assert await list_budgets() == []


# --- periods ---


@pytest.mark.parametrize(
    ("period", "timezone", "begins"),
    [
        ("day", "UTC", date(2026, 3, 31)),
        ("day", "Asia/Tokyo", date(2026, 4, 1)),
        ("day", "America/New_York", date(2026, 3, 31)),
        ("month", "UTC", date(2026, 3, 1)),
        ("month", "Asia/Tokyo", date(2026, 4, 1)),
        ("total", "Asia/Tokyo", ALL_TIME),
    ],
)
def test_a_period_begins_at_midnight_of_the_named_time_zone(period: str, timezone: str, begins: date) -> None:
    assert period_start(period, datetime(2026, 3, 31, 15, 30, tzinfo=UTC), timezone) == begins


def test_the_day_the_clocks_change_begins_at_its_own_midnight() -> None:
    # Berlin is at +1 h until 01:00 UTC on 29 March 2026, then at +2 h.
    assert period_start("day", datetime(2026, 3, 28, 22, 59, tzinfo=UTC), "Europe/Berlin") == date(2026, 3, 28)
    assert period_start("day", datetime(2026, 3, 28, 23, 0, tzinfo=UTC), "Europe/Berlin") == date(2026, 3, 29)
    assert period_start("day", datetime(2026, 3, 29, 22, 0, tzinfo=UTC), "Europe/Berlin") == date(2026, 3, 30)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd"])
async def test_a_time_zone_that_does_not_exist_is_refused_when_the_ledger_opens(
    environment: Environment, settings: Settings, name: str
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE=name)
    with pytest.raises(ConfigurationError, match=r"HEADRACE_BUDGET_TIMEZONE: there is no time zone .*Europe/Berlin"):
        async with open_ledger():
            raise AssertionError("it opened")


def test_a_project_a_user_and_a_run_are_counted_always_other_periods_where_they_have_a_limit() -> None:
    scopes = [("project", "p"), ("user", "u"), ("run", "r")]
    counted = [key[:3] for key in usage_keys(scopes, "UTC", [], present())]
    assert counted == [
        ("project", "p", "day"),
        ("project", "p", "month"),
        ("run", "r", "total"),
        ("user", "u", "day"),
        ("user", "u", "month"),
    ]
    limits = [("project", "p", "total"), ("project", "q", "day")]
    assert {key[:3] for key in usage_keys(scopes, "UTC", limits, present())} == {*counted, *limits[:1]}


Clock = Callable[[datetime], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time that budgets go by."""

    def set_to(moment: datetime) -> None:
        class Stopped(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                return moment

        monkeypatch.setattr("tasks.ledger.budgets.datetime", Stopped)
        monkeypatch.setattr("tasks.ledger.limits.datetime", Stopped)

    return set_to


@cheap
async def test_a_call_is_settled_in_the_period_it_was_reserved_in(
    ledger: Ledger, provider: ScriptedProvider, look: Look, clock: Clock
) -> None:
    clock(datetime(2026, 3, 31, 23, 59, tzinfo=UTC))
    provider.hold()
    call = asyncio.create_task(ask(0))
    await provider.held(1)
    clock(datetime(2026, 4, 1, 0, 1, tzinfo=UTC))
    provider.release()
    await call
    await ask(1)
    assert look("SELECT period, period_start, reserved_usd, spent_usd FROM budget_usage ORDER BY 1, 2") == [
        ("day", date(2026, 3, 31), 0, CALL_USD),
        ("day", date(2026, 4, 1), 0, CALL_USD),
        ("month", date(2026, 3, 1), 0, CALL_USD),
        ("month", date(2026, 4, 1), 0, CALL_USD),
    ]


@cheap
async def test_a_new_day_in_the_named_time_zone_has_its_whole_budget(
    environment: Environment, settings: Settings, clock: Clock
) -> None:
    environment(HEADRACE_BUDGET_TIMEZONE="Asia/Tokyo")
    async with open_ledger():
        clock(datetime(2026, 3, 31, 14, 59, tzinfo=UTC))
        await set_budgets(day=str(await worst_case()))
        await ask(0)
        with pytest.raises(BudgetExceeded):
            await ask(1)
        clock(datetime(2026, 3, 31, 15, 0, tzinfo=UTC))  # midnight in Tokyo
        await ask(1)
        (state,) = await list_budgets()
    assert (state.period_start, state.spent_usd) == (date(2026, 4, 1), CALL_USD)


async def test_the_worst_case_is_every_token_at_its_price(ledger: Ledger) -> None:
    estimate = await estimate_cost("Why?", model=MODEL, parameters=ChatParameters(max_tokens=7))
    assert estimate.source == "price_table"
    assert estimate.usd == estimate.input_tokens * Decimal("0.15e-6") + 7 * Decimal("0.60e-6")


async def test_prices_finer_than_the_tables_hold_are_rounded_up_so_that_sums_stay_exact(ledger: Ledger) -> None:
    model = "databricks/databricks-claude-haiku-4-5"  # 0.00000100002 USD for a token of input
    exact = prices.worst_case(model, "databricks", 1, 1)
    assert exact is not None
    assert exact != round(exact, 10)
    for words in range(1, 6):
        estimate = await estimate_cost("word " * words, model=model, parameters=ChatParameters(max_tokens=words))
        exact = prices.worst_case(model, "databricks", estimate.input_tokens, words)
        assert estimate.usd is not None
        assert exact is not None
        assert estimate.usd == round(estimate.usd, 10)
        assert 0 <= estimate.usd - exact < Decimal("1e-10")
