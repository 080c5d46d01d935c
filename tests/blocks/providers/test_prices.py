"""Prices: by hand for a few, and side by side with LiteLLM's own arithmetic for the table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from blocks.providers import price_table
from blocks.providers.litellm_client import load_litellm
from blocks.providers.off_peak import windows_of
from blocks.providers.price_table import PRICED_MODES, find_entry
from blocks.providers.prices import price, price_of, price_per_million, worst_case, worst_case_of
from schemas.calls import ModelInfo, Usage

USAGES = [
    Usage(input_tokens=1000, output_tokens=500),
    Usage(input_tokens=100_000, output_tokens=2000, cached_input_tokens=30_000, reasoning_tokens=700),
    Usage(input_tokens=130_000, output_tokens=900, reasoning_tokens=100),
    Usage(input_tokens=200_000, output_tokens=50),
    Usage(input_tokens=300_000, output_tokens=131_000, cached_input_tokens=2000, reasoning_tokens=1000),
]
HALF_CACHED = Usage(input_tokens=1000, output_tokens=500, cached_input_tokens=400)
UNLIKE_LITELLM = frozenset({"perplexity"})
"""LiteLLM ignores surcharges and cached input there, because Perplexity reports the cost with the answer."""


@pytest.mark.parametrize(
    ("model", "provider", "usage", "usd"),
    [
        # 1,000 × $0.15 and 500 × $0.60 a million
        ("gpt-4o-mini", "openai", Usage(input_tokens=1000, output_tokens=500), "0.00045"),
        # 600 × 0.15 + 400 cached × 0.075 + 500 × 0.60
        (
            "openai/gpt-4o-mini",
            "openai",
            Usage(input_tokens=1000, output_tokens=500, cached_input_tokens=400),
            "0.00042",
        ),
        # one token × $0.02 a million
        ("text-embedding-3-small", "openai", Usage(input_tokens=1), "0.00000002"),
        # above 200,000 tokens all input costs $2.50, all output $15
        ("gemini/gemini-2.5-pro", "gemini", Usage(input_tokens=200_001, output_tokens=10), "0.5001525"),
        ("gemini/gemini-2.5-pro", "gemini", Usage(input_tokens=200_000, output_tokens=10), "0.2501"),
        ("anthropic/claude-sonnet-4-5", "anthropic", Usage(input_tokens=100, output_tokens=10), "0.00045"),
    ],
)
def test_prices_worked_out_by_hand(model: str, provider: str, usage: Usage, usd: str) -> None:
    assert price(model, provider, usage) == Decimal(usd)


def test_an_unknown_model_has_no_price_rather_than_none_to_pay() -> None:
    usage = Usage(input_tokens=10)
    assert price("openai/llama3", "openai", usage) is None
    assert worst_case("azure/my-deployment", "azure", 10, 10) is None
    assert price("anthropic/gpt-4o", "anthropic", usage) is None


def test_a_row_of_zeros_is_a_price_nobody_entered() -> None:
    entry = find_entry("sagemaker/meta-textgeneration-llama-2-7b", "sagemaker")
    assert entry is not None
    assert entry.base.input == 0
    assert price("sagemaker/meta-textgeneration-llama-2-7b", "sagemaker", Usage(input_tokens=10)) is None


@pytest.mark.parametrize(("model", "provider"), [("local/chat", "local"), ("ollama/whatever:7b", "ollama")])
def test_hardware_of_ones_own_costs_nothing(model: str, provider: str) -> None:
    assert price(model, provider, Usage(input_tokens=10**6, output_tokens=10**6)) == 0
    assert worst_case(model, provider, 10**6, 10**6) == 0


def test_fine_tuned_and_dated_names_have_the_price_of_their_base() -> None:
    usage = Usage(input_tokens=1000)
    tuned = price("ft:gpt-4o-mini-2024-07-18:acme::8hT", "openai", usage)
    assert tuned == price("ft:gpt-4o-mini-2024-07-18", "openai", usage) == Decimal("0.0003")
    assert price("gpt-4o-mini-2031-12-24", "openai", usage) == price("gpt-4o-mini", "openai", usage)


def test_the_worst_case_is_the_dearest_rate_of_each_token() -> None:
    # gpt-4o-mini: no dearer rates than the plain ones
    assert worst_case("gpt-4o-mini", "openai", 1000, 500) == Decimal("0.00045")
    # claude-sonnet-4-5: input as a cache write ($3.75 a million) and output at $15
    assert worst_case("claude-sonnet-4-5", "anthropic", 1000, 100) == Decimal("0.00525")


class WithWrites(Usage):
    """Usage of a provider that bills what it writes into its cache."""

    cache_write_tokens: int = 0


def test_tokens_written_to_the_cache_have_a_rate_of_their_own() -> None:
    usage = WithWrites(input_tokens=1000, cached_input_tokens=200, cache_write_tokens=300)
    # 500 × $3, 200 × $0.30 and 300 × $3.75 a million
    assert price("claude-sonnet-4-5", "anthropic", usage) == Decimal("0.002685")


def test_off_peak_rates_hold_in_their_hours_only() -> None:
    usage = Usage(input_tokens=10**6)
    weekday, weekend = datetime(2026, 1, 28, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
    entry = find_entry("deepseek/deepseek-v4-flash", "deepseek")
    assert entry is not None
    assert entry.off_peak is not None
    dear, cheap = entry.base.input, entry.off_peak.input
    assert dear is not None
    assert cheap is not None
    assert cheap < dear
    prices = {
        hour: price("deepseek/deepseek-v4-flash", "deepseek", usage, at=weekday + timedelta(hours=hour))
        for hour in (0, 2, 5, 7, 12)
    }
    assert prices == {0: cheap * 10**6, 2: dear * 10**6, 5: cheap * 10**6, 7: dear * 10**6, 12: cheap * 10**6}
    assert price("deepseek/deepseek-v4-flash", "deepseek", usage, at=weekend + timedelta(hours=2)) == cheap * 10**6


def test_a_window_past_midnight_and_the_calendar_of_its_weekday() -> None:
    (window,) = windows_of({"hours_utc": "22:30-00:30"})
    assert window.holds_at(datetime(2026, 1, 28, 23, 0, tzinfo=UTC))
    assert window.holds_at(datetime(2026, 1, 28, 0, 29, tzinfo=UTC))
    assert not window.holds_at(datetime(2026, 1, 28, 0, 30, tzinfo=UTC))
    rule = {"hours_utc": "00:00-00:00", "weekdays": [6]}
    (saturday,) = windows_of({"windows": [rule], "weekday_timezone": "Asia/Shanghai"})
    assert saturday.holds_at(datetime(2026, 1, 30, 17, 0, tzinfo=UTC))  # Saturday 01:00 in Shanghai
    assert not saturday.holds_at(datetime(2026, 1, 31, 17, 0, tzinfo=UTC))


def _rows() -> list[tuple[str, str, bool]]:
    rows: dict[str, dict[str, Any]] = json.loads(price_table.table_path().read_bytes())
    named = []
    for key, row in rows.items():
        if row.get("mode") in PRICED_MODES:
            provider = _provider(str(row["litellm_provider"]))
            name = key if key.startswith(f"{provider}/") else f"{provider}/{key}"
            named.append((name, provider, row["mode"] == "embedding"))
    return named


def _provider(listed: str) -> str:
    """The prefix users write for the table's provider `vertex_ai-language-models`, `bedrock_converse` …"""
    for family in ("vertex_ai", "fireworks_ai"):
        if listed.startswith(family):
            return family
    return "bedrock" if listed == "bedrock_converse" else listed


def test_the_whole_table_is_priced_as_litellm_prices_it() -> None:
    from_litellm = _litellm_price(load_litellm())
    compared = tiered = 0
    for model, provider, is_embedding in _rows():
        if provider in UNLIKE_LITELLM or (entry := find_entry(model, provider)) is None:
            continue
        tiered += bool(entry.tiers or entry.surcharges)
        for usage in USAGES:
            ours = price(model, provider, usage)
            theirs = from_litellm(model, provider, usage, is_embedding)
            if ours is None:
                assert theirs == 0, model
                continue
            compared += 1
            assert float(ours) == pytest.approx(theirs, rel=1e-9, abs=1e-15), (model, usage)
            ceiling = worst_case(model, provider, usage.input_tokens, usage.output_tokens)
            assert ceiling is not None
            assert ceiling >= ours, (model, usage)
    assert compared > 200 * len(USAGES)
    assert tiered > 50


def _litellm_price(litellm: Any) -> Any:
    from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper
    from litellm.types.utils import Usage as TheirUsage

    def cost(model: str, provider: str, usage: Usage, is_embedding: bool) -> float:
        theirs = TheirUsage(
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
            prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=usage.cached_input_tokens),
            completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=usage.reasoning_tokens),
        )
        parts: tuple[float, float] = litellm.cost_per_token(
            model=model,
            custom_llm_provider=provider,
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            usage_object=theirs,
            call_type="embedding" if is_embedding else "completion",
        )
        return sum(parts)

    return cost


def named(**fields: object) -> ModelInfo:
    """A model as its table describes it."""
    return ModelInfo.model_validate({"model": "fast", "provider": "openai", "identity": "x", **fields})


def test_a_named_models_price_is_exact_for_every_kind_of_token() -> None:
    model = named(price={"input": "0.10", "output": "0.40", "cached_input": "0.025", "cache_write": "0.125"})
    usage = Usage(
        input_tokens=1000, cached_input_tokens=300, cache_write_tokens=100, output_tokens=50, reasoning_tokens=20
    )
    # 600 at 10 cents, 300 at 2.5, 100 at 12.5, 50 at 40 cents a million
    assert price_of(model, usage) == Decimal("0.0001")
    assert worst_case_of(model, 1000, 50) == Decimal("0.000145")  # every token of the input written to the cache
    plain = named(price={"input": 1, "output": 2})
    assert price_of(plain, usage) == Decimal("0.0011")
    assert price_of(named(price={"input": 0, "output": 0}), usage) == 0


def test_without_a_price_of_its_own_a_named_model_costs_what_it_stands_for() -> None:
    usage = Usage(input_tokens=1_000_000)
    assert price_of(named(stands_for="gpt-4o-mini"), usage) == Decimal("0.15")
    assert worst_case_of(named(stands_for="gpt-4o-mini"), 1_000_000, 0) == Decimal("0.15")
    assert price_of(named(), usage) is None


def test_prices_per_million_are_said_or_unknown() -> None:
    shown = price_per_million(named(stands_for="gpt-4o-mini"))
    assert shown is not None
    assert (shown.input, shown.cached_input, shown.output) == (Decimal("0.15"), Decimal("0.075"), Decimal("0.60"))
    tiered = price_per_million(named(stands_for="dashscope/qwen-plus", provider="dashscope"))
    assert tiered is not None
    assert tiered.input > 0
    assert price_per_million(named(stands_for="no/such", provider="no")) is None
    free = price_per_million(named(stands_for="ollama/any", provider="ollama"))
    assert free is not None
    assert (free.input, free.output) == (0, 0)
