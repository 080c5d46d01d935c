"""What an export that was killed has in it when it is gone on with: what was there when it began."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from schemas.settings import Settings
from schemas.training import ExportOptions
from tasks.training.bounds import Bound, committed
from tasks.training.reading import reading
from tests.flows.conftest import Look, Run, Start
from tests.flows.ledger_calls import Calls
from tests.flows.older import Records, as_json
from tests.flows.test_migration_lexybrain import RECORDS

FORMAT = ("--format", "parquet", "--bare")


@pytest.fixture
def calls(database: Engine, settings: Settings) -> Calls:
    """An empty ledger to write calls into."""
    return Calls(database)


def content(folder: Path) -> dict[str, bytes]:
    """What every file of an export has in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_for(path: Path) -> None:
    """It is there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, "it never came"


def kill_in_the_middle(start: Start, database: Engine, out: Path) -> None:
    """An export to `out` was killed while it read."""
    with database.begin() as connection:
        connection.execute(text("LOCK TABLE feedback"))
        process = start("export-training", out, *FORMAT)
        wait_for(out.with_name(f".{out.name}.partial") / "train.parquet")
        assert process.kill().code == -signal.SIGKILL


def later_source(folder: Path, change: Callable[[Records], Any]) -> Path:
    """The older application's rows, changed."""
    records = copy.deepcopy(RECORDS)
    change(records)
    return as_json(folder, records)


def test_older_calls_and_ratings_that_were_migrated_since_are_no_part_of_it(
    headrace: Run, start: Start, calls: Calls, database: Engine, look: Look, tmp_path: Path
) -> None:
    first = later_source(tmp_path / "first", lambda records: records["lexybrain_feedback"].clear())
    assert headrace("migrate", "lexybrain", first, "--bare").code == 0
    calls.add("Why?", "Because.", "positive")
    whole, out = tmp_path / "whole", tmp_path / "made"
    assert headrace("export-training", whole, *FORMAT).code == 0
    kill_in_the_middle(start, database, out)
    assert headrace("migrate", "lexybrain", as_json(tmp_path / "then", RECORDS), "--bare").code == 0
    other = as_json(tmp_path / "other", RECORDS)
    assert headrace("migrate", "lexybrain", other, "--name", "other", "--bare").code == 0
    (run,) = look("SELECT run_id FROM training_exports WHERE status = 'running'")
    resumed = headrace("resume", run["run_id"], "--bare", "--json")
    assert (resumed.code, resumed.json["manifest"]["calls"], resumed.json["warnings"]) == (0, 3, [])
    assert content(out) == content(whole)
    assert headrace("export-training", tmp_path / "anew", *FORMAT, "--json").json["manifest"]["calls"] == 5


def test_rows_that_a_migration_has_changed_since_are_warned_of(
    headrace: Run, start: Start, calls: Calls, database: Engine, look: Look, tmp_path: Path
) -> None:
    assert headrace("migrate", "lexybrain", as_json(tmp_path / "first", RECORDS), "--bare").code == 0
    kill_in_the_middle(start, database, tmp_path / "made")
    changed = later_source(
        tmp_path / "then", lambda records: records["lexybrain_responses"][0].update(output_json={"niche": "shoes"})
    )
    assert headrace("migrate", "lexybrain", changed, "--bare").code == 0
    (run,) = look("SELECT run_id FROM training_exports WHERE status = 'running'")
    resumed = headrace("resume", run["run_id"], "--bare", "--json")
    assert resumed.json["warnings"] == [
        "1 rows were changed by a migration since the export began: it may differ from what it was then"
    ]


def ids(engine: Engine, bound: Bound) -> set[UUID]:
    """The calls that are read."""
    with reading(engine, ExportOptions(format="parquet"), bound) as found:
        return {call.id for call in found}


def test_a_call_that_was_settled_before_and_committed_after_it_began_is_no_part_of_it(
    database: Engine, calls: Calls
) -> None:
    early, late = calls.add("Early?", "Yes."), calls.add("Late?", "No.")
    with database.connect() as settling, database.connect() as beginning:
        settling.execute(text("UPDATE llm_requests SET completed_at = clock_timestamp() WHERE id = :id"), {"id": late})
        snapshot = beginning.execute(text("SELECT CAST(pg_current_snapshot() AS text)")).scalar_one()
        until = datetime.now(UTC) + timedelta(seconds=1)
        settling.commit()
    assert ids(database, Bound(until, snapshot)) == {early}
    assert ids(database, Bound(until)) == {early, late}  # of an export that was begun before snapshots were kept


@pytest.mark.parametrize(
    ("transaction", "visible"),
    [
        (2**32 - 6, True),  # before the numbers began anew
        (4, False),  # at work in the snapshot
        (5, True),
        (6, False),  # begun later
        (11, False),
        (106, True),  # not given anew yet: of the time before
        (2, True),  # frozen by an older Postgres
    ],
)
def test_numbers_of_transactions_that_began_anew_are_told_apart(
    database: Engine, transaction: int, visible: bool
) -> None:
    values = {
        "snapshot": f"{2**32 + 4}:{2**32 + 6}:{2**32 + 4}",
        "epoch": 2**32,
        "epoch_next": 14,
        "wraps": 2**32,
        "number": str(transaction),
    }
    with database.connect() as connection:
        driver: Any = connection.connection.driver_connection
        row = f"SELECT {committed('written')} FROM (SELECT %(number)s::text::xid AS xmin) AS written"
        assert driver.execute(row, values).fetchone() == (visible,)


def test_an_export_that_is_interrupted_leaves_no_folder_and_can_be_gone_on_with(
    headrace: Run, start: Start, calls: Calls, database: Engine, look: Look, tmp_path: Path
) -> None:
    calls.add("Why?", "Because.", "positive")
    out, partial = tmp_path / "made", tmp_path / ".made.partial"
    with database.begin() as connection:
        connection.execute(text("LOCK TABLE feedback"))
        process = start("export-training", out, *FORMAT)
        wait_for(partial / "train.parquet")
        process.send(signal.SIGINT)
        done = process.wait()  # although Postgres still keeps it waiting
    assert (done.code, list(tmp_path.glob("*made*"))) == (130, [])
    (run,) = look("SELECT run_id FROM training_exports WHERE status = 'running'")
    assert headrace("resume", run["run_id"], "--bare").code == 0
    assert (out.exists(), partial.exists()) == (True, False)
