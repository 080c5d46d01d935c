"""The ledger's one transaction: a batch of operations, applied.

It takes two round trips: one that locks, reads and claims (`batch_reads`), one that writes and commits. Rows are
locked in a fixed order, each kind sorted: runs, budget rows, windows of users, requests, answers, searches. Every
operation may be applied twice, so that a batch whose commit was cut off by a lost connection is simply applied again.
"""

from __future__ import annotations

from collections.abc import Sequence

from blocks.scripts import Script
from tasks.ledger.alerts import BudgetAlert
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import look
from tasks.ledger.budgets import write_usage
from tasks.ledger.job_writes import store_jobs
from tasks.ledger.operations import Operation, Outcome
from tasks.ledger.reserve_writes import reserve
from tasks.ledger.run_writes import begin_runs, begin_steps, end_runs, end_steps
from tasks.ledger.search_cache import write_search_cache
from tasks.ledger.settle_writes import settle
from tasks.ledger.user_windows import write_windows


def apply_batch(
    script: Script, operations: Sequence[Operation], alerts: list[BudgetAlert] | None = None
) -> list[Outcome]:
    """All of `operations` will be written once `script` is sent; one outcome each, in order.

    Args:
        script: what it commits, or the transaction it is part of, is what the outcomes are true in.
        alerts: takes what is to be announced once the transaction is committed.
    """
    batch = Batch(operations)
    begin_runs(script, batch)
    found = look(script, batch)
    begin_steps(script, batch)
    store_jobs(script, batch)
    settle(script, batch, found)
    reserve(script, batch, found)
    write_search_cache(script, batch)
    reached = write_usage(script, batch.usage)
    if alerts is not None:
        alerts.extend(reached)
    write_windows(script, batch.windows)
    end_steps(script, batch)
    end_runs(script, batch)
    return [batch.outcomes.get(place) for place in range(len(operations))]
