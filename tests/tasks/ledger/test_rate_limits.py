"""Calls under the limits of their model, as their callers meet them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import RateLimited, RetriesExhausted
from schemas.rate_limits import ModelLimits, limits_of
from schemas.settings import Settings
from tasks.ledger.calls import complete
from tasks.ledger.clock import SystemClock
from tasks.ledger.model_gate import ModelGate, gate_of
from tasks.ledger.session import Ledger, open_ledger
from tests.conftest import Environment
from tests.scripted_provider import Fault, Reply, ScriptedProvider
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"


async def gate(ledger: Ledger) -> ModelGate:
    """The gate that calls of the tests pass."""
    model = await ledger.providers.describe(MODEL)
    limits = ledger.rate_limits.limits_of(MODEL)
    return gate_of(MODEL, model.identity, limits, ledger.settings.parallel_calls)


def test_an_unset_limit_is_none_and_local_models_have_none(environment: Environment) -> None:
    assert limits_of(MODEL, environment()) == ModelLimits()
    settings = environment(
        HEADRACE_MODEL_REQUESTS_PER_MINUTE=3, HEADRACE_MODEL_TOKENS_PER_MINUTE=0, HEADRACE_MODEL_PARALLEL_CALLS=2
    )
    assert limits_of(MODEL, settings) == ModelLimits(requests_per_minute=3, parallel_calls=2)
    assert limits_of("local/chat", settings) == ModelLimits()


async def test_a_call_beyond_its_models_limit_is_refused_and_replays_do_not_count(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    hurried = environment(HEADRACE_MODEL_REQUESTS_PER_MINUTE=2, HEADRACE_LIMIT_WAIT_SECONDS=0)
    async with open_ledger(hurried) as ledger:
        await complete("a", model=MODEL)
        assert (await complete("a", model=MODEL)).replayed
        await complete("b", model=MODEL)
        with pytest.raises(RateLimited, match=r"^gpt-4o-mini is called as often as its limits allow") as refused:
            await complete("c", model=MODEL)
        assert refused.value.retry_after is not None
        assert 1 <= refused.value.retry_after <= 60
        assert (await complete("a", model=MODEL)).replayed, "what is there is given also when nothing may be asked"
        assert (await gate(ledger)).in_flight == 0
    assert provider.paid == 2
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1 ORDER BY 1") == [
        ("replayed", 2),
        ("succeeded", 2),
    ]
    assert look("SELECT sum(reserved_usd) FROM budget_usage") == [(0,)]


@pytest.mark.scripted(respond=lambda _: Reply("yes", usage={"prompt_tokens": 20, "completion_tokens": 10}))
async def test_tokens_count_as_the_provider_says_once_it_has_answered(
    environment: Environment, settings: Settings, provider: ScriptedProvider
) -> None:
    # The worst case of each call is more than half of the limit, what it really takes a fraction.
    hurried = environment(HEADRACE_MODEL_TOKENS_PER_MINUTE=1500, HEADRACE_LIMIT_WAIT_SECONDS=0)
    async with open_ledger(hurried):
        await complete("a", model=MODEL)
        await complete("b", model=MODEL)
        provider.hold()
        third = asyncio.create_task(complete("c", model=MODEL))
        await provider.held(1)
        with pytest.raises(RateLimited):
            await complete("d", model=MODEL)
        provider.release()
        await third
        await complete("d", model=MODEL)


async def test_parallel_calls_of_a_model_wait_without_a_reservation(
    environment: Environment, settings: Settings, provider: ScriptedProvider, look: Look
) -> None:
    narrow = environment(HEADRACE_MODEL_PARALLEL_CALLS=2)
    async with open_ledger(narrow) as ledger:
        provider.hold()
        calls = [asyncio.create_task(complete(f"Question {n}", model=MODEL)) for n in range(6)]
        await provider.held(2)
        cancelled = calls.pop()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert look("SELECT count(*) FROM llm_requests") == [(2,)]
        assert (await gate(ledger)).in_flight == 2
        provider.release()
        await asyncio.gather(*calls)
        assert (await gate(ledger)).in_flight == 0
    assert [served.body["messages"][0]["content"] for served in provider.log[2:]] == [
        "Question 2",
        "Question 3",
        "Question 4",
    ]
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("succeeded", 5)]


@pytest.mark.scripted(faults={1: Fault("status", status=429, retry_after=0.01), 2: Fault("status", status=429)})
async def test_a_provider_that_asks_to_wait_is_asked_less_at_a_time(
    environment: Environment, settings: Settings, provider: ScriptedProvider, no_pauses: None
) -> None:
    async with open_ledger(environment(HEADRACE_PARALLEL_CALLS=8)) as ledger:
        before = await gate(ledger)
        assert before.parallel.allowed == 8
        await complete("a", model=MODEL)
        assert before.parallel.allowed == 2
        await asyncio.gather(*(complete(f"Question {n}", model=MODEL) for n in range(12)))
        assert before.parallel.allowed > 4
        assert before.in_flight == 0


@pytest.mark.scripted(faults={1: Fault("status", status=429, retry_after=3600)})
async def test_a_long_retry_after_refuses_everybody_who_would_wait_longer_than_the_bound(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    with pytest.raises(RetriesExhausted):
        await complete("a", model=MODEL)
    with pytest.raises(RateLimited) as refused:
        await complete("b", model=MODEL)
    assert refused.value.retry_after is not None
    assert 3500 < refused.value.retry_after <= 3600
    assert len(provider.log) == 1, "the provider is left alone"
    assert isinstance((await gate(ledger)).clock, SystemClock)


NAMES = """
[models.fast]
model = "openai/gpt-4o-mini"
limits = {{ requests_per_minute = 3 }}
[models.slow]
model = "gpt-4o-mini"
limits = {{ requests_per_minute = 1 }}
[models.plain]
model = "gpt-4o-mini"
[models.keyed]
model = "gpt-4o-mini"
api_base = "{url}"
api_key_env = "OTHER_KEY"
[models.elsewhere]
model = "gpt-4o-mini"
api_base = "{other}"
"""


@pytest.fixture
def names(environment: Environment, settings: Settings, provider: ScriptedProvider, tmp_path: Path) -> Iterator[None]:
    """Names that lead to one model: with limits and without, with another key, at another address."""
    path = tmp_path / "models.toml"
    with ScriptedProvider() as other:
        path.write_text(NAMES.format(url=provider.url, other=other.url))
        environment(HEADRACE_MODELS=path, HEADRACE_LIMIT_WAIT_SECONDS=0, OTHER_KEY="test-key")
        yield


async def refused(model: str, prompt: str) -> bool:
    """True when the call is refused by a limit of ours."""
    try:
        await complete(prompt, model=model)
    except RateLimited:
        return True
    return False


@pytest.mark.usefixtures("names")
async def test_a_name_with_limits_is_counted_by_itself_and_names_without_share_those_of_the_settings(
    environment: Environment,
) -> None:
    async with open_ledger(environment(HEADRACE_MODEL_REQUESTS_PER_MINUTE=2)):
        assert [await refused("slow", prompt) for prompt in "ab"] == [False, True]
        assert [await refused("fast", prompt) for prompt in "bcde"] == [False, False, False, True]
        assert [await refused("plain", "f"), await refused(MODEL, "g")] == [False, False]
        assert [await refused("plain", "h"), await refused(f"openai/{MODEL}", "h")] == [True, True]
        for own_account in ("keyed", "elsewhere"):
            assert [await refused(own_account, prompt) for prompt in "ijk"] == [False, False, True]


@pytest.mark.usefixtures("names", "no_pauses")
@pytest.mark.scripted(faults={1: Fault("status", status=429, retry_after=3600)})
async def test_a_pause_that_the_provider_asks_for_holds_for_every_name_of_the_model(provider: ScriptedProvider) -> None:
    async with open_ledger():
        with pytest.raises(RetriesExhausted):
            await complete("a", model="fast")
        assert [await refused(model, "b") for model in ("fast", "plain", MODEL, "slow")] == [True] * 4
        assert [await refused(model, "c") for model in ("keyed", "elsewhere")] == [False] * 2
    assert len(provider.log) == 2, "the refusal, and the call with the other key"
