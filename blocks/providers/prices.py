"""What a call costs, and the most it can cost, by LiteLLM's price table, in exact decimals.

The arithmetic is that of `litellm.cost_per_token` for text: cached input, cache writes and reasoning
at their own rates where the table has them, surcharges and tiers by the length of the input, and
off-peak hours. A test holds the two side by side over the whole table.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

from blocks.providers.price_table import SELF_HOSTED, Entry, Rates, Tier, find_entry
from schemas.calls import ModelInfo, Usage
from schemas.named_models import TokenPrice

_MILLION = Decimal(1_000_000)
_FIREWORKS_CACHE_READ = Decimal("0.5")
"""Share of the input rate that Fireworks asks for cached input where the table names no rate."""


def price(model: str, provider: str, usage: Usage, *, at: datetime | None = None) -> Decimal | None:
    """The cost of `usage` in USD, or None when the table does not say; never 0 for unknown.

    Args:
        model: LiteLLM name, with or without the provider's prefix.
        provider: as `ModelInfo.provider` has it; `local` costs nothing.
        at: when the call was made, for providers with off-peak rates; now when not given.
    """
    entry = _priced(model, provider)
    if entry is None:
        return _free(provider)
    rates = _apply_off_peak(entry, _rates_for(entry, usage.input_tokens), at or datetime.now(UTC))
    return _cost(_complete(rates, entry.provider), usage)


def worst_case(model: str, provider: str, input_tokens: int, max_output_tokens: int) -> Decimal | None:
    """The most that a call with these token counts can cost in USD, or None when the table does not say.

    Every token counts at the dearest rate it may meet: input as written to the cache, output as
    reasoning, no off-peak discount.
    """
    entry = _priced(model, provider)
    if entry is None:
        return _free(provider)
    rates = _complete(_rates_for(entry, input_tokens), entry.provider)
    return input_tokens * _dearest(rates.input, rates.cache_write) + max_output_tokens * _dearest(
        rates.output, rates.reasoning
    )


def price_of(model: ModelInfo, usage: Usage, *, at: datetime | None = None) -> Decimal | None:
    """As `price`, by what a named model's table says where it says something."""
    if model.price is not None:
        return _cost(_named_rates(model.price), usage)
    return price(model.litellm_model, model.provider, usage, at=at)


def worst_case_of(model: ModelInfo, input_tokens: int, max_output_tokens: int) -> Decimal | None:
    """As `worst_case`, by what a named model's table says where it says something."""
    if model.price is None:
        return worst_case(model.litellm_model, model.provider, input_tokens, max_output_tokens)
    rates = _named_rates(model.price)
    return input_tokens * _dearest(rates.input, rates.cache_read, rates.cache_write) + max_output_tokens * _dearest(
        rates.output
    )


def price_per_million(model: ModelInfo) -> TokenPrice | None:
    """The standard rates of `model`, surcharges and off-peak hours apart; None where no price is known."""
    if model.price is not None:
        return model.price
    entry = _priced(model.litellm_model, model.provider)
    if entry is None:
        return TokenPrice(input=Decimal(0), output=Decimal(0)) if _free(model.provider) is not None else None
    base = entry.base if entry.base.input is not None or not entry.tiers else entry.tiers[0].rates
    rates = _complete(base, entry.provider)
    return TokenPrice(
        input=_dearest(rates.input) * _MILLION,
        output=_dearest(rates.output) * _MILLION,
        cached_input=_dearest(rates.cache_read) * _MILLION,
    )


def _named_rates(said: TokenPrice) -> Rates:
    """USD per token, every kind with a rate."""
    return Rates(
        input=said.input / _MILLION,
        output=said.output / _MILLION,
        cache_read=_first(said.cached_input, said.input) / _MILLION,
        cache_write=_first(said.cache_write, said.input) / _MILLION,
        reasoning=said.output / _MILLION,
    )


def _priced(model: str, provider: str) -> Entry | None:
    entry = find_entry(model, provider)
    return entry if entry is not None and entry.has_token_rates else None


def _free(provider: str) -> Decimal | None:
    return Decimal(0) if provider == "local" or provider in SELF_HOSTED else None


def _rates_for(entry: Entry, input_tokens: int) -> Rates:
    """The rates a call with `input_tokens` is billed at, before any off-peak discount."""
    if entry.tiers and input_tokens > 0:
        return _tier_for(entry.tiers, input_tokens, entry.base)
    rates = entry.base
    reached = input_tokens + 1 if entry.provider == "xai" else input_tokens  # xAI's thresholds are inclusive
    for surcharge in entry.surcharges:
        if reached > surcharge.above:
            rates = _override(rates, surcharge.rates)
    return rates


def _tier_for(tiers: tuple[Tier, ...], input_tokens: int, base: Rates) -> Rates:
    """The one tier that holds `input_tokens`, the last where none does; output falls back to the base's."""
    fitting = (tier.rates for tier in tiers if tier.above < input_tokens <= (tier.up_to or input_tokens))
    rates = next(fitting, tiers[-1].rates)
    return rates if rates.output is not None else replace(rates, output=base.output)


def _apply_off_peak(entry: Entry, rates: Rates, at: datetime) -> Rates:
    if entry.off_peak is None or not any(window.holds_at(at) for window in entry.windows):
        return rates
    return _override(rates, entry.off_peak)


def _override(rates: Rates, other: Rates) -> Rates:
    changed = {field.name: getattr(other, field.name) for field in fields(other)}
    return replace(rates, **{name: rate for name, rate in changed.items() if rate is not None})


def _complete(rates: Rates, provider: str) -> Rates:
    """`rates` without gaps: a kind of token without a rate of its own is billed as plain input or output."""
    input_rate, output_rate = rates.input or Decimal(0), rates.output or Decimal(0)
    cached = input_rate * _FIREWORKS_CACHE_READ if provider == "fireworks_ai" else input_rate
    return Rates(
        input=input_rate,
        output=output_rate,
        cache_read=_first(rates.cache_read, cached),
        cache_write=_first(rates.cache_write, input_rate),
        reasoning=_first(rates.reasoning, output_rate),
    )


def _first(rate: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if rate is None else rate


def _cost(rates: Rates, usage: Usage) -> Decimal:
    """The sum over the kinds of tokens; cached and written tokens are parts of the input, reasoning of the output."""
    read, written = usage.cached_input_tokens, usage.cache_write_tokens
    counts = (
        (max(usage.input_tokens - read - written, 0), rates.input),
        (read, rates.cache_read),
        (written, rates.cache_write),
        (max(usage.output_tokens - usage.reasoning_tokens, 0), rates.output),
        (usage.reasoning_tokens, rates.reasoning),
    )
    return sum((count * rate for count, rate in counts if rate is not None), Decimal(0))


def _dearest(*rates: Decimal | None) -> Decimal:
    return max(rate for rate in rates if rate is not None)
