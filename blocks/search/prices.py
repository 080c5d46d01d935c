"""What one search costs, by LiteLLM's price table, in exact decimals; z.ai's is from its own price list."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

from blocks.providers.price_table import table_path
from schemas.calls import SearchCall

ZAI_USD = Decimal("0.01")
"""A use of web search (docs.z.ai, "Pricing", tools)."""
FREE = frozenset({"searxng", "duckduckgo"})
"""Run by oneself, or open to all; other zeros of the table stand for prices that nobody entered."""


def search_price(call: SearchCall) -> Decimal | None:
    """The price of `call` in USD whatever it finds; None when it is not known, never 0 for unknown."""
    provider = call.model.partition("/")[0]
    if provider == "zai":
        return ZAI_USD
    if provider in FREE:
        return Decimal(0)
    row = _table().get(call.model, {})
    tiers = [tier for tier in row.get("tiered_pricing", ()) if "max_results_range" in tier]
    for tier in tiers:
        if call.count <= tier["max_results_range"][1]:
            return Decimal(tier["input_cost_per_query"])
    return row.get("input_cost_per_query") or (Decimal(tiers[-1]["input_cost_per_query"]) if tiers else None)


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Any]]:
    with table_path().open(encoding="utf-8") as file:
        rows: dict[str, dict[str, Any]] = json.load(file, parse_float=Decimal)
    return {name: row for name, row in rows.items() if row.get("mode") == "search"}
