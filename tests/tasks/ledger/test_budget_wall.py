"""A budget holds whatever comes at it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from schemas.calls import ChatParameters
from schemas.settings import Settings
from tasks.ledger.calls import estimate_cost
from tasks.ledger.limits import set_budgets
from tests.conftest import Environment
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look, StartProcess

MODEL = "gpt-4o-mini"
MAX_TOKENS = 1000
USED = {"prompt_tokens": 10, "completion_tokens": 100}
# gpt-4o-mini: 0.15 USD for a million tokens of input, 0.60 for a million of output.
CALL_USD = 10 * Decimal("0.15e-6") + 100 * Decimal("0.60e-6")

WALL = """
    CREATE FUNCTION stay_below_the_limit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM budgets
                   WHERE (scope_kind, scope_id, period) = (NEW.scope_kind, NEW.scope_id, NEW.period)
                     AND limit_usd < NEW.reserved_usd + NEW.spent_usd) THEN
            RAISE EXCEPTION 'the % budget of % was passed', NEW.period, NEW.scope_id;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER wall BEFORE INSERT OR UPDATE ON budget_usage
        FOR EACH ROW EXECUTE FUNCTION stay_below_the_limit();
"""


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage=USED), keep_bodies=False)
async def test_64_workers_in_4_processes_make_every_call_that_fits_and_none_beyond(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look, start_process: StartProcess
) -> None:
    environment(HEADRACE_PARALLEL_CALLS=16)
    look(WALL)
    estimate = await estimate_cost("Question 00000?", model=MODEL, parameters=ChatParameters(max_tokens=MAX_TOKENS))
    assert estimate.usd is not None
    assert estimate.usd > 5 * CALL_USD
    limit = 99 * CALL_USD + estimate.usd  # the hundredth call fits only where 99 have settled for what they cost
    await set_budgets(day=str(limit))
    workers = [start_process("ask_many", first=250 * n, count=250, workers=16, max_tokens=MAX_TOKENS) for n in range(4)]
    outcomes: Counter[str] = Counter()
    for worker in workers:
        outcomes.update(worker.line())
    assert outcomes == {"answered": 100, "budget_exceeded": 900}
    assert provider.paid == 100
    assert look("SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day'") == [(0, 100 * CALL_USD)]
    assert look("SELECT status, count(*), sum(cost_usd) FROM llm_requests GROUP BY 1") == [
        ("succeeded", 100, 100 * CALL_USD)
    ]
    assert look("SELECT status, count(*) FROM answers GROUP BY 1") == [("answered", 100)]
