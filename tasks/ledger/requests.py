"""Reading `llm_requests`: one request, a user's requests, a stored answer."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from blocks.database import database_errors
from schemas.calls import CallKind, CostSource, ProviderReply, RequestStatus
from schemas.errors import NotFound
from schemas.tables import Answer, LlmBody, LlmRequest
from tasks.ledger.budgets import ZERO
from tasks.ledger.session import open_ledger
from tasks.ledger.settlement import unpack_reply


class RequestRecord(BaseModel):
    """One attempt at a provider call, as on record."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    run_id: UUID | None
    step_id: UUID | None
    project: str
    user_id: str | None
    kind: CallKind
    purpose: str | None
    provider: str
    model: str
    answered_model: str | None
    attempt: int
    status: RequestStatus
    replayed_from: UUID | None
    request: dict[str, Any] | None
    response: dict[str, Any] | None
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    reasoning_tokens: int | None
    reserved_usd: Decimal | None
    cost_usd: Decimal | None
    cost_source: CostSource
    latency_ms: int | None
    finish_reason: str | None
    error_class: str | None
    error_message: str | None
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = [LlmRequest.__table__.c[name] for name in RequestRecord.model_fields]


async def get_request(request_id: UUID) -> RequestRecord:
    """The request with this id.

    Raises:
        NotFound: there is none.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                row = (await connection.execute(select(*_COLUMNS).where(LlmRequest.id == request_id))).first()
    if row is None:
        raise NotFound(f"there is no request {request_id}", request_id=str(request_id))
    return RequestRecord.model_validate(row)


async def list_requests(user: str, *, limit: int = 100, before: UUID | None = None) -> list[RequestRecord]:
    """The latest requests made for `user`, newest first.

    Args:
        limit: at most so many.
        before: only requests older than this one, to page on.
    """
    statement = select(*_COLUMNS).where(LlmRequest.user_id == user).order_by(LlmRequest.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(LlmRequest.id < before)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(statement)).all()
    return [RequestRecord.model_validate(row) for row in rows]


class StoredAnswer(BaseModel):
    """An answer that can be used again."""

    model_config = ConfigDict(frozen=True)

    request_id: UUID
    kind: CallKind
    answered_model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_source: CostSource
    latency_ms: int
    finish_reason: str | None
    reply: ProviderReply


async def read_stored_answer(engine: AsyncEngine, request_id: UUID) -> StoredAnswer | None:
    """The answer of a request; None when retention has erased them."""
    statement = (
        select(
            LlmRequest.id.label("request_id"),
            LlmRequest.kind,
            LlmRequest.answered_model,
            LlmRequest.input_tokens,
            LlmRequest.output_tokens,
            LlmRequest.cost_source,
            func.coalesce(LlmRequest.latency_ms, 0).label("latency_ms"),
            LlmRequest.finish_reason,
            LlmBody.reply,
        )
        .join(LlmBody, LlmBody.request_id == LlmRequest.id)
        .where(LlmRequest.id == request_id, LlmBody.reply.is_not(None))
    )
    with database_errors():
        async with engine.connect() as connection:
            row = (await connection.execute(statement)).mappings().first()
    return None if row is None else StoredAnswer(**{**row, "reply": unpack_reply(row["reply"])})


def replay_columns(stored: StoredAnswer) -> dict[str, Any]:
    """What the row of a replay says: nothing paid, the original's tokens and latency."""
    return {
        "status": "replayed",
        "replayed_from": stored.request_id,
        "answered_model": stored.answered_model,
        "input_tokens": stored.input_tokens,
        "output_tokens": stored.output_tokens,
        "cost_usd": ZERO,
        "cost_source": stored.cost_source,
        "latency_ms": stored.latency_ms,
        "finish_reason": stored.finish_reason,
    }


async def forget_answer(engine: AsyncEngine, key: str) -> None:
    """The key may be asked anew: what answered it is no longer kept."""
    with database_errors():
        async with engine.begin() as connection:
            await connection.execute(delete(Answer).where(Answer.key == key, Answer.status == "answered"))
