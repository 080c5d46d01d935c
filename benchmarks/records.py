"""Whether Headrace's ledger and Prefect's database hold everything that was done."""

from __future__ import annotations

import time
from decimal import Decimal

from pydantic import BaseModel
from sqlalchemy import text

from blocks.database import create_database, normal_url

RECORDER_SECONDS = 30.0

_LEDGER = text("""
    SELECT (SELECT count(*) FROM runs WHERE project = :project AND status = 'completed') AS runs,
           (SELECT count(*) FROM steps JOIN runs ON runs.id = steps.run_id
            WHERE runs.project = :project AND steps.status = 'completed') AS steps,
           count(*) AS requests,
           count(*) FILTER (WHERE llm_requests.status = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE llm_requests.status = 'succeeded' AND llm_bodies.request_id IS NOT NULL
                              AND answers.request_id = llm_requests.id) AS replayable,
           coalesce(sum(cost_usd), 0) AS cost_usd
    FROM llm_requests
    LEFT JOIN llm_bodies ON llm_bodies.request_id = llm_requests.id
    LEFT JOIN answers ON answers.key = llm_requests.answer_key
    WHERE llm_requests.project = :project
""")
_USAGE = text("""
    SELECT coalesce(sum(reserved_usd), 0) AS reserved_usd, coalesce(sum(spent_usd), 0) AS spent_usd
    FROM budget_usage WHERE scope_kind = 'project' AND scope_id = :project AND period = 'month'
""")
_TASK_RUNS = text("SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'")


class LedgerRecord(BaseModel):
    """What the ledger holds of one project; `replayable` are rows with their answer and its bytes."""

    runs: int
    steps: int
    requests: int
    succeeded: int
    replayable: int
    cost_usd: Decimal
    reserved_usd: Decimal
    spent_usd: Decimal

    def faults(self, *, documents: int, calls: int, paid: int) -> list[str]:
        """What does not agree with the documents analysed, the calls they need and the answers that were paid for."""
        wanted = {
            "runs": documents,
            "steps": calls,
            "requests": calls,
            "succeeded": calls,
            "replayable": calls,
        }
        found = [f"{getattr(self, name)} {name}, not {count}" for name, count in wanted.items()
                 if getattr(self, name) != count]  # fmt: skip
        if paid != self.succeeded:
            found.append(f"{paid} answers were paid for, {self.succeeded} rows succeeded")
        if self.reserved_usd or self.spent_usd != self.cost_usd:
            found.append(f"{self.reserved_usd} USD reserved, {self.spent_usd} spent, rows cost {self.cost_usd}")
        return found


def read_ledger(url: str, project: str) -> LedgerRecord:
    """What is on record of `project` now."""
    engine = create_database(normal_url(url))
    try:
        with engine.connect() as connection:
            rows = connection.execute(_LEDGER, {"project": project}).mappings().one()
            usage = connection.execute(_USAGE, {"project": project}).mappings().one()
            return LedgerRecord(**rows, **usage)
    finally:
        engine.dispose()


def count_task_runs(url: str, wanted: int) -> int:
    """Completed task runs in Prefect's database, whose recorder is given time to write `wanted`."""
    engine = create_database(normal_url(url))
    deadline = time.monotonic() + RECORDER_SECONDS
    try:
        while True:
            with engine.connect() as connection:
                found = int(connection.execute(_TASK_RUNS).scalar_one())
            if found >= wanted or time.monotonic() > deadline:
                return found
            time.sleep(0.5)
    finally:
        engine.dispose()
