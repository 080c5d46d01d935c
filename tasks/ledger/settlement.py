"""What a call came to: the columns that settle its row and the money it moves."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from blocks.providers.exchange import Exchange
from blocks.providers.prices import price
from schemas.calls import ChatCall, CostEstimate, CostSource, EmbeddingCall, ModelInfo, ProviderReply
from schemas.canonical import postgres_text
from schemas.errors import HeadraceError, ProviderTimeout
from tasks.ledger.budgets import ZERO
from tasks.ledger.operations import Reserved, Settle

HTTP_OK = 200
FAST = 1
"""zlib level: a fifth of the time of the default for a tenth more bytes."""

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
    """How one reserved call is settled, for either outcome."""

    call: ChatCall | EmbeddingCall
    model: ModelInfo
    estimate: CostEstimate
    key: str
    worker_id: UUID
    reserved: Reserved
    exchange: Exchange

    def success(self, reply: ProviderReply, began: float) -> Settle:
        """The call was answered; where its price is unknown the budget keeps the worst case as spent."""
        cost, source = self._cost(reply)
        columns: dict[str, Any] = {
            "status": "succeeded",
            "answered_model": postgres_text(reply.model),
            "response": self._readable(reply),
            "cost_usd": cost,
            "cost_source": source,
            "finish_reason": reply.finish_reason,
            "provider_request_id": reply.provider_request_id,
        }
        if reply.usage is not None:
            columns |= reply.usage.model_dump(exclude={"cache_write_tokens"})  # it is in the stored reply
        return self._settle(columns, began, spent_usd=self._held if cost is None else cost, reply=reply)

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
            columns |= {"status": "failed", "cost_usd": cost, "cost_source": source}
            return self._settle(columns, began, spent_usd=self._held if cost is None else cost)
        refused = isinstance(error, HeadraceError) and not isinstance(error, ProviderTimeout)
        unknown = not refused or self.exchange.status == HTTP_OK
        columns |= {
            "status": "unknown" if unknown else "failed",
            "cost_usd": None if unknown else ZERO,
            "cost_source": self.estimate.source,
        }
        return self._settle(columns, began, spent_usd=self._held if unknown else ZERO)

    @property
    def _held(self) -> Decimal:
        return self.estimate.usd or ZERO

    def _settle(
        self, columns: dict[str, Any], began: float, *, spent_usd: Decimal, reply: ProviderReply | None = None
    ) -> Settle:
        latency_ms = round((time.monotonic() - began) * 1000)
        return Settle(
            row={"id": self.reserved.request_id, **UNSAID, "latency_ms": latency_ms, **columns},
            key=self.key,
            worker_id=self.worker_id,
            budget_keys=self.reserved.budget_keys,
            reserved_usd=self._held,
            spent_usd=spent_usd,
            answers=reply is not None,
            bodies=self._bodies(reply),
        )

    def _cost(self, reply: ProviderReply) -> tuple[Decimal | None, CostSource]:
        if self.model.local:
            return ZERO, "local"
        if reply.provider_cost_usd is not None:
            return reply.provider_cost_usd, "provider"
        cost = price(self.call.model, self.model.provider, reply.usage) if reply.usage else None
        return cost, "unpriced" if cost is None else "price_table"

    def _readable(self, reply: ProviderReply) -> dict[str, Any] | None:
        """What a person wants to see of the answer; the exact bytes are in `llm_bodies`."""
        if isinstance(self.call, EmbeddingCall):
            return None
        return {"content": postgres_text(reply.text), "finish_reason": reply.finish_reason}

    def _bodies(self, reply: ProviderReply | None) -> tuple[bytes, bytes | None, bytes | None] | None:
        request, response = self.exchange.request_bytes, self.exchange.response_bytes
        if request is None:
            return None
        return (
            zlib.compress(request, FAST),
            None if response is None else zlib.compress(response, FAST),
            None if reply is None else pack_reply(reply),
        )


NOT_PACKED = {"request_bytes", "response_bytes"}


def pack_reply(reply: ProviderReply) -> bytes:
    """The reply as deflated JSON in ASCII, which can hold whatever a model says, lone surrogates included."""
    return zlib.compress(json.dumps(reply.model_dump(mode="json", exclude=NOT_PACKED)).encode("ascii"), FAST)


def unpack_reply(packed: bytes) -> ProviderReply:
    """The reply that `pack_reply` packed; its raw bodies are left where they are."""
    return ProviderReply(**json.loads(zlib.decompress(packed)), request_bytes=b"", response_bytes=b"")
