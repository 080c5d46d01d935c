"""Prices of models that applications still name and LiteLLM's table lists no more: the rows it had.

Without them such a model would count as unpriced, and be refused under a budget. A row of the table comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# Claude 3 Haiku, 0.25 and 1.25 USD per million tokens of input and output: the price list of Anthropic, and for
# Bedrock that of AWS (on demand, us-east-1), which are equal.
_CLAUDE_3_HAIKU: Mapping[str, Any] = {
    "mode": "chat",
    "input_cost_per_token": Decimal("0.25e-6"),
    "output_cost_per_token": Decimal("1.25e-6"),
    "max_input_tokens": 200_000,
    "max_output_tokens": 4096,
}
FORMER_ROWS: Mapping[str, Mapping[str, Any]] = {
    "anthropic.claude-3-haiku-20240307-v1:0": {**_CLAUDE_3_HAIKU, "litellm_provider": "bedrock"},
    "claude-3-haiku-20240307": {
        **_CLAUDE_3_HAIKU,
        "litellm_provider": "anthropic",
        "cache_read_input_token_cost": Decimal("0.03e-6"),
        "cache_creation_input_token_cost": Decimal("0.30e-6"),
    },
}
