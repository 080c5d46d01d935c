"""What a batch writes of model calls: reservations, replays, settlements, and the money they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from tasks.ledger.batch import Batch
from tasks.ledger.budgets import ZERO, Reservation, UsageKey, lock_usage, read_limits, usage_keys
from tasks.ledger.operations import (
    Answered,
    ClaimedElsewhere,
    NoRoom,
    Reserve,
    Reserved,
    ReserveOutcome,
    Settle,
    UnpricedUnderBudget,
)
from tasks.ledger.rows import as_records, insert_rows, recordset

Held = Mapping[UUID, Reservation]
IF_NEW = "ON CONFLICT (id) DO NOTHING"

# Neither column changes once the row is written, so that no lock is needed to read them.
_RESERVATIONS = text("SELECT id, reserved_usd, budget_scopes FROM llm_requests WHERE id = ANY(:ids)")


def lock_budgets(connection: Connection, batch: Batch) -> Held:
    """The budget rows of all calls in the batch are locked; returns what those to be settled hold."""
    held = _read_reservations(connection, [item.row["id"] for _, item in batch.of(Settle)])
    reserving = [(place, item) for place, item in batch.of(Reserve) if not item.is_local]
    settling = {key for reservation in held.values() for key in reservation.keys}
    scopes = {scope for _, item in reserving for scope in item.scopes}
    limits = read_limits(connection, scopes) if scopes else {}  # what is settled needs no room
    for place, item in reserving:
        batch.counted_in[place] = usage_keys(item.scopes, item.timezone, limits)
    wanted = {key for keys in batch.counted_in.values() for key in keys} | settling
    batch.usage = lock_usage(connection, wanted, limits)
    return held


def _read_reservations(connection: Connection, ids: Sequence[UUID]) -> Held:
    if not ids:
        return {}
    found = connection.execute(_RESERVATIONS, {"ids": ids})
    return {row.id: Reservation.of(row.reserved_usd, row.budget_scopes) for row in found}


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
_SETTLE = text(f"""
    UPDATE llm_requests SET {", ".join(f"{name} = r.{name}" for name in _SETTLE_COLUMNS[1:])},
        completed_at = clock_timestamp()
    FROM (
        SELECT r.*, held.status AS was FROM {recordset("llm_requests", _SETTLE_COLUMNS)}
        JOIN llm_requests AS held ON held.id = r.id
        WHERE held.id = ANY(:ids) AND (held.status = 'reserved' OR held.status = 'unknown' AND r.status <> 'unknown')
        ORDER BY held.id FOR UPDATE OF held
    ) AS r
    WHERE llm_requests.id = r.id AND llm_requests.id = ANY(:ids)
    RETURNING r.id, r.was
""")
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


def settle(connection: Connection, batch: Batch, held: Held) -> None:
    """Outcomes are on their rows, their money is moved, their keys answered or free; the first outcome counts."""
    first = {item.row["id"]: item for _, item in reversed(batch.of(Settle)) if item.row["id"] in held}
    if not first:
        return
    settling = sorted(first.values(), key=lambda item: item.key)
    rows = as_records([item.row for item in settling])
    was = {row.id: row.was for row in connection.execute(_SETTLE, {"rows": rows, "ids": list(first)})}
    settling = [item for item in settling if item.row["id"] in was]
    for item in settling:
        held[item.row["id"]].settle(was[item.row["id"]], item.spent_usd, batch.usage)
    _store_bodies(connection, settling)
    _close_claims(connection, _ANSWER, [item for item in settling if item.answers])
    _close_claims(connection, _RELEASE, [item for item in settling if not item.answers])


def _store_bodies(connection: Connection, settling: Sequence[Settle]) -> None:
    bodies = [(item.row["id"], *item.bodies) for item in settling if item.bodies]
    if bodies:
        ids, requests, responses, replies = (list(column) for column in zip(*bodies, strict=True))
        columns = {"ids": ids, "requests": requests, "responses": responses, "replies": replies}
        connection.execute(_STORE_BODIES, columns)


def _close_claims(connection: Connection, statement: TextClause, settling: Sequence[Settle]) -> None:
    if settling:
        columns = {
            "keys": [item.key for item in settling],
            "ids": [item.row["id"] for item in settling],
            "workers": [item.worker_id for item in settling],
        }
        connection.execute(statement, columns)


# Not locked: an answer stands, a claim is waited for, and who inserts a missing row first has it.
_ANSWER_STATES = text("""
    SELECT answers.key, answers.status, answers.request_id, workers.lease_until < clock_timestamp() AS abandoned
    FROM answers JOIN workers ON workers.id = answers.worker_id WHERE answers.key = ANY(:keys)
""")


def reserve(connection: Connection, batch: Batch) -> None:
    """Each reservation is decided in order: those granted are claimed, counted and written, others replayed."""
    reserving = sorted(batch.of(Reserve), key=lambda pair: pair[1].key)
    if not reserving:
        return
    keys = sorted({item.key for _, item in reserving})
    states = {row.key: row for row in connection.execute(_ANSWER_STATES, {"keys": keys})}
    _replay(connection, batch, reserving, [row for row in states.values() if row.status == "answered"])
    granted = []
    for place, item in reserving:
        if place in batch.outcomes:
            continue
        claim = _claim_state(item, states.get(item.key))
        batch.outcomes[place] = claim or _room(item, place, batch)
        if claim is None and isinstance(batch.outcomes[place], Reserved):
            _count(batch, place, item.amount or ZERO)
            granted.append((place, item))
    _write_granted(connection, batch, granted)


_STORED = text("""
    SELECT llm_requests.id, answered_model, input_tokens, output_tokens, cost_source,
           coalesce(latency_ms, 0) AS latency_ms, finish_reason, llm_bodies.reply
    FROM llm_requests JOIN llm_bodies ON llm_bodies.request_id = llm_requests.id
    WHERE llm_requests.id = ANY(:ids) AND llm_bodies.reply IS NOT NULL
""")
_FORGET = text("DELETE FROM answers WHERE key = ANY(:keys) AND status = 'answered' AND request_id = ANY(:ids)")


def _replay(
    connection: Connection, batch: Batch, reserving: Sequence[tuple[int, Reserve]], answered: Sequence[Any]
) -> None:
    """Calls whose key is answered have the answer, for nothing; a key whose answer is not kept is free again."""
    if not answered:
        return
    stored = {row.id: row for row in connection.execute(_STORED, {"ids": [row.request_id for row in answered]})}
    answer_of = {row.key: stored.get(row.request_id) for row in answered}
    rows = []
    for place, item in reserving:
        if answer := answer_of.get(item.key):
            rows.append(_replay_row(item, answer))
            batch.outcomes[place] = Answered(item.row["id"], answer.reply, answer.cost_source, answer.latency_ms)
    insert_rows(connection, "llm_requests", rows, suffix=IF_NEW)
    erased = [row for row in answered if row.request_id not in stored]
    if erased:
        ids = [row.request_id for row in erased]
        connection.execute(_FORGET, {"keys": [row.key for row in erased], "ids": ids})


def _replay_row(item: Reserve, answer: Any) -> dict[str, Any]:
    """Nothing paid, the tokens and latency of the original, which also has the texts."""
    return {
        **item.row,
        "status": "replayed",
        "replayed_from": answer.id,
        "request": None,
        "answered_model": answer.answered_model,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_usd": ZERO,
        "cost_source": answer.cost_source,
        "latency_ms": answer.latency_ms,
        "finish_reason": answer.finish_reason,
    }


def _claim_state(item: Reserve, state: Any) -> ReserveOutcome | None:
    """What the key's claim says about the call; None when it may be made."""
    if state is None or state.status == "answered":
        return None
    if state.request_id == item.row["id"]:  # applied before, and committed after all
        return Reserved(item.row["id"])
    return ClaimedElsewhere(bool(state.abandoned))


def _room(item: Reserve, place: int, batch: Batch) -> ReserveOutcome:
    """Whether the call fits every budget it is counted in; a budget that is spent is named first."""
    full: NoRoom | None = None
    for key in batch.counted_in.get(place, ()):
        row = batch.usage[key]
        if row.limit_usd is None:
            continue
        if item.amount is None:
            if item.unpriced_allowed:
                continue
            return UnpricedUnderBudget(key)
        if not row.fits(item.amount) and (full is None or full.may_fit_later):
            full = NoRoom(key, row.limit_usd, row.spent_usd, may_fit_later=row.could_fit(item.amount))
    return full or Reserved(item.row["id"])


def _count(batch: Batch, place: int, amount: Decimal) -> None:
    """`amount` more is reserved in the budgets of the call."""
    for key in batch.counted_in.get(place, ()):
        batch.usage[key].reserved_usd += amount


def _write_granted(connection: Connection, batch: Batch, granted: Sequence[tuple[int, Reserve]]) -> None:
    claims = [
        {"key": item.key, "status": "claimed", "request_id": item.row["id"], "worker_id": item.row["worker_id"]}
        for _, item in granted
    ]
    suffix = "ON CONFLICT (key) DO NOTHING RETURNING request_id"
    won = {row.request_id for row in insert_rows(connection, "answers", claims, suffix=suffix)}
    rows = [_granted_row(item, batch.counted_in.get(place, ())) for place, item in granted if item.row["id"] in won]
    written = {row.id for row in insert_rows(connection, "llm_requests", rows, suffix=f"{IF_NEW} RETURNING id")}
    for place, item in granted:
        if item.row["id"] not in won:  # somebody else came first since we looked
            batch.outcomes[place] = ClaimedElsewhere(abandoned=False)
        if item.row["id"] not in written:  # or it was counted when the batch was applied before
            _count(batch, place, -(item.amount or ZERO))


def _granted_row(item: Reserve, keys: Sequence[UsageKey]) -> dict[str, Any]:
    return {**item.row, "reserved_usd": item.amount, "budget_scopes": [key.as_json() for key in keys]}
