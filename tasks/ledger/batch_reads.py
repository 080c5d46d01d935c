"""What a batch begins with: its rows locked, what stands there read, and its keys claimed, in one round trip.

Rows are locked in the order of all transactions of the ledger, each kind sorted: runs, windows of users, claims of
keys, requests, answers, budget rows. What a lock does not guard (limits, answers of others) is read as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from blocks.scripts import Reply, Script
from tasks.ledger.batch import Batch
from tasks.ledger.budgets import (
    Reservation,
    ask_limits,
    ask_usage,
    limits_of,
    make_usage,
    possible_keys,
    present,
    usage_keys,
    usage_of,
)
from tasks.ledger.job_writes import ask_unfinished
from tasks.ledger.operations import Accepted, Reserve, Settle
from tasks.ledger.rows import REQUESTS_BY_ID, add_rows, by_id
from tasks.ledger.run_writes import ask_holders, refuse_the_superseded
from tasks.ledger.user_windows import ask_windows, windows_of

# Neither column changes once the row is written, so that no lock is needed to read them.
_RESERVATIONS = text(f"SELECT id, reserved_usd, budget_scopes FROM llm_requests WHERE {REQUESTS_BY_ID}")
_LOCK_REQUESTS = text(f"""
    SELECT id, status, reserved_usd, budget_scopes FROM llm_requests WHERE {REQUESTS_BY_ID} ORDER BY id FOR UPDATE
""")
# Not locked: an answer stands, a claim is waited for, and who inserts a missing row first has it.
_ANSWER_STATES = text("""
    SELECT answers.key, answers.status, answers.request_id, workers.lease_until < clock_timestamp() AS abandoned,
           clock_timestamp() - answers.answered_at AS age
    FROM answers JOIN workers ON workers.id = answers.worker_id WHERE answers.key = ANY(:keys)
""")


@dataclass
class Found:
    """What stands in the tables of the calls of a batch.

    Attributes:
        held: what the requests to be settled hold of budgets.
        requests: rows of `llm_requests` of the batch; a call not made before has none.
        locked: nobody else changes `requests` before the batch is written; otherwise they are as assumed.
        answers: rows of `answers`, by key, as they were before the batch.
        unfinished: rows of `llm_requests` whose job has no known end, by key.
        won: ids under which a key is claimed now.
    """

    held: Mapping[UUID, Reservation]
    requests: Mapping[UUID, Any]
    locked: bool
    answers: dict[str, Any]
    unfinished: Mapping[str, Any]
    won: set[UUID]


def look(script: Script, batch: Batch) -> Found:
    """The rows of the batch are locked and read, its calls claimed, and operations that do not count refused."""
    now = present()
    reserving, settling = batch.of(Reserve), batch.of(Settle)
    counted = [(place, item) for place, item in reserving if not (item.is_local or item.replay_only)]
    scopes = {scope for _, item in counted for scope in item.scopes}
    limited = {item.user for _, item in reserving if item.user_limit is not None and not item.replay_only}

    holders = ask_holders(script, batch)
    held = _holdings(script, [item for _, item in settling])
    settled = {key for reservation in held.values() for key in reservation.keys}
    possible = {key for _, item in counted for key in possible_keys(item.scopes, item.timezone, now)}
    window_rows = ask_windows(script, limited)
    keys = sorted({item.key for _, item in reserving})
    states = script.add(_ANSWER_STATES, {"keys": keys}) if keys else Reply.empty()
    won = claim(script, [item for _, item in reserving if not item.replay_only])
    requests = _lock_requests(script, batch)
    unfinished = ask_unfinished(script, reserving)
    limit_rows = ask_limits(script, scopes) if scopes else Reply.empty()  # what is settled needs no room
    make_usage(script, {key for _, item in counted for key in usage_keys(item.scopes, item.timezone, (), now)})
    usage_rows = ask_usage(script, possible | settled) if possible or settled else Reply.empty()

    limits = limits_of(limit_rows)
    for place, item in counted:
        batch.counted_in[place] = usage_keys(item.scopes, item.timezone, limits, now)
    wanted = {key for keys_of_call in batch.counted_in.values() for key in keys_of_call} | settled
    batch.usage = usage_of(script, usage_rows, wanted, limits)
    batch.windows = windows_of(window_rows)
    refuse_the_superseded(batch, holders)
    return Found(
        held=held,
        requests={row.id: row for row in requests.rows},
        locked=True,
        answers={row.key: row for row in states.rows},
        unfinished={row.answer_key: row for row in unfinished.rows},
        won={row.request_id for row in won.rows},
    )


def claim(script: Script, calls: list[Reserve]) -> Reply:
    """Keys that nobody has are claimed under the ids of `calls`; replies with the ids for which that worked."""
    claims = [
        {"key": item.key, "status": "claimed", "request_id": item.row["id"], "worker_id": item.row["worker_id"]}
        for item in sorted(calls, key=lambda item: item.key)
    ]
    return add_rows(script, "answers", claims, suffix="ON CONFLICT (key) DO NOTHING RETURNING request_id")


def _holdings(script: Script, settling: list[Settle]) -> dict[UUID, Reservation]:
    """What requests hold: as whoever reserved them was told, or as their rows say."""
    held = {item.row["id"]: item.held for item in settling if item.held is not None}
    unheard = [item.row["id"] for item in settling if item.row["id"] not in held]
    if unheard:
        rows = script.add(_RESERVATIONS, by_id(unheard)).rows
        held |= {row.id: Reservation.of(row.reserved_usd, row.budget_scopes) for row in rows}
    return held


def _lock_requests(script: Script, batch: Batch) -> Reply:
    ids: list[UUID] = [item.row["id"] for _, item in batch.of(Reserve)] + [
        item.row["id"] for _, item in batch.of(Settle)
    ]
    ids += [item.request_id for _, item in batch.of(Accepted)]
    return script.add(_LOCK_REQUESTS, by_id(ids)) if ids else Reply.empty()
