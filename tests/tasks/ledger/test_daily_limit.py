"""MAX_DAILY_LLM_COST: the daily budget of the project, wherever nobody has set that one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from schemas.errors import BudgetExceeded
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.daily_limit import DailyLimit, read_daily_limit
from tasks.ledger.limits import list_budgets, set_budgets
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider

MODEL = "gpt-4o-mini"


async def limits() -> dict[tuple[str, str], Decimal | None]:
    """The limits that are set, by project and period."""
    return {(state.scope_id, state.period): state.limit_usd for state in await list_budgets()}


async def test_the_variable_is_a_wall_for_its_project_alone(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    environment(MAX_DAILY_LLM_COST="0.000001", HEADRACE_PROJECT="forum")
    with pytest.raises(BudgetExceeded, match=r"day budget of project 'forum' is \$0\.000001") as refused:
        await complete("Why?", model=MODEL)
    assert refused.value.details["period"] == "day"
    assert provider.paid == 0
    assert (await complete("Why?", model=MODEL, project="other")).cost_usd
    assert await limits() == {("forum", "day"): Decimal("0.000001")}


async def test_nothing_is_a_limit_of_nothing_and_unset_is_no_limit(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    environment(MAX_DAILY_LLM_COST="")
    assert (await complete("Why?", model=MODEL)).cost_usd
    assert await limits() == {}
    environment(MAX_DAILY_LLM_COST="0")
    with pytest.raises(BudgetExceeded):
        await complete("Why not?", model=MODEL)
    assert provider.paid == 1


async def test_the_limit_follows_the_variable_until_somebody_sets_it(
    environment: Environment, settings: Settings
) -> None:
    environment(MAX_DAILY_LLM_COST="10")
    assert await limits() == {("default", "day"): 10}
    environment(MAX_DAILY_LLM_COST="20")
    assert await limits() == {("default", "day"): 20}
    await set_budgets(day=None, warn_day="15")
    environment(MAX_DAILY_LLM_COST="30")
    assert await limits() == {("default", "day"): 30}, "a soft limit beside it sets no hard one"
    await set_budgets(day="5", warn_day="4")
    assert await limits() == {("default", "day"): 5}, "what was set comes first"
    await set_budgets(warn_day="3")
    assert await limits() == {("default", "day"): 5}
    await set_budgets(day="none")
    assert await limits() == {("default", "day"): 30}, "and where it is taken away, the variable holds again"


async def test_who_says_the_limit_can_be_told(environment: Environment, settings: Settings, database: Engine) -> None:
    def told(now: Settings) -> DailyLimit | None:
        with database.connect() as connection:
            return read_daily_limit(connection, now)

    assert told(settings) is None
    by_variable = environment(MAX_DAILY_LLM_COST="10")
    assert told(by_variable) == DailyLimit(Decimal(10), by_variable=True), "also before the first call"
    await list_budgets()
    assert told(by_variable) == DailyLimit(Decimal(10), by_variable=True)
    assert told(settings) == DailyLimit(Decimal(10), by_variable=False), "it stays until it is taken away"
    await set_budgets(day="5")
    assert told(by_variable) == DailyLimit(Decimal(5), by_variable=False)
