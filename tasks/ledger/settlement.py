"""What a call came to: the columns that settle its row and the money it moves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from blocks.providers.exchange import Exchange
from blocks.providers.image_prices import image_cost
from blocks.providers.prices import price_of
from blocks.providers.rerank_prices import rerank_cost
from schemas.calls import (
    CostEstimate,
    CostSource,
    EmbeddingCall,
    ImageCall,
    ModelInfo,
    ProviderCall,
    ProviderReply,
    RerankCall,
    SearchCall,
    Usage,
)
from schemas.canonical import postgres_json, postgres_text
from schemas.errors import HeadraceError, ProviderTimeout
from tasks.ledger.bodies import LARGE, Bodies, PackedBodies, are_long
from tasks.ledger.budgets import CENT_FRACTION, MOST_USD, ZERO, Reservation
from tasks.ledger.operations import Settle

HTTP_OK = 200
MOST_TOKENS = 2**31 - 1
"""What is beyond is no count: the provider said nothing that can be believed."""

_COUNTED_ONLY_IN_COST = {"cache_write_tokens", "output_text_tokens"}

UNSAID: dict[str, Any] = {
    "answered_model": None,
    "response": None,
    "input_tokens": None,
    "output_tokens": None,
    "cached_input_tokens": None,
    "reasoning_tokens": None,
    "finish_reason": None,
    "error_class": None,
    "error_message": None,
    "provider_request_id": None,
}
"""Columns that every settlement writes; those an outcome does not know are NULL."""


@dataclass(frozen=True)
class Settlement:
    """How one reserved request is settled, whatever comes of it."""

    call: ProviderCall
    model: ModelInfo
    estimate: CostEstimate
    key: str
    worker_id: UUID
    request_id: UUID
    exchange: Exchange
    claim_id: UUID | None = None
    held: Reservation | None = None

    def success(self, reply: ProviderReply, began: float) -> Settle:
        """The call was answered; where its price is unknown the budget keeps the worst case as spent."""
        cost, source = self._cost(reply)
        columns: dict[str, Any] = {
            "status": "succeeded",
            "answered_model": postgres_text(reply.model),
            "response": self._readable(reply),
            "cost_usd": cost,
            "cost_source": source,
            "finish_reason": _text(reply.finish_reason),
            "provider_request_id": _text(reply.provider_request_id),
            **_believable(reply.usage),
        }
        return self._settle(columns, began, spent_usd=cost, reply=reply)

    def failure(self, error: BaseException, began: float) -> Settle:
        """A refused call cost nothing; one whose outcome nobody knows counts with its worst case.

        An answer that was withheld after it was made costs what its usage says.
        """
        columns: dict[str, Any] = {
            "error_class": type(error).__name__,
            "error_message": postgres_text(str(error)) if isinstance(error, HeadraceError) else "interrupted",
        }
        withheld = self.exchange.reply
        if withheld is not None:
            cost, source = self._cost(withheld)
            columns |= {"status": "failed", "cost_usd": cost, "cost_source": source, **_believable(withheld.usage)}
            return self._settle(columns, began, spent_usd=cost)
        refused = isinstance(error, HeadraceError) and not isinstance(error, ProviderTimeout)
        unknown = not refused or self.exchange.status == HTTP_OK
        cost = None if unknown else ZERO
        columns |= {
            "status": "unknown" if unknown else "failed",
            "cost_usd": cost,
            "cost_source": self.estimate.source,
        }
        return self._settle(columns, began, spent_usd=cost)

    def unrecordable(self, began: float) -> Settle:
        """The call was made and its outcome cannot be stored: it counts with its worst case."""
        columns = {
            "status": "unknown",
            "cost_usd": None,
            "cost_source": self.estimate.source,
            "error_class": "OutcomeLost",
            "error_message": "the outcome could not be recorded",
        }
        return self._settle(columns, began, spent_usd=None, keep_bodies=False)

    def withdrawn(self) -> Settle:
        """The caller was gone before the provider was asked: nothing was spent."""
        columns = {
            "status": "failed",
            "cost_usd": ZERO,
            "cost_source": self.estimate.source,
            "error_class": "Withdrawn",
            "error_message": "the caller was interrupted before the provider was asked",
        }
        return self._settle(columns, time.monotonic(), spent_usd=ZERO, keep_bodies=False)

    def _settle(
        self,
        columns: dict[str, Any],
        began: float,
        *,
        spent_usd: Decimal | None,
        reply: ProviderReply | None = None,
        keep_bodies: bool = True,
    ) -> Settle:
        latency_ms = self.exchange.job_ms or round((time.monotonic() - began) * 1000)
        known = {"latency_ms": latency_ms, "provider_request_id": self.exchange.job_id}
        return Settle(
            row={"id": self.request_id, **UNSAID, **known, **columns},
            key=self.key,
            worker_id=self.worker_id,
            spent_usd=spent_usd,
            answers=reply is not None,
            bodies=self._bodies(reply) if keep_bodies else None,
            claim_id=self.claim_id,
            held=self.held,
        )

    def _cost(self, reply: ProviderReply) -> tuple[Decimal | None, CostSource]:
        if self.model.local:
            return ZERO, "local"
        said = reply.provider_cost_usd
        if said is not None and not self.model.has_own_price and said.is_finite() and ZERO <= said < MOST_USD:
            return said.quantize(CENT_FRACTION), "provider"
        if isinstance(self.call, SearchCall):  # has a price of its own, whatever is found
            return self.estimate.usd, self.estimate.source
        timed = self.model.time_usd(reply.billed_seconds)
        if timed is not None:
            return timed.quantize(CENT_FRACTION), "price_table"
        usage = reply.usage if reply.usage and _believable(reply.usage) else None
        cost = self._price(reply, usage)
        return (None, "unpriced") if cost is None else (cost.quantize(CENT_FRACTION), "price_table")

    def _price(self, reply: ProviderReply, usage: Usage | None) -> Decimal | None:
        match self.call:
            case ImageCall():
                images = self.call.n if reply.images is None else len(reply.images)
                return image_cost(self.model, self.call, usage, images)
            case RerankCall():
                return rerank_cost(self.model, self.call, usage, reply.search_units)
        return price_of(self.model, usage) if usage else None

    def _readable(self, reply: ProviderReply) -> dict[str, Any] | None:
        """What a person wants to see of the answer; the exact bytes are in `llm_bodies`."""
        if isinstance(self.call, EmbeddingCall):
            return None
        if reply.results is not None:
            return {"results": postgres_json([result.model_dump() for result in reply.results])}
        if reply.images is not None:
            shown = [image.model_dump(exclude={"base64"}) | {"bytes": len(image.data)} for image in reply.images]
            return {"images": postgres_json(shown)}
        if reply.ranking is not None:
            return {"ranking": postgres_json([row.model_dump() for row in reply.ranking])}
        return {"content": postgres_text(reply.text), "finish_reason": _text(reply.finish_reason)}

    def _bodies(self, reply: ProviderReply | None) -> Bodies | PackedBodies | None:
        """What is large of an answer is left to the recorder to pack, beside whatever else is going on."""
        request, response = self.exchange.request_bytes, self.exchange.response_bytes
        if request is None and reply is None:
            return None
        bodies = Bodies(request or b"", response, reply, self._long_texts())
        return bodies if reply is not None and bodies.size > LARGE else bodies.packed()

    def _long_texts(self) -> Sequence[str]:
        """What the row of the request leaves out."""
        texts = self.call.texts if isinstance(self.call, EmbeddingCall) else ()
        return texts if are_long(texts) else ()


def _text(said: str | None) -> str | None:
    return None if said is None else postgres_text(said)


def _believable(usage: Usage | None) -> dict[str, int]:
    """The counts as columns; none where the provider did not say, or says what cannot be."""
    counts = usage.model_dump() if usage else {}
    if not all(0 <= count <= MOST_TOKENS for count in counts.values()):
        return {}
    return {name: count for name, count in counts.items() if name not in _COUNTED_ONLY_IN_COST}
