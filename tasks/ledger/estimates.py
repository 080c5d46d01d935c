"""What a call can cost at worst, before it is made."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from blocks.providers.image_prices import image_worst_case, is_billed_by_token, most_output_tokens
from blocks.providers.prices import worst_case_of
from blocks.providers.rerank_prices import count_rerank_tokens, rerank_worst_case
from blocks.providers.token_bound import count_text_tokens
from blocks.search.prices import search_price
from schemas.calls import (
    ChatCall,
    CostEstimate,
    CostSource,
    ImageCall,
    ModelInfo,
    ProviderCall,
    RerankCall,
    SearchCall,
)
from tasks.ledger.budgets import CENT_FRACTION, ZERO
from tasks.ledger.session import Ledger


async def describe_model(ledger: Ledger, call: ProviderCall) -> ModelInfo:
    """What is known of the model or search provider that `call` asks.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if isinstance(call, SearchCall):
        return ledger.providers.web.describe(call.model)
    return await ledger.providers.describe(call.model)


async def estimate_call(ledger: Ledger, call: ProviderCall, model: ModelInfo) -> CostEstimate:
    """What the call can cost at worst."""
    input_tokens, output_tokens = await _most_tokens(ledger, call, model)
    usd = _worst_case(call, model, input_tokens, output_tokens)
    if usd is not None:
        usd = usd.quantize(CENT_FRACTION, ROUND_CEILING)
    source: CostSource = "local" if model.local else "unpriced" if usd is None else "price_table"
    return CostEstimate(
        model=call.model, input_tokens=input_tokens, max_output_tokens=output_tokens, usd=usd, source=source
    )


async def _most_tokens(ledger: Ledger, call: ProviderCall, model: ModelInfo) -> tuple[int, int]:
    """The most tokens of input and output."""
    match call:
        case SearchCall():
            return 0, 0
        case ImageCall():
            return count_text_tokens(call.prompt), most_output_tokens(call) if is_billed_by_token(model) else 0
        case RerankCall():
            return count_rerank_tokens(call), 0
    output_tokens = call.parameters.max_tokens if isinstance(call, ChatCall) else 0
    return await ledger.providers.count_tokens(call), output_tokens


def _worst_case(call: ProviderCall, model: ModelInfo, input_tokens: int, output_tokens: int) -> Decimal | None:
    """In USD; None when no price is known."""
    match call:
        case SearchCall():
            return search_price(call)
        case ImageCall():
            return image_worst_case(model, call, input_tokens)
        case RerankCall():
            return rerank_worst_case(model, call)
    usd = ZERO if model.local else model.time_usd()
    return worst_case_of(model, input_tokens, output_tokens) if usd is None else usd
