"""What a batch writes of requests that are settled: outcomes, bodies, answers, and the money they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from blocks.scripts import Script
from schemas.errors import JobEnded
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import Found
from tasks.ledger.bodies import Bodies, PackedBodies
from tasks.ledger.operations import Settle
from tasks.ledger.rows import REQUESTS_BY_ID, as_records, by_id, recordset

_SETTLE_COLUMNS = (
    "id",
    "status",
    "answered_model",
    "response",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "reasoning_tokens",
    "cost_usd",
    "cost_source",
    "latency_ms",
    "finish_reason",
    "error_class",
    "error_message",
    "provider_request_id",
)
_UPDATE = f"""
    UPDATE llm_requests SET {", ".join(f"{name} = r.{name}" for name in _SETTLE_COLUMNS[1:])},
        completed_at = clock_timestamp()
    FROM {recordset("llm_requests", _SETTLE_COLUMNS)}
    WHERE llm_requests.id = r.id AND {REQUESTS_BY_ID}
"""
_SETTLE = text(_UPDATE)
_SETTLE_RESERVED = text(f"""
    WITH settled AS ({_UPDATE} AND llm_requests.status = 'reserved' RETURNING r.id)
    SELECT 1 / CAST(count(*) = :count AS int) FROM settled
""")
"""Fails, as the statements of `assumptions` do, where one of the requests is not reserved (any more)."""
_STORE_BODIES = text("""
    INSERT INTO llm_bodies (request_id, request, response, reply)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:requests AS bytea[]), CAST(:responses AS bytea[]), CAST(:replies AS bytea[]))
    ON CONFLICT (request_id) DO UPDATE
    SET request = excluded.request, response = excluded.response, reply = excluded.reply
""")
# The claim may have been taken from a worker thought dead; its answer is good all the same, unless one stands.
_ANSWER = text("""
    INSERT INTO answers (key, status, request_id, worker_id, answered_at)
    SELECT r.key, 'answered', r.request_id, r.worker_id, clock_timestamp()
    FROM unnest(CAST(:keys AS text[]), CAST(:ids AS uuid[]), CAST(:workers AS uuid[])) AS r(key, request_id, worker_id)
    ON CONFLICT (key) DO UPDATE
    SET status = 'answered', request_id = excluded.request_id, answered_at = excluded.answered_at
    WHERE answers.status = 'claimed'
""")
# Only the claim of this very request: by now another one may be answering the key.
_RELEASE = text("""
    DELETE FROM answers
    USING unnest(CAST(:keys AS text[]), CAST(:ids AS uuid[]), CAST(:workers AS uuid[])) AS r(key, request_id, worker_id)
    WHERE answers.key = r.key AND answers.status = 'claimed' AND answers.request_id = r.request_id
""")


def settle(script: Script, batch: Batch, found: Found) -> None:
    """Outcomes will be on their rows, their money is moved, their keys answered or free; the first outcome counts.

    Claims of outcomes that come second, or of calls without a row, are given up too: they may have been made
    to wait for an earlier request's job.
    """
    first: dict[UUID, Settle] = {item.row["id"]: item for _, item in reversed(batch.of(Settle))}
    counting = [item for item in first.values() if _counts(item, found.requests.get(item.row["id"]))]
    _settle_rows(script, batch, found, counting)
    answering = [item for item in sorted(counting, key=lambda item: item.key) if item.answers]
    _close_claims(script, _ANSWER, [(item, item.row["id"]) for item in answering])
    answered = {id(item) for item in answering}
    closing = [item for _, item in batch.of(Settle) if id(item) not in answered]
    _close_claims(script, _RELEASE, [(item, item.claim_id or item.row["id"]) for item in closing])


def _counts(item: Settle, request: Any) -> bool:
    """Whether the outcome goes onto the request's row: nobody had settled it.

    Of a request whose outcome stays unknown it can still become known that its job has ended: nobody waits for it
    again.
    """
    was: str | None = None if request is None else request.status
    if was != "unknown":
        return was == "reserved"
    return bool(item.row["status"] != "unknown" or item.row["error_class"] == JobEnded.__name__)


def _settle_rows(script: Script, batch: Batch, found: Found, settling: Sequence[Settle]) -> None:
    if not settling:
        return
    settling = sorted(settling, key=lambda item: item.row["id"].int)  # the order in which their rows are locked
    rows = as_records([item.row for item in settling])
    which = by_id([item.row["id"] for item in settling])
    if found.locked:
        script.add(_SETTLE, {"rows": rows, **which})
    else:
        script.add(_SETTLE_RESERVED, {"rows": rows, "count": len(settling), **which})
    for item in settling:
        request_id = item.row["id"]
        found.held[request_id].settle(found.requests[request_id].status, item.spent_usd, batch.usage)
    batch.searched += [item.cached for item in settling if item.cached]
    _store_bodies(script, settling)


def _store_bodies(script: Script, settling: Sequence[Settle]) -> None:
    bodies = [(item.row["id"], *_packed(item.bodies)) for item in settling if item.bodies]
    if bodies:
        ids, requests, responses, replies = (list(column) for column in zip(*bodies, strict=True))
        script.add(_STORE_BODIES, {"ids": ids, "requests": requests, "responses": responses, "replies": replies})


def _packed(bodies: Bodies | PackedBodies) -> PackedBodies:
    return bodies.packed() if isinstance(bodies, Bodies) else bodies


def _close_claims(script: Script, statement: TextClause, closing: Sequence[tuple[Settle, UUID]]) -> None:
    if closing:
        columns: Mapping[str, Any] = {
            "keys": [item.key for item, _ in closing],
            "ids": [claim_id for _, claim_id in closing],
            "workers": [item.worker_id for item, _ in closing],
        }
        script.add(statement, columns)
