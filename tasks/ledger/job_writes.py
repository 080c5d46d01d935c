"""What a batch writes of queue jobs: their ids, before anybody waits for them, and which are unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from schemas.errors import JobEnded
from tasks.ledger.batch import Batch
from tasks.ledger.operations import Accepted, Reserve, Settle

# Every request of the batch is locked, in the order of all transactions, before the first is written.
_LOCK = text("SELECT id FROM llm_requests WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_STORE = text("""
    UPDATE llm_requests SET provider_request_id = r.job
    FROM unnest(CAST(:ids AS uuid[]), CAST(:jobs AS text[])) AS r(id, job)
    WHERE llm_requests.id = r.id AND llm_requests.id = ANY(:ids) AND llm_requests.status IN ('reserved', 'unknown')
""")
# A settled row has its answer or is known to have none; of a job that has ended there is nothing to wait for.
_UNFINISHED = text("""
    SELECT DISTINCT ON (answer_key) answer_key, id, provider_request_id AS job_id, run_id FROM llm_requests
    WHERE answer_key = ANY(:keys) AND status = 'unknown' AND provider_request_id IS NOT NULL
      AND error_class IS DISTINCT FROM :ended
    ORDER BY answer_key, id DESC
""")


def store_jobs(connection: Connection, batch: Batch) -> None:
    """The ids of accepted jobs are on their requests' rows."""
    accepted = [item for _, item in batch.of(Accepted)]
    if not accepted:
        return
    ids = [item.request_id for item in accepted]
    connection.execute(_LOCK, {"ids": ids + [item.row["id"] for _, item in batch.of(Settle)]})
    connection.execute(_STORE, {"ids": ids, "jobs": [item.job_id for item in accepted]})


def find_unfinished(connection: Connection, reserving: Sequence[tuple[int, Reserve]]) -> dict[str, Any]:
    """The latest job without a known end, by key, for those calls that may have one."""
    keys = sorted({item.key for _, item in reserving if item.queued})
    if not keys:
        return {}
    found = connection.execute(_UNFINISHED, {"keys": keys, "ended": JobEnded.__name__})
    return {row.answer_key: row for row in found}
