"""What LiteLLM's price table says of a model: rates per token, context window, longest answer.

The table is the JSON file that LiteLLM ships. It is read without importing LiteLLM, which would take
seconds, and its numbers are read as `Decimal`, so that no rate passes through a binary fraction.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from blocks.providers.former_prices import FORMER_ROWS
from blocks.providers.off_peak import Window, windows_of

PRICED_MODES = frozenset({"chat", "completion", "responses", "embedding"})
SELF_HOSTED = frozenset({"ollama", "ollama_chat", "lemonade", "llamafile", "lm_studio"})
"""Providers whose models run on hardware of the caller's own: a token costs nothing."""

_FAMILIES = ("bedrock", "fireworks_ai", "vertex_ai", "cohere")
_ABOVE = re.compile(r"^(?P<rate>[a-z_]+_(?:cost|token))_above_(?P<thousands>\d+)k_tokens$")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Rates:
    """USD per token; None where the table has no rate of its own for that kind of token."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


@dataclass(frozen=True)
class Tier:
    """Rates for calls whose whole input is longer than `above` tokens and at most `up_to`."""

    above: int
    up_to: int | None
    rates: Rates


@dataclass(frozen=True)
class Entry:
    """One model of the table.

    Attributes:
        base: the standard rates.
        surcharges: tiers whose rates replace single standard rates; ascending, all that apply count.
        tiers: tiers that replace the standard rates as a whole; exactly one applies.
        off_peak: rates that replace the others during `windows`.
        reasoning: it may think before it answers, within its output tokens.
    """

    provider: str
    max_input_tokens: int | None
    max_output_tokens: int | None
    base: Rates
    surcharges: tuple[Tier, ...] = ()
    tiers: tuple[Tier, ...] = ()
    off_peak: Rates | None = None
    windows: tuple[Window, ...] = ()
    reasoning: bool = False

    @cached_property
    def has_token_rates(self) -> bool:
        """True when tokens have a price; rows of zeros stand for prices nobody entered."""
        known = (self.base.input, self.base.output, *(tier.rates.input for tier in self.tiers))
        return any(rate for rate in known) or self.provider in SELF_HOSTED


@lru_cache(maxsize=1024)
def find_entry(model: str, provider: str) -> Entry | None:
    """The table's entry for LiteLLM name `model` at `provider`, or None when it has none."""
    table = _table()
    for name in _names(model, provider):
        row = table.get(name)
        if row is not None and _same_provider(str(row["litellm_provider"]), provider):
            return _entry(row)
    return None


def _names(model: str, provider: str) -> list[str]:
    """Keys to look under, the most specific first: as given, bare, fine-tuned base, undated."""
    bare = model.removeprefix(f"{provider}/")
    names = [f"{provider}/{bare}", bare]
    if bare.startswith("ft:"):
        names.append(":".join(bare.split(":")[:2]))
    if _DATED.search(bare):
        undated = _DATED.sub("", bare)
        names += [f"{provider}/{undated}", undated]
    return names


def _same_provider(listed: str, provider: str) -> bool:
    return listed == provider or any(listed.startswith(family) and provider.startswith(family) for family in _FAMILIES)


@lru_cache(maxsize=4)
def rows_of_mode(mode: str) -> Mapping[str, Mapping[str, Any]]:
    """The rows of models that are not billed as chat is (`image_generation`, `rerank`), as the table has them."""
    return {name: row for name, row in _whole_table().items() if row.get("mode") == mode}


def _whole_table() -> dict[str, dict[str, Any]]:
    with table_path().open(encoding="utf-8") as file:
        rows: dict[str, dict[str, Any]] = json.load(file, parse_float=Decimal)
    return rows


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Any]]:
    rows = _whole_table()
    return {name: _kept(row) for name, row in {**FORMER_ROWS, **rows}.items() if row.get("mode") in PRICED_MODES}


def table_path() -> Path:
    """Where the installed LiteLLM keeps its price table."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:  # pragma: no cover - a dependency of the project
        raise ModuleNotFoundError("litellm is not installed; its price table is needed")
    return Path(found.origin).with_name("model_prices_and_context_window_backup.json")


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in _KEPT or key in _RATE_KEYS or _ABOVE.match(key)}


_KEPT = {
    "litellm_provider",
    "max_input_tokens",
    "max_output_tokens",
    "supports_reasoning",
    "tiered_pricing",
    "off_peak_pricing",
}
_RATE_KEYS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}


def _entry(row: Mapping[str, Any]) -> Entry:
    off_peak = row.get("off_peak_pricing")
    return Entry(
        provider=str(row["litellm_provider"]),
        max_input_tokens=_count(row.get("max_input_tokens")),
        max_output_tokens=_count(row.get("max_output_tokens")),
        base=_rates(row),
        surcharges=_surcharges(row),
        tiers=_tiers(row.get("tiered_pricing") or ()),
        off_peak=_rates(off_peak) if off_peak else None,
        windows=windows_of(off_peak) if off_peak else (),
        reasoning=bool(row.get("supports_reasoning")),
    )


def _rates(row: Mapping[str, Any]) -> Rates:
    return Rates(**{field: _decimal(row.get(key)) for key, field in _RATE_KEYS.items()})


def _surcharges(row: Mapping[str, Any]) -> tuple[Tier, ...]:
    """`input_cost_per_token_above_200k_tokens` and its like, gathered by threshold."""
    found: dict[int, dict[str, Decimal | None]] = {}
    for key, value in row.items():
        match = _ABOVE.match(key)
        if match and match["rate"] in _RATE_KEYS:
            found.setdefault(int(match["thousands"]) * 1000, {})[_RATE_KEYS[match["rate"]]] = _decimal(value)
    return tuple(Tier(above, None, Rates(**rates)) for above, rates in sorted(found.items()))


def _tiers(rows: Any) -> tuple[Tier, ...]:
    tiers = [Tier(int(row["range"][0]), int(row["range"][1]), _rates(row)) for row in rows if "range" in row]
    return tuple(sorted(tiers, key=lambda tier: tier.above))


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def _count(value: Any) -> int | None:
    return None if value is None else int(value)
