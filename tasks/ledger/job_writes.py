"""What a batch writes of queue jobs: their ids, before anybody waits for them, and which are unfinished."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from blocks.scripts import Reply, Script
from schemas.errors import JobEnded
from tasks.ledger.batch import Batch
from tasks.ledger.operations import Accepted, Reserve
from tasks.ledger.rows import REQUESTS_BY_ID, by_id

_STORE = text(f"""
    UPDATE llm_requests SET provider_request_id = r.job
    FROM unnest(CAST(:ids AS uuid[]), CAST(:jobs AS text[])) AS r(id, job)
    WHERE llm_requests.id = r.id AND {REQUESTS_BY_ID} AND llm_requests.status IN ('reserved', 'unknown')
""")
# A settled row has its answer or is known to have none; of a job that has ended there is nothing to wait for.
_UNFINISHED = text("""
    SELECT DISTINCT ON (answer_key) answer_key, id, provider_request_id AS job_id, run_id FROM llm_requests
    WHERE answer_key = ANY(:keys) AND status = 'unknown' AND provider_request_id IS NOT NULL
      AND error_class IS DISTINCT FROM :ended
    ORDER BY answer_key, id DESC
""")


def store_jobs(script: Script, batch: Batch) -> None:
    """The ids of accepted jobs will be on their requests' rows, which are locked."""
    accepted = [item for _, item in batch.of(Accepted)]
    if accepted:
        which = by_id([item.request_id for item in accepted])
        script.add(_STORE, {"jobs": [item.job_id for item in accepted], **which})


def ask_unfinished(script: Script, reserving: Sequence[tuple[int, Reserve]]) -> Reply:
    """The latest job without a known end, of each key that may have one, is looked up."""
    keys = sorted({item.key for _, item in reserving if item.queued})
    return script.add(_UNFINISHED, {"keys": keys, "ended": JobEnded.__name__}) if keys else Reply.empty()
