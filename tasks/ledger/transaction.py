"""The ledger's one transaction: a batch of operations, applied.

Rows are locked in a fixed order, each kind sorted: runs, budget rows, windows of users, requests, answers,
searches. Every operation may be applied twice, so that a batch whose commit was cut off by a lost connection is simply
applied again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.ledger.alerts import BudgetAlert
from tasks.ledger.batch import Batch
from tasks.ledger.budgets import write_usage
from tasks.ledger.call_writes import lock_budgets, lock_user_windows, reserve, settle
from tasks.ledger.job_writes import store_jobs
from tasks.ledger.operations import Operation, Outcome
from tasks.ledger.run_writes import begin_runs, begin_steps, end_runs, end_steps, refuse_the_superseded
from tasks.ledger.search_cache import write_search_cache
from tasks.ledger.user_windows import write_windows


def apply_batch(
    connection: Connection, operations: Sequence[Operation], alerts: list[BudgetAlert] | None = None
) -> list[Outcome]:
    """All of `operations` are written in the transaction of `connection`; one outcome each, in order.

    Args:
        alerts: takes what is to be announced once the transaction is committed.
    """
    batch = Batch(operations)
    begin_runs(connection, batch)
    refuse_the_superseded(connection, batch)
    begin_steps(connection, batch)
    held = lock_budgets(connection, batch)
    lock_user_windows(connection, batch)
    store_jobs(connection, batch)
    settle(connection, batch, held)
    reserve(connection, batch)
    write_search_cache(connection, batch)
    reached = write_usage(connection, batch.usage)
    if alerts is not None:
        alerts.extend(reached)
    write_windows(connection, batch.windows)
    end_steps(connection, batch)
    end_runs(connection, batch)
    return [batch.outcomes.get(place) for place in range(len(operations))]
