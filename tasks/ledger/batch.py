"""The ledger's durable writes, many to a transaction.

A batch of operations becomes one transaction that touches rows in a fixed order: steps begun, budget
rows (sorted), requests settled, answers (sorted), requests made, steps ended. Every operation may be
applied twice, so that a batch whose commit was cut off by a lost connection is simply applied again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, TextClause, text

from schemas.errors import LeaseLost
from tasks.ledger.budgets import ZERO, Usage, UsageKey, lock_usage, read_limits, usage_keys, write_usage
from tasks.ledger.operations import (
    Answered,
    BeginStep,
    ClaimedElsewhere,
    EndStep,
    NoRoom,
    Operation,
    Outcome,
    Replay,
    Reserve,
    Reserved,
    ReserveOutcome,
    Settle,
    UnpricedUnderBudget,
)
from tasks.ledger.rows import as_records, insert_rows, recordset


@dataclass
class Batch:
    """Operations of one transaction, with their outcomes in the same order."""

    operations: Sequence[Operation]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    counted_in: dict[int, tuple[UsageKey, ...]] = field(default_factory=dict)
    """Budget rows of each reservation, found once: a day may end while a batch is written."""
    usage: dict[UsageKey, Usage] = field(default_factory=dict)

    def of(self, kind: type[Any]) -> list[tuple[int, Any]]:
        """The operations of one kind with their positions."""
        return [(place, item) for place, item in enumerate(self.operations) if isinstance(item, kind)]


def apply_batch(connection: Connection, operations: Sequence[Operation]) -> list[Outcome]:
    """All of `operations` are written in the transaction of `connection`; one outcome each, in order."""
    batch = Batch(operations)
    _begin_steps(connection, batch)
    _lock_budgets(connection, batch)
    _settle(connection, batch)
    _reserve(connection, batch)
    write_usage(connection, batch.usage)
    insert_rows(connection, "llm_requests", [item.row for _, item in batch.of(Replay)], suffix=IF_NEW)
    _end_steps(connection, batch)
    return [batch.outcomes.get(place) for place in range(len(operations))]


IF_NEW = "ON CONFLICT (id) DO NOTHING"

_STEP_COLUMNS = ("id", "run_id", "name", "version", "ordinal", "key", "model", "prompt_hash")
_BEGIN_STEPS = text(f"""
    INSERT INTO steps ({", ".join(_STEP_COLUMNS)}) SELECT {", ".join(_STEP_COLUMNS)}
    FROM {recordset("steps", _STEP_COLUMNS)} ORDER BY run_id, key
    ON CONFLICT (run_id, key) DO UPDATE SET status = 'running', attempts = steps.attempts + 1, error = NULL
    WHERE steps.status <> 'completed'
""")


def _begin_steps(connection: Connection, batch: Batch) -> None:
    rows = [item.row for _, item in batch.of(BeginStep)]
    if rows:
        connection.execute(_BEGIN_STEPS, {"rows": as_records(rows)})


_END_COLUMNS = ("id", "status", "output", "error")
_END_STEPS = text(f"""
    UPDATE steps SET status = r.status, output = r.output, error = r.error, completed_at = clock_timestamp()
    FROM {recordset("steps", _END_COLUMNS)[:-1]}, attempt_id uuid)
    WHERE steps.id = r.id
      AND EXISTS (SELECT FROM runs WHERE runs.id = steps.run_id AND runs.attempt_id = r.attempt_id)
    RETURNING steps.id
""")


def _end_steps(connection: Connection, batch: Batch) -> None:
    endings = batch.of(EndStep)
    if not endings:
        return
    rows = [{**item.row, "attempt_id": item.attempt_id} for _, item in endings]
    written = set(connection.execute(_END_STEPS, {"rows": as_records(rows)}).scalars())
    for place, item in endings:
        if item.row["id"] not in written:
            batch.outcomes[place] = LeaseLost(
                "another attempt has taken this run over; its record is the one that counts"
            )


def _lock_budgets(connection: Connection, batch: Batch) -> None:
    """The budget rows of all calls in the batch are locked, with their limits at hand."""
    reserving = [(place, item) for place, item in batch.of(Reserve) if item.amount != ZERO]
    settling = {key for _, item in batch.of(Settle) for key in item.budget_keys}
    scopes = {scope for _, item in reserving for scope in item.scopes} | {key[:2] for key in settling}
    if not scopes:
        return
    limits = read_limits(connection, scopes)
    for place, item in reserving:
        batch.counted_in[place] = usage_keys(item.scopes, item.timezone, limits)
    wanted = {key for keys in batch.counted_in.values() for key in keys} | settling
    batch.usage = lock_usage(connection, wanted, limits)


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
        WHERE held.status IN ('reserved', 'unknown') ORDER BY held.id FOR UPDATE OF held
    ) AS r
    WHERE llm_requests.id = r.id
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
_RELEASE = text("""
    DELETE FROM answers
    USING unnest(CAST(:keys AS text[]), CAST(:ids AS uuid[]), CAST(:workers AS uuid[])) AS r(key, request_id, worker_id)
    WHERE answers.key = r.key AND answers.status = 'claimed' AND answers.worker_id = r.worker_id
""")


def _settle(connection: Connection, batch: Batch) -> None:
    settling: list[Settle] = sorted((item for _, item in batch.of(Settle)), key=lambda item: item.key)
    if not settling:
        return
    found = connection.execute(_SETTLE, {"rows": as_records([item.row for item in settling])})
    was = {row.id: row.was for row in found}
    for item in settling:
        _move_money(item, was.get(item.row["id"]), batch.usage)
    _store_bodies(connection, settling)
    _close_claims(connection, _ANSWER, [item for item in settling if item.answers])
    _close_claims(connection, _RELEASE, [item for item in settling if not item.answers])


def _close_claims(connection: Connection, statement: TextClause, settling: Sequence[Settle]) -> None:
    if settling:
        columns = {
            "keys": [item.key for item in settling],
            "ids": [item.row["id"] for item in settling],
            "workers": [item.worker_id for item in settling],
        }
        connection.execute(statement, columns)


def _move_money(item: Settle, was: str | None, usage: Mapping[UsageKey, Usage]) -> None:
    """From reserved to spent; a row given up as unknown had its worst case spent already."""
    for key in item.budget_keys:
        if was == "reserved":
            usage[key].reserved_usd -= item.reserved_usd
            usage[key].spent_usd += item.spent_usd
        elif was == "unknown":
            usage[key].spent_usd += item.spent_usd - item.reserved_usd


def _store_bodies(connection: Connection, settling: Sequence[Settle]) -> None:
    bodies = [(item.row["id"], *item.bodies) for item in settling if item.bodies]
    if bodies:
        ids, requests, responses, replies = (list(column) for column in zip(*bodies, strict=True))
        columns = {"ids": ids, "requests": requests, "responses": responses, "replies": replies}
        connection.execute(_STORE_BODIES, columns)


_ANSWER_STATES = text("""
    SELECT answers.key, answers.status, answers.request_id, answers.worker_id,
           workers.lease_until < clock_timestamp() AS abandoned
    FROM answers JOIN workers ON workers.id = answers.worker_id
    WHERE answers.key = ANY(:keys) ORDER BY answers.key FOR UPDATE OF answers
""")


def _reserve(connection: Connection, batch: Batch) -> None:
    """Decide each reservation in order, then claim, count and write those granted."""
    reserving: list[tuple[int, Reserve]] = sorted(batch.of(Reserve), key=lambda pair: pair[1].key)
    if not reserving:
        return
    keys = sorted({item.key for _, item in reserving})
    states = {row.key: row for row in connection.execute(_ANSWER_STATES, {"keys": keys})}
    granted = []
    for place, item in reserving:
        known = _claim_state(item, place, batch, states.get(item.key))
        batch.outcomes[place] = known or _room(item, place, batch)
        if known is None and isinstance(batch.outcomes[place], Reserved):
            _count(item, place, batch, +1)
            granted.append((place, item))
    _write_granted(connection, batch, granted)


def _claim_state(item: Reserve, place: int, batch: Batch, state: Any) -> ReserveOutcome | None:
    """What the key's row in `answers` says about the call; None when it may be made."""
    if state is None:
        return None
    if state.status == "answered":
        return Answered(state.request_id)
    if state.request_id == item.row["id"]:  # applied before, and committed after all
        return Reserved(item.row["id"], batch.counted_in.get(place, ()))
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
    return full or Reserved(item.row["id"], batch.counted_in.get(place, ()))


def _count(item: Reserve, place: int, batch: Batch, sign: int) -> None:
    """The call's worst case is in (or again out of) the reservations of its budgets."""
    for key in batch.counted_in.get(place, ()):
        batch.usage[key].reserved_usd += sign * (item.amount or ZERO)


def _write_granted(connection: Connection, batch: Batch, granted: list[tuple[int, Reserve]]) -> None:
    claims = [
        {"key": item.key, "status": "claimed", "request_id": item.row["id"], "worker_id": item.row["worker_id"]}
        for _, item in granted
    ]
    # A key inserted by somebody else since we looked is theirs: wait for it like any other claim.
    suffix = "ON CONFLICT (key) DO NOTHING RETURNING request_id"
    won = {row.request_id for row in insert_rows(connection, "answers", claims, suffix=suffix)}
    rows = []
    for place, item in granted:
        if item.row["id"] in won:
            scopes = [key.as_json() for key in batch.counted_in.get(place, ())]
            rows.append({**item.row, "reserved_usd": item.amount, "budget_scopes": scopes})
        else:
            batch.outcomes[place] = ClaimedElsewhere(abandoned=False)
            _count(item, place, batch, -1)
    insert_rows(connection, "llm_requests", rows, suffix=IF_NEW)
