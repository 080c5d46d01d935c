"""What a batch writes of runs and their steps."""

from __future__ import annotations

from sqlalchemy import text

from blocks.scripts import Reply, Script
from schemas.errors import LeaseLost
from tasks.ledger.batch import Batch
from tasks.ledger.budgets import COUNTED_USD
from tasks.ledger.operations import Accepted, Attempt, BeginRun, BeginStep, EndRun, EndStep, Settle
from tasks.ledger.rows import add_rows, as_records, recordset

IF_NEW = "ON CONFLICT (id) DO NOTHING"


def begin_runs(script: Script, batch: Batch) -> None:
    """The runs that begin will be on record, each with its first attempt and its budget."""
    beginning = [item for _, item in batch.of(BeginRun)]
    add_rows(script, "runs", [item.row for item in beginning], suffix=IF_NEW)
    add_rows(script, "run_attempts", [item.attempt_row for item in beginning], suffix=IF_NEW)
    budgets = [
        {"scope_kind": "run", "scope_id": str(item.row["id"]), "period": "total", "limit_usd": item.limit_usd}
        for item in beginning
        if item.limit_usd is not None
    ]
    add_rows(script, "budgets", budgets, suffix="ON CONFLICT DO NOTHING")


# A take-over locks the run FOR UPDATE, which this lock keeps out until the batch is committed.
_HOLDERS = text("SELECT id, attempt_id FROM runs WHERE id = ANY(:runs) ORDER BY id FOR KEY SHARE")


def ask_holders(script: Script, batch: Batch) -> Reply:
    """Which attempt holds each run of the batch is read; no run changes hands from now on."""
    runs = sorted({attempt.run_id for attempt in attempts_of(batch).values()})
    return script.add(_HOLDERS, {"runs": runs}) if runs else Reply.empty()


def refuse_the_superseded(batch: Batch, holders: Reply) -> None:
    """Operations of attempts whose run was taken over are refused."""
    holding = {Attempt(row.id, row.attempt_id) for row in holders.rows}
    for place, attempt in attempts_of(batch).items():
        if attempt not in holding:
            batch.refused.add(place)
            batch.outcomes[place] = LeaseLost(
                "another attempt has taken this run over; its record is the one that counts"
            )


def attempts_of(batch: Batch) -> dict[int, Attempt]:
    """Whose each operation is, by place; money is recorded for anybody."""
    return {
        place: item.attempt
        for place, item in enumerate(batch.operations)
        if not isinstance(item, Accepted | Settle) and item.attempt is not None
    }


_STEP_COLUMNS = ("id", "run_id", "name", "version", "ordinal", "key", "attempts", "model", "prompt_hash")
_BEGIN_STEPS = text(f"""
    INSERT INTO steps ({", ".join(_STEP_COLUMNS)}) SELECT {", ".join(_STEP_COLUMNS)}
    FROM {recordset("steps", _STEP_COLUMNS)} ORDER BY run_id, key
    ON CONFLICT (run_id, key) DO UPDATE SET status = 'running', attempts = excluded.attempts, error = NULL
    WHERE steps.status <> 'completed'
""")


def begin_steps(script: Script, batch: Batch) -> None:
    """The steps that begin are on record; one that is finished stays so."""
    rows = {item.row["id"]: item.row for _, item in batch.of(BeginStep)}
    if rows:
        script.add(_BEGIN_STEPS, {"rows": as_records(rows.values())})


_END_COLUMNS = ("id", "status", "output", "error")
_END_STEPS = text(f"""
    UPDATE steps SET status = r.status, output = r.output, error = r.error, completed_at = clock_timestamp()
    FROM {recordset("steps", _END_COLUMNS)} WHERE steps.id = r.id
""")


def end_steps(script: Script, batch: Batch) -> None:
    """The steps that end have their output or error; of two ends of one step the later counts."""
    rows = {item.row["id"]: item.row for _, item in batch.of(EndStep)}
    if rows:
        script.add(_END_STEPS, {"rows": as_records(rows.values())})


_RUN_COLUMNS = ("id", "status", "result", "error")
_END_RUNS = text(f"""
    UPDATE runs SET status = r.status, error = r.error, result = coalesce(r.result, runs.result),
        completed_at = clock_timestamp(),
        cost_usd = (SELECT CASE WHEN bool_or({COUNTED_USD} IS NULL) THEN NULL ELSE coalesce(sum({COUNTED_USD}), 0) END
                    FROM llm_requests AS calls WHERE calls.run_id = r.id)
    FROM {recordset("runs", _RUN_COLUMNS)} WHERE runs.id = r.id
""")
_END_ATTEMPTS = text("""
    UPDATE run_attempts SET ended_at = clock_timestamp(), outcome = runs.status
    FROM runs WHERE run_attempts.id = ANY(:attempts) AND runs.id = run_attempts.run_id
""")


def end_runs(script: Script, batch: Batch) -> None:
    """The runs that end have their outcome and cost; the cost is NULL where a call's is not known."""
    ending = [item for _, item in batch.of(EndRun)]
    if ending:
        script.add(_END_RUNS, {"rows": as_records([item.row for item in ending])})
        script.add(_END_ATTEMPTS, {"attempts": [item.attempt.id for item in ending]})
