"""A batch applied twice is a batch applied once, whatever happened in between."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from blocks.scripts import Script
from schemas.errors import LeaseLost
from schemas.identifiers import new_id
from tasks.ledger.operations import (
    Accepted,
    Attempt,
    BeginStep,
    ClaimedElsewhere,
    EndRun,
    EndStep,
    NoRoom,
    Operation,
    Outcome,
    Reserve,
    Reserved,
    Settle,
    Unfinished,
)
from tasks.ledger.settlement import UNSAID
from tasks.ledger.transaction import apply_batch
from tasks.ledger.workers import give_up_abandoned
from tests.tasks.ledger.conftest import Look

WORKER = UUID("00000000-0000-7000-8000-00000000000a")
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE period = 'day' AND scope_id = 'default'"
STATE = {
    "llm_requests": "SELECT id, status, cost_usd, reserved_usd, budget_scopes FROM llm_requests ORDER BY id",
    "llm_bodies": "SELECT * FROM llm_bodies ORDER BY request_id",
    "answers": "SELECT key, status, request_id FROM answers ORDER BY key",
    "budget_usage": "SELECT * FROM budget_usage ORDER BY 1, 2, 3, 4",
    "steps": "SELECT id, status, attempts, output, error FROM steps ORDER BY id",
    "runs": "SELECT id, status, result, cost_usd FROM runs ORDER BY id",
}


@pytest.fixture(autouse=True)
def worker(look: Look) -> None:
    """A worker with a lease."""
    look("INSERT INTO workers VALUES (:id, 'host', 1, 0, now() + interval '1 hour')", id=WORKER)


@pytest.fixture
def attempt(look: Look) -> Attempt:
    """A run in progress."""
    attempt = Attempt(new_id(), new_id())
    look(
        "INSERT INTO runs (id, flow, project, subject, attempt_id) VALUES (:run, 'f', 'default', 's', :attempt)",
        run=attempt.run_id,
        attempt=attempt.id,
    )
    look(
        "INSERT INTO run_attempts (id, run_id, worker_id) VALUES (:attempt, :run, :worker)",
        attempt=attempt.id,
        run=attempt.run_id,
        worker=WORKER,
    )
    return attempt


def reserve(key: str, amount: str | None = "1", *, project: str = "default", attempt: Attempt | None = None) -> Reserve:
    """A reservation for a call with this key."""
    row = {
        "id": new_id(),
        "run_id": attempt.run_id if attempt else None,
        "worker_id": WORKER,
        "answer_key": key,
        "attempt": 1,
        "project": project,
        "user_id": None,
        "kind": "chat",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "request": {},
        "status": "reserved",
        "cost_source": "price_table",
    }
    return Reserve(row, None if amount is None else Decimal(amount), "UTC", attempt=attempt)


def settle(reserved: Reserve, cost: str | None = "0.25", *, status: str = "succeeded") -> Settle:
    """The outcome of a reserved call."""
    money = None if cost is None else Decimal(cost)
    columns = {"status": status, "cost_usd": money, "cost_source": "price_table", "latency_ms": 5}
    answers = status == "succeeded"
    bodies = (b"request", b"response", b"reply") if answers else None
    return Settle({"id": reserved.row["id"], **UNSAID, **columns}, reserved.key, WORKER, money, answers, bodies)


def begin(attempt: Attempt, step_id: UUID, attempts: int = 1) -> BeginStep:
    """The beginning of a step."""
    row = {"id": step_id, "run_id": attempt.run_id, "name": "s", "version": "1", "ordinal": 1, "key": "k"}
    return BeginStep({**row, "attempts": attempts, "model": None, "prompt_hash": None}, attempt)


def end(attempt: Attempt, step_id: UUID, status: str, output: Any = None) -> EndStep:
    """The end of a step."""
    return EndStep({"id": step_id, "status": status, "output": output, "error": None}, attempt)


def apply(database: Engine, *operations: Operation) -> list[Outcome]:
    """The operations are committed, as one batch."""
    with database.begin() as connection:
        script = Script(connection)
        outcomes = apply_batch(script, operations)
        script.send()
    return outcomes


def state(look: Look) -> dict[str, Sequence[Any]]:
    """Everything that batches write, without times."""
    return {table: look(query) for table, query in STATE.items()}


def test_a_reservation_applied_twice_is_one_reservation(database: Engine, look: Look) -> None:
    operation = reserve("a")
    assert apply(database, operation) == [Reserved(operation.row["id"])]
    before = state(look)
    assert look(DAY) == [(1, 0)]
    assert apply(database, operation) == [Reserved(operation.row["id"])]
    assert state(look) == before


@pytest.mark.parametrize("status", ["succeeded", "failed", "unknown"])
def test_a_settlement_applied_twice_is_one_settlement(database: Engine, look: Look, status: str) -> None:
    operation = reserve("a")
    apply(database, operation)
    outcome = settle(operation, None if status == "unknown" else "0.25", status=status)
    apply(database, outcome)
    before = state(look)
    assert look(DAY) == [(0, 1 if status == "unknown" else Decimal("0.25"))]
    apply(database, outcome)
    assert state(look) == before


def test_a_key_released_in_a_batch_is_claimed_anew_in_the_next(database: Engine, look: Look) -> None:
    first, second = reserve("a"), reserve("a")
    apply(database, first)
    batch = (settle(first, "0", status="failed"), second)
    assert apply(database, *batch) == [None, ClaimedElsewhere(abandoned=False)]
    assert look(DAY) == [(0, 0)]
    assert apply(database, *batch) == [None, Reserved(second.row["id"])]
    before = state(look)
    assert look(DAY) == [(1, 0)]
    assert apply(database, *batch) == [None, Reserved(second.row["id"])]
    assert state(look) == before


def test_a_call_without_room_leaves_its_key_to_others(database: Engine, look: Look) -> None:
    look("INSERT INTO budgets (scope_kind, scope_id, period, limit_usd) VALUES ('project', 'default', 'day', 1)")
    large, small = reserve("a", "2"), reserve("a", "1")
    (outcome,) = apply(database, large)
    assert isinstance(outcome, NoRoom)
    assert look("SELECT * FROM answers") == []
    assert apply(database, small) == [Reserved(small.row["id"])]


def test_a_superseded_call_leaves_its_key_to_others(database: Engine, look: Look) -> None:
    (outcome,) = apply(database, reserve("a", attempt=Attempt(new_id(), new_id())))
    assert isinstance(outcome, LeaseLost)
    assert look("SELECT * FROM answers") == []
    assert look("SELECT * FROM llm_requests") == []


def test_a_reservation_given_up_before_it_is_applied_again_is_counted_once(database: Engine, look: Look) -> None:
    operation = reserve("a")
    apply(database, operation)
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    with database.begin() as connection:
        assert give_up_abandoned(connection, new_id()) == 1
        assert give_up_abandoned(connection, new_id()) == 0
    assert look(DAY) == [(0, 1)]
    assert apply(database, operation) == [Reserved(operation.row["id"])]
    assert look(DAY) == [(0, 1)]
    apply(database, settle(operation))
    assert look(DAY) == [(0, Decimal("0.25"))]
    assert look("SELECT status, request_id FROM answers") == [("answered", operation.row["id"])]


def test_the_late_failure_of_a_request_leaves_the_next_claim_of_its_worker_alone(database: Engine, look: Look) -> None:
    first, second = reserve("a"), reserve("a")
    apply(database, first)
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    with database.begin() as connection:
        give_up_abandoned(connection, new_id())
    apply(database, second)
    apply(database, settle(first, "0", status="failed"))
    assert look("SELECT status, request_id FROM answers") == [("claimed", second.row["id"])]
    assert look(DAY) == [(1, 0)]


def test_a_settlement_goes_where_the_reservation_was_made_although_limits_were_set_since(
    database: Engine, look: Look
) -> None:
    operation = reserve("a")
    apply(database, operation)
    look("INSERT INTO budgets VALUES ('project', 'default', 'total', 10)")
    apply(database, operation)
    apply(database, settle(operation))
    assert look("SELECT period, reserved_usd, spent_usd FROM budget_usage ORDER BY 1") == [
        ("day", 0, Decimal("0.25")),
        ("month", 0, Decimal("0.25")),
        ("total", 0, 0),
    ]


def test_a_request_that_was_never_reserved_is_not_settled(database: Engine, look: Look) -> None:
    assert apply(database, settle(reserve("a"))) == [None]
    assert {table: list(rows) for table, rows in state(look).items() if rows} == {}


def test_of_two_outcomes_of_one_request_the_first_counts(database: Engine, look: Look) -> None:
    operation = reserve("a")
    apply(database, operation)
    apply(database, settle(operation, "0.25"), settle(operation, None, status="unknown"))
    assert look(DAY) == [(0, Decimal("0.25"))]
    assert look("SELECT status FROM llm_requests") == [("succeeded",)]


def test_a_withdrawal_after_an_answer_changes_nothing(database: Engine, look: Look) -> None:
    operation = reserve("a")
    apply(database, operation)
    apply(database, settle(operation))
    before = state(look)
    apply(database, settle(operation, "0", status="failed"))
    assert state(look) == before


def test_of_equal_calls_in_one_batch_one_is_made(database: Engine, look: Look) -> None:
    first, second = reserve("a"), reserve("a")
    assert apply(database, first, second) == [Reserved(first.row["id"]), ClaimedElsewhere(abandoned=False)]
    assert look(DAY) == [(1, 0)]
    assert look("SELECT id FROM llm_requests") == [(first.row["id"],)]


def test_a_key_claimed_by_another_transaction_in_the_same_moment_is_theirs(database: Engine, look: Look) -> None:
    ours, theirs = reserve("a"), reserve("a", project="another")
    outcomes: list[Outcome] = []
    with database.begin() as connection:
        script = Script(connection)
        apply_batch(script, [theirs])
        script.send()  # not committed: we see no claim
        thread = threading.Thread(target=lambda: outcomes.extend(apply(database, ours)))
        thread.start()
        waiting = text("SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted")
        while connection.execute(waiting).scalar_one() == 0:
            assert thread.is_alive()
    thread.join(30)
    assert outcomes == [ClaimedElsewhere(abandoned=False)]
    assert look(DAY) == [(0, 0)]
    assert look("SELECT id FROM llm_requests") == [(theirs.row["id"],)]


def test_a_claim_of_a_worker_without_lease_is_said_to_be_abandoned(database: Engine, look: Look) -> None:
    apply(database, reserve("a"))
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    assert apply(database, reserve("a")) == [ClaimedElsewhere(abandoned=True)]


def test_a_beginning_applied_twice_is_one_attempt(database: Engine, look: Look, attempt: Attempt) -> None:
    step_id = new_id()
    for _ in range(2):
        apply(database, begin(attempt, step_id))
    assert look("SELECT status, attempts FROM steps") == [("running", 1)]


def test_a_step_begun_and_ended_twice_is_one_step(database: Engine, look: Look, attempt: Attempt) -> None:
    step_id = new_id()
    batch = (begin(attempt, step_id), end(attempt, step_id, "failed"), begin(attempt, step_id, 2))
    apply(database, *batch, end(attempt, step_id, "completed", {"n": 1}))
    before = state(look)
    assert look("SELECT status, attempts, output FROM steps") == [("completed", 2, {"n": 1})]
    apply(database, *batch, end(attempt, step_id, "completed", {"n": 1}))
    assert state(look) == before
    apply(database, begin(attempt, step_id, 3))
    assert state(look) == before, "what is completed stays so"


def test_a_run_ended_twice_is_ended_once(database: Engine, look: Look, attempt: Attempt) -> None:
    call = reserve("a", attempt=attempt)
    ending = EndRun({"id": attempt.run_id, "status": "completed", "result": {"n": 1}, "error": None}, attempt)
    apply(database, call)
    apply(database, settle(call), ending)
    before = state(look)
    assert look("SELECT status, result, cost_usd FROM runs") == [("completed", {"n": 1}, Decimal("0.25"))]
    assert look("SELECT outcome FROM run_attempts WHERE ended_at IS NOT NULL") == [("completed",)]
    apply(database, settle(call), ending)
    assert state(look) == before


@pytest.mark.parametrize(
    ("amount", "status", "cost", "total"),
    [
        ("1", "succeeded", "0.25", "0.25"),
        ("1", "unknown", None, "1"),  # at worst
        ("1", "failed", "0", "0"),
        (None, "succeeded", None, None),  # not known, which is not nothing
        (None, "unknown", None, None),
    ],
)
def test_the_cost_of_a_run_is_that_of_its_calls_or_unknown(
    database: Engine, look: Look, attempt: Attempt, amount: str | None, status: str, cost: str | None, total: str | None
) -> None:
    priced, call = reserve("a", attempt=attempt), reserve("b", amount, attempt=attempt)
    apply(database, priced, call)
    apply(database, settle(priced, "2"), settle(call, cost, status=status))
    apply(database, EndRun({"id": attempt.run_id, "status": "failed", "result": None, "error": {}}, attempt))
    assert look("SELECT cost_usd FROM runs") == [(None if total is None else 2 + Decimal(total),)]


def test_a_local_call_is_in_no_budget(database: Engine, look: Look) -> None:
    operation = reserve("a", "0")
    local = Reserve({**operation.row, "cost_source": "local"}, Decimal(0), "UTC")
    assert apply(database, local) == [Reserved(operation.row["id"])]
    apply(database, settle(local, "0"))
    assert look("SELECT FROM budget_usage") == []


JOBS = "SELECT status, provider_request_id FROM llm_requests ORDER BY id"


def unfinished(database: Engine, look: Look) -> Reserve:
    """A request that became a job and whose worker is gone."""
    operation = reserve("a")
    apply(database, operation)
    apply(database, Accepted(operation.row["id"], "job-1"))
    look("UPDATE workers SET lease_until = now() - interval '1 second'")
    with database.begin() as connection:
        assert give_up_abandoned(connection, new_id()) == 1
    look("UPDATE workers SET lease_until = now() + interval '1 hour'")
    return operation


def test_a_job_is_stored_once_and_an_ended_request_is_left_alone(database: Engine, look: Look) -> None:
    first, second = reserve("a"), reserve("b")
    apply(database, first, second)
    batch = (Accepted(first.row["id"], "job-1"), Accepted(second.row["id"], "job-2"), settle(second))
    for _ in range(2):
        assert apply(database, *batch) == [None, None, None]
        assert look(JOBS) == [("reserved", "job-1"), ("succeeded", None)], "a settlement says itself which job it was"


def test_an_unfinished_job_is_claimed_once_however_often_its_batch_is_applied(database: Engine, look: Look) -> None:
    earlier = unfinished(database, look)
    later = replace(reserve("a"), queued=True)
    expected = Unfinished(earlier.row["id"], "job-1", None, claim_id=later.row["id"])
    assert apply(database, later, replace(reserve("a"), queued=True)) == [expected, ClaimedElsewhere(abandoned=False)]
    before = state(look)
    assert look(DAY) == [(0, 1)], "what the job may cost is counted already"
    assert apply(database, later) == [expected]
    assert state(look) == before
    outcome = replace(settle(earlier), claim_id=later.row["id"])
    apply(database, outcome)
    assert look("SELECT status, request_id FROM answers") == [("answered", earlier.row["id"])]
    assert look(DAY) == [(0, Decimal("0.25"))]
    before = state(look)
    apply(database, outcome)
    assert state(look) == before


def test_a_model_without_a_queue_has_no_unfinished_jobs(database: Engine, look: Look) -> None:
    unfinished(database, look)
    later = reserve("a")
    assert apply(database, later) == [Reserved(later.row["id"])]


def test_a_call_withdrawn_while_it_claimed_an_unfinished_job_frees_the_key(database: Engine, look: Look) -> None:
    earlier = unfinished(database, look)
    later = replace(reserve("a"), queued=True)
    apply(database, later)
    apply(database, settle(later, "0", status="failed"))
    assert look("SELECT FROM answers") == []
    assert look(JOBS) == [("unknown", "job-1")]
    assert isinstance(apply(database, replace(reserve("a"), queued=True))[0], Unfinished)
    assert earlier.row["id"] in {row.id for row in look("SELECT id FROM llm_requests")}


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_the_claim_on_an_unfinished_job_is_given_up_when_its_first_worker_settles_it_after_all(
    database: Engine, look: Look, status: str
) -> None:
    earlier = unfinished(database, look)
    later = replace(reserve("a"), queued=True)
    apply(database, later)
    apply(database, settle(earlier, status=status))
    apply(database, replace(settle(earlier), claim_id=later.row["id"]))
    answers = [("answered", earlier.row["id"])] if status == "succeeded" else []
    assert look("SELECT status, request_id FROM answers") == answers
    assert look(DAY) == [(0, Decimal("0.25"))]
