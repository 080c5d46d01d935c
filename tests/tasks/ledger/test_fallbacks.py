"""Another model where the one asked for cannot answer: when, for what money, and what is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from schemas.calls import ChatParameters
from schemas.errors import (
    AuthenticationFailed,
    BadInput,
    BudgetExceeded,
    ContentRefused,
    ContextLengthExceeded,
    ModelNotFound,
    RetriesExhausted,
)
from schemas.settings import Settings
from tasks.ledger.calls import complete, complete_structured, embed
from tasks.ledger.limits import set_budgets
from tasks.ledger.requests import get_request
from tests.conftest import Environment
from tests.scripted_provider import Fault, Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

ROWS = "SELECT model, answered_model, status, error_class, context, attempt FROM llm_requests ORDER BY id"
ELSEWHERE = "from the other"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def other() -> Iterator[ScriptedProvider]:
    """The server of the fallback."""
    with ScriptedProvider(lambda _: Reply(ELSEWHERE, usage=USAGE), models=["big"], api_key="other-key") as server:
        yield server


Configure = Callable[..., Settings]


@pytest.fixture
def configure(
    environment: Environment, settings: Settings, provider: ScriptedProvider, other: ScriptedProvider, tmp_path: Path
) -> Configure:
    """`fast` falls back on `careful`; returns the settings that name the file."""

    def write(
        fast: str = "",
        careful: str = "",
        first: ScriptedProvider = provider,
        second: ScriptedProvider = other,
        small: str = "small",
        big: str = "big",
        key: str = "other-key",
        **variables: object,
    ) -> Settings:
        path = tmp_path / "models.toml"
        path.write_text(f"""
            [models.fast]
            model = "openai/{small}"
            api_base = "{first.url}"
            price = {{ input = 1, output = 2 }}
            fallback = ["careful"]
            {fast}
            [models.careful]
            model = "openai/{big}"
            api_base = "{second.url}"
            api_key_env = "CAREFUL_KEY"
            price = {{ input = 10, output = 20, cached_input = 5 }}
            {careful}
        """)
        return environment(HEADRACE_MODELS=path, CAREFUL_KEY=key, HEADRACE_RETRY_ATTEMPTS=2, **variables)

    return write


def fell_back(because: str) -> dict[str, str]:
    return {"fallback_for": "fast", "fallback_because": because}


@pytest.mark.scripted(faults={"503": 1.0})
async def test_a_provider_that_stays_down_is_replaced_and_every_row_says_by_what(
    configure: Configure, provider: ScriptedProvider, other: ScriptedProvider, look: Look
) -> None:
    configure()
    answer = await complete("Why?", model="fast")
    assert (answer.text, answer.model, answer.answered_model) == (ELSEWHERE, "careful", "big")
    assert answer.fallback_for == "fast"
    assert look(ROWS) == [
        ("fast", None, "failed", "ProviderUnavailable", None, 1),
        ("fast", None, "failed", "ProviderUnavailable", None, 2),
        ("careful", "big", "succeeded", None, fell_back("provider_unavailable"), 1),
    ]
    # 1,000 in at $10 and 100 out at $20 a million
    assert answer.cost_usd == Decimal("0.012")
    assert (await get_request(answer.request_id)).context == fell_back("provider_unavailable")
    assert look("SELECT DISTINCT spent_usd, reserved_usd FROM budget_usage") == [(Decimal("0.012"), 0)]
    assert (len(provider.log), len(other.log)) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("status", status=429, retry_after=3600), "rate_limited"),
        (Fault("reset"), "provider_timeout"),
        (Fault("status", status=404, code="model_not_found"), "model_not_found"),
        (Fault("status", status=429, code="insufficient_quota"), "credit_exhausted"),
    ],
)
async def test_another_model_is_asked_where_it_can_help(
    configure: Configure, look: Look, fault: Fault, code: str
) -> None:
    with ScriptedProvider(faults={1: fault, 2: fault}) as first:
        configure(first=first)
        answer = await complete("Why?", model="fast")
    assert answer.text == ELSEWHERE
    assert look(ROWS)[-1].context == fell_back(code)


@pytest.mark.scripted(faults={1: Fault("status", status=401), 2: Fault("status", status=400, code="content_filter")})
async def test_a_wrong_key_withheld_content_and_wrong_input_go_nowhere_else(
    configure: Configure, other: ScriptedProvider
) -> None:
    configure()
    with pytest.raises(AuthenticationFailed):
        await complete("Why?", model="fast")
    with pytest.raises(ContentRefused):
        await complete("Why?", model="fast")
    with pytest.raises(BadInput, match="temperature"):
        await complete("Why?", model="fast", parameters=ChatParameters.model_construct(max_tokens=5, temperature=9.0))
    assert other.log == []


@pytest.mark.scripted(context_window=100)
async def test_a_prompt_too_long_goes_to_a_larger_window_only(
    configure: Configure, other: ScriptedProvider, look: Look
) -> None:
    configure("context_window = 100", "context_window = 100")
    with pytest.raises(ContextLengthExceeded):
        await complete("word " * 500, model="fast")
    assert other.log == []
    configure("context_window = 100", "context_window = 5000")
    assert (await complete("word " * 500, model="fast")).text == ELSEWHERE
    assert look(ROWS)[-1].context == fell_back("context_length_exceeded")


@pytest.mark.scripted(faults={"503": 1.0})
async def test_the_budget_is_that_of_the_model_called(configure: Configure, other: ScriptedProvider) -> None:
    configure()
    parameters = ChatParameters(max_tokens=1000)  # at most 2 cents of fast, 2 of a dollar's tenths of careful
    await set_budgets(day="0.005")
    with pytest.raises(BudgetExceeded, match=r"0\.005"):
        await complete("Why?", model="fast", parameters=parameters)
    assert other.log == []
    await set_budgets(day="0.05")
    assert (await complete("Why?", model="fast", parameters=parameters)).cost_usd == Decimal("0.012")


async def test_a_wall_is_no_reason_to_ask_another(
    configure: Configure, provider: ScriptedProvider, other: ScriptedProvider
) -> None:
    configure()
    await set_budgets(day="0")
    with pytest.raises(BudgetExceeded):
        await complete("Why?", model="fast")
    assert (provider.log, other.log) == ([], [])


async def test_a_cancelled_call_is_not_taken_elsewhere(
    configure: Configure, provider: ScriptedProvider, other: ScriptedProvider
) -> None:
    configure()
    provider.hold()
    call = asyncio.create_task(complete("Why?", model="fast"))
    await provider.held(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert other.log == []


@pytest.mark.scripted(faults={"503": 1.0})
async def test_when_none_can_answer_the_error_names_each(configure: Configure) -> None:
    with ScriptedProvider(models=["none"]) as empty:
        configure(careful='fallback = ["local/chat"]', second=empty)  # of careful's own, which is not gone into
        with pytest.raises(RetriesExhausted, match=r"neither fast nor its.*fast: .*503.*careful: ") as failure:
            await complete("Why?", model="fast")
    assert failure.value.details == {"models": ["fast", "careful"], "last": "model_not_found"}


@pytest.mark.scripted(faults={"503": 1.0})
async def test_a_fallback_whose_settings_are_wrong_is_not_passed_over(configure: Configure) -> None:
    configure(careful='fallback = ["local/chat"]', key="another-key")
    with pytest.raises(AuthenticationFailed, match="CAREFUL_KEY"):
        await complete("Why?", model="fast")


class Verdict(BaseModel):
    passed: bool


async def test_a_repair_goes_to_the_model_that_answered(configure: Configure, look: Look) -> None:
    answers = iter(['{"passed": "perhaps"}', '{"passed": true}'])
    with ScriptedProvider(faults={1: "404"}) as first, ScriptedProvider(lambda _: next(answers)) as second:
        configure(first=first, second=second)
        answer = await complete_structured("Passed?", Verdict, model="fast")
        assert (len(first.log), len(second.log)) == (1, 2)
    assert answer.value.passed
    assert [(row.model, (row.context or {}).get("fallback_for")) for row in look(ROWS)] == [
        ("fast", None),
        ("careful", "fast"),
        ("careful", "fast"),
    ]


@pytest.mark.scripted(faults={"404": 1.0})
async def test_vectors_of_another_model_are_never_taken(configure: Configure, other: ScriptedProvider) -> None:
    configure()
    with pytest.raises(ModelNotFound):
        await embed(["text"], model="fast")
    assert other.log == []


@pytest.mark.scripted(faults={"404": 1.0})
async def test_a_call_is_fitted_to_the_model_it_falls_back_on(configure: Configure) -> None:
    asked = ChatParameters(max_tokens=100, temperature=0.0, seed=4)
    with ScriptedProvider() as second:
        configure(careful="max_output_tokens = 60", second=second)
        await complete("Why?", model="fast", parameters=asked)
        configure(second=second, big="o4-mini")
        await complete("Why?", model="fast", parameters=asked)
    sent = [(body["max_tokens"], body.get("temperature"), body["seed"]) for body in (s.body for s in second.log)]
    assert sent == [(60, 0.0, 4), (100, None, 4)], "a model that thinks chooses its own temperature"


async def test_a_name_and_what_it_stands_for_share_their_answers(
    configure: Configure, provider: ScriptedProvider, look: Look
) -> None:
    configure()
    named = await complete("Why?", model="fast")
    plain = await complete("Why?", model="openai/small")
    assert (named.replayed, plain.replayed) == (False, True), "one server, one model, one answer"
    assert len(provider.log) == 1
    asked = "SELECT model, request ->> 'model' AS sent FROM llm_requests ORDER BY id"
    assert look(asked) == [("fast", "openai/small"), ("openai/small", None)]


async def test_a_name_that_stands_for_another_model_is_not_answered_from_before(
    configure: Configure, provider: ScriptedProvider
) -> None:
    configure()
    await complete("Why?", model="fast")
    configure(small="smaller")
    assert not (await complete("Why?", model="fast")).replayed
    assert [served.model for served in provider.log] == ["small", "smaller"]


@pytest.mark.scripted(respond=lambda _: Reply("x", usage={**USAGE, "cost": 7.0}))
async def test_the_price_of_the_table_comes_before_what_the_provider_says(configure: Configure) -> None:
    configure()
    answer = await complete("Why?", model="fast")
    assert (answer.cost_usd, answer.cost_source) == (Decimal("0.0012"), "price_table")


async def test_a_named_model_is_the_default_of_a_role(configure: Configure, look: Look) -> None:
    configure(HEADRACE_REVIEW_MODEL="fast")
    answer: Any = await complete("Why?", role="review")
    assert (answer.model, answer.fallback_for) == ("fast", None)
