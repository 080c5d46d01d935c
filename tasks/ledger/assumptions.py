"""A batch of the usual kind in one round trip: what it takes for granted is checked by Postgres while it is written.

Usually nobody else asks for the keys of a batch, what is to be settled is still reserved, its runs have not changed
hands and budgets have room. Then nothing has to be read first: money is moved by differences, and statements beside
the writes divide by zero where something is not as assumed, which undoes all of it. The batch is then applied with a
look at its rows (`batch_reads`), as is one of another kind: of limited users, searches, queue jobs or unknown prices.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text

from blocks.scripts import Script
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import Found
from tasks.ledger.budgets import CENT_FRACTION, PERIODS, ZERO, Usage, UsageKey, key_columns, present, usage_keys
from tasks.ledger.operations import Accepted, Attempt, Operation, Reserve, Settle
from tasks.ledger.rows import as_records
from tasks.ledger.run_writes import attempts_of

NOT_AS_ASSUMED = "22012"
"""SQLSTATE of the statements below where something is not as assumed: division by zero."""

_RUNS_ARE_HELD = text("""
    SELECT 1 / CAST(count(*) = :count AS int) FROM (
        SELECT FROM runs
        JOIN unnest(CAST(:runs AS uuid[]), CAST(:attempts AS uuid[])) AS mine(id, attempt_id) USING (id, attempt_id)
        ORDER BY runs.id FOR KEY SHARE OF runs
    ) AS held
""")
# Rows are locked in order, as they are changed. Not as assumed: a row is missing, a limit leaves no room, a period that
# is not counted by itself is limited, a soft limit is to be announced.
_ADD_USAGE = text("""
    WITH changed AS (
        UPDATE budget_usage AS usage
        SET reserved_usd = usage.reserved_usd + more.reserved, spent_usd = usage.spent_usd + more.spent
        FROM (
            SELECT difference.*, budgets.limit_usd, budgets.warn_usd
            FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[]), CAST(:starts AS date[]),
                        CAST(:reserved AS numeric[]), CAST(:spent AS numeric[]), CAST(:adds AS boolean[]))
                AS difference(scope_kind, scope_id, period, period_start, reserved, spent, adds)
            LEFT JOIN budgets USING (scope_kind, scope_id, period)
            ORDER BY scope_kind, scope_id, period, period_start
        ) AS more
        WHERE usage.scope_kind = more.scope_kind AND usage.scope_id = more.scope_id
          AND usage.period = more.period AND usage.period_start = more.period_start
          AND (NOT adds OR limit_usd IS NULL
               OR usage.reserved_usd + more.reserved + usage.spent_usd + more.spent <= limit_usd)
          AND (warn_usd IS NULL
               OR usage.spent_usd + more.spent < greatest(warn_usd, CAST(:least AS numeric))
               OR EXISTS (
                   SELECT FROM budget_alerts AS alerts
                   WHERE alerts.scope_kind = more.scope_kind AND alerts.scope_id = more.scope_id
                     AND alerts.period = more.period AND alerts.period_start = more.period_start
                     AND alerts.warn_usd = more.warn_usd AND alerts.alerted_at IS NOT NULL))
        RETURNING usage.period
    )
    SELECT 1 / CAST(
        count(*) = :count
        AND NOT EXISTS (
            SELECT FROM budgets
            WHERE scope_kind = ANY(CAST(:adding_kinds AS text[])) AND scope_id = ANY(CAST(:adding_ids AS text[]))
              AND scope_kind || ' ' || period <> ALL(CAST(:counted AS text[])))
    AS int) FROM changed
""")
_ALWAYS_COUNTED = [f"{kind} {period}" for kind, periods in PERIODS.items() for period in periods]
_CLAIM_ALL = text("""
    WITH won AS (
        INSERT INTO answers (key, status, request_id, worker_id)
        SELECT key, 'claimed', request_id, worker_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(key text, request_id uuid, worker_id uuid)
        ON CONFLICT (key) DO NOTHING RETURNING key
    )
    SELECT 1 / CAST(count(*) = :count AS int) FROM won
""")


def is_usual(operations: Sequence[Operation]) -> bool:
    """Whether every operation is of a kind that needs no look at its rows, if all is as usual."""
    return all(map(_is_usual, operations))


def _is_usual(item: Operation) -> bool:
    match item:
        case Reserve():
            special = item.replay_only or item.queued or item.is_search or item.user_limit is not None
            return not special and (item.is_local or item.amount is not None)
        case Settle():
            return item.held is not None and item.cached is None and item.claim_id is None
        case Accepted():
            return False
    return True


def assume(script: Script, batch: Batch) -> Found:
    """What is usually found, with statements added to `script` that fail where it is otherwise.

    `add_usage` is to come last. `batch.usage` counts from zero: it holds the differences that are written.
    """
    now = present()
    reserving, settling = batch.of(Reserve), batch.of(Settle)
    _assume_attempts(script, set(attempts_of(batch).values()))
    _claim_all(script, [item for _, item in reserving])  # who waits for a key holds nothing that others wait for
    for place, item in reserving:
        if not item.is_local:
            batch.counted_in[place] = usage_keys(item.scopes, item.timezone, (), now)
    held = {item.row["id"]: item.held for _, item in settling if item.held is not None}
    keys: set[UsageKey] = {key for counted in batch.counted_in.values() for key in counted}
    keys |= {key for reservation in held.values() for key in reservation.keys}
    batch.usage = {key: Usage(None, reserved_usd=ZERO, spent_usd=ZERO) for key in sorted(keys)}
    return Found(
        held=held,
        requests={request_id: SimpleNamespace(id=request_id, status="reserved") for request_id in held},
        locked=False,
        answers={},
        unfinished={},
        won={item.row["id"] for _, item in reserving},
    )


def add_usage(script: Script, batch: Batch) -> None:
    """What the batch moves of money is added to its budget rows, if all is as assumed."""
    if batch.usage:
        script.add(_ADD_USAGE, lambda: _differences(batch))


def _assume_attempts(script: Script, attempts: Collection[Attempt]) -> None:
    if attempts:
        runs, ids = [attempt.run_id for attempt in attempts], [attempt.id for attempt in attempts]
        script.add(_RUNS_ARE_HELD, {"runs": runs, "attempts": ids, "count": len(attempts)})


def _claim_all(script: Script, calls: Sequence[Reserve]) -> None:
    if calls:
        claims = [
            {"key": item.key, "request_id": item.row["id"], "worker_id": item.row["worker_id"]}
            for item in sorted(calls, key=lambda item: item.key)
        ]
        script.add(_CLAIM_ALL, {"rows": as_records(claims), "count": len(claims)})


def _differences(batch: Batch) -> dict[str, Any]:
    """What the batch moves of money, as it is when all its operations are decided."""
    keys = list(batch.usage)
    adding = {key for counted in batch.counted_in.values() for key in counted}
    adding_scopes = sorted({key[:2] for key in adding})
    return {
        **key_columns(keys),
        "reserved": [batch.usage[key].reserved_usd for key in keys],
        "spent": [batch.usage[key].spent_usd for key in keys],
        "adds": [key in adding for key in keys],
        "count": len(keys),
        "least": CENT_FRACTION,
        "adding_kinds": [kind for kind, _ in adding_scopes],
        "adding_ids": [name for _, name in adding_scopes],
        "counted": _ALWAYS_COUNTED,
    }
