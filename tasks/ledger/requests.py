"""Reading `llm_requests`: one request, a user's requests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from blocks.database import database_errors
from schemas.calls import CallKind, CostSource, RequestStatus
from schemas.errors import NotFound
from schemas.tables import LlmRequest
from tasks.ledger.session import open_ledger


class RequestRecord(BaseModel):
    """One attempt at a provider call, as on record; a replay's texts are those of `replayed_from`.

    Attributes:
        saved_usd: of a replay, what the request it replays has cost; None of others, and where that is not known.
        model: the name that was called; where it stands for another, `request` has that one.
        context: what the caller said; `fallback_for` names the model that was asked for and could not answer.
    """

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
    saved_usd: Decimal | None
    cost_source: CostSource
    latency_ms: int | None
    finish_reason: str | None
    error_class: str | None
    error_message: str | None
    provider_request_id: str | None
    context: dict[str, Any] | None
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = [LlmRequest.__table__.c[name].label(name) for name in RequestRecord.model_fields]


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
