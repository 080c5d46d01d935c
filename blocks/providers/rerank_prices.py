"""What rankings cost, by LiteLLM's price table, in exact decimals.

Cohere, and those who offer its models, bill search units: one is a query with up to 100 documents, where a
document of more than 500 tokens, the query's included, counts as several
(https://cohere.com/pricing, "Rerank"). Jina, Voyage and others bill tokens: the query's once for each
document, and those of all documents (https://docs.voyageai.com/docs/pricing, "Rerankers").
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from blocks.providers.price_table import rows_of_mode
from blocks.providers.prices import price_of, worst_case_of
from blocks.providers.token_bound import TOKENS_PER_TEXT, count_text_tokens
from schemas.calls import ModelInfo, RerankCall, Usage
from schemas.named_models import TokenPrice

DOCUMENTS_PER_UNIT = 100
TOKENS_PER_DOCUMENT = 500


def count_rerank_tokens(call: RerankCall) -> int:
    """The most tokens that `call` is billed for where tokens are what is billed."""
    query = count_text_tokens(call.query) + TOKENS_PER_TEXT
    return sum(query + count_text_tokens(document) + TOKENS_PER_TEXT for document in call.documents)


def most_search_units(call: RerankCall) -> int:
    """The most search units that `call` is billed for."""
    query = count_text_tokens(call.query)
    pieces = sum(-(-(query + count_text_tokens(document)) // TOKENS_PER_DOCUMENT) for document in call.documents)
    return -(-pieces // DOCUMENTS_PER_UNIT)


def rerank_worst_case(model: ModelInfo, call: RerankCall) -> Decimal | None:
    """The most that `call` can cost in USD; None when no price is known."""
    per_query = _per_query(model)
    if per_query is not None:
        return most_search_units(call) * per_query
    tokens = count_rerank_tokens(call)
    if model.price is not None:
        return worst_case_of(model, tokens, 0)
    per_token = _rate(model, "input_cost_per_token")
    return None if per_token is None else tokens * per_token


def rerank_cost(model: ModelInfo, call: RerankCall, usage: Usage | None, search_units: int | None) -> Decimal | None:
    """What an answer cost, by the units or tokens it says; units that are not said are taken to be the most."""
    per_query = _per_query(model)
    if per_query is not None:
        units = most_search_units(call) if search_units is None else search_units
        return units * per_query
    if usage is None:
        return None
    if model.price is not None:
        return price_of(model, usage)
    per_token = _rate(model, "input_cost_per_token")
    return None if per_token is None else usage.input_tokens * per_token


def listed_price(model: ModelInfo) -> TokenPrice | Decimal | None:
    """USD per million tokens, or of one search unit; None where the model does not rerank or no price is known."""
    per_query = _per_query(model)
    if per_query is not None:
        return per_query
    per_token = _rate(model, "input_cost_per_token")
    return None if per_token is None else TokenPrice(input=per_token * 1_000_000, output=Decimal(0))


def _per_query(model: ModelInfo) -> Decimal | None:
    if model.price_per_query is not None or model.price is not None:
        return model.price_per_query
    return _rate(model, "input_cost_per_query")


def _rate(model: ModelInfo, name: str) -> Decimal | None:
    """A rate of the model's row; zeros stand for prices that nobody entered."""
    value = _row(model).get(name)
    return Decimal(value) if value else None


def _row(model: ModelInfo) -> Mapping[str, Any]:
    """The model's row, under its provider's name or without it; empty where there is none."""
    rows = rows_of_mode("rerank")
    bare = model.litellm_model.removeprefix(f"{model.provider}/")
    row = rows.get(f"{model.provider}/{bare}") or rows.get(bare) or {}
    return row if row.get("litellm_provider") == model.provider else {}
