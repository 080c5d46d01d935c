"""The ledger's one transaction: a batch of operations, applied.

It takes one round trip where the batch is as usual (`assumptions`), else two: one that locks, reads and claims
(`batch_reads`), one that writes and commits. Rows are locked in a fixed order, each kind sorted: runs, windows of
users, claims of keys, requests, answers, budget rows, searches. Budget rows come late because all calls of a project
wait for them. Every operation may be applied twice, so that a batch whose commit was cut off by a lost connection, or
that met another in a deadlock all the same, is simply applied again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from blocks.scripts import Script
from tasks.ledger.alerts import BudgetAlert
from tasks.ledger.assumptions import NOT_AS_ASSUMED, add_usage, assume, is_usual
from tasks.ledger.batch import Batch
from tasks.ledger.batch_reads import Found, look
from tasks.ledger.budgets import write_usage
from tasks.ledger.job_writes import store_jobs
from tasks.ledger.operations import Operation, Outcome
from tasks.ledger.reserve_writes import reserve
from tasks.ledger.run_writes import begin_runs, begin_steps, end_runs, end_steps
from tasks.ledger.search_cache import write_search_cache
from tasks.ledger.settle_writes import settle
from tasks.ledger.user_windows import write_windows

MOST_LOOKS = 31
"""So many batches are looked at first after surprise upon surprise, as in a run resumed; after a lone one it alone."""


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
    _write_calls_and_steps(script, batch, look(script, batch))
    reached = write_usage(script, batch.usage)
    if alerts is not None:
        alerts.extend(reached)
    write_windows(script, batch.windows)
    return _end(script, batch)


def apply_usual_batch(script: Script, operations: Sequence[Operation]) -> list[Outcome]:
    """As `apply_batch`, of a batch that `is_usual`; sending `script` fails where something is not as assumed."""
    batch = Batch(operations)
    begin_runs(script, batch)
    _write_calls_and_steps(script, batch, assume(script, batch))
    outcomes = _end(script, batch)
    add_usage(script, batch)
    return outcomes


def _write_calls_and_steps(script: Script, batch: Batch, found: Found) -> None:
    begin_steps(script, batch)
    store_jobs(script, batch)
    settle(script, batch, found)
    reserve(script, batch, found)
    write_search_cache(script, batch)


def _end(script: Script, batch: Batch) -> list[Outcome]:
    end_steps(script, batch)
    end_runs(script, batch)
    return [batch.outcomes.get(place) for place in range(len(batch.operations))]


class BatchWriter:
    """Commits batches, in one round trip while they are as usual, else in two.

    One that was not as assumed is looked at, and with each such one twice as many that follow it: more of its kind may
    come. Each one that is as usual halves what the next surprise costs.

    Attributes:
        surprises: batches that were not as assumed.
    """

    def __init__(self) -> None:
        self.surprises = 0
        self._looks = 0
        self._caution = 1

    def commit(
        self, connection: Connection, operations: Sequence[Operation], alerts: list[BudgetAlert]
    ) -> list[Outcome]:
        """All of `operations` are durable; one outcome each, in order.

        Args:
            connection: one that commits by itself; on an error a transaction may be left open on it.
            alerts: takes what is to be announced now.
        """
        if self._looks == 0 and is_usual(operations):
            script = Script(connection)
            outcomes = apply_usual_batch(script, operations)
            try:
                script.commit()
            except DataError as error:
                if getattr(error.orig, "sqlstate", None) != NOT_AS_ASSUMED:
                    raise
                script.rollback()
                self.surprises += 1
                self._looks, self._caution = self._caution, min(2 * self._caution + 1, MOST_LOOKS)
            else:
                self._caution = max(1, self._caution // 2)
                return outcomes
        self._looks = max(0, self._looks - 1)
        script = Script(connection)
        outcomes = apply_batch(script, operations, alerts)
        script.commit()
        return outcomes
