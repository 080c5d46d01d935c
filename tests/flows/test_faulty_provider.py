"""A provider that fails every other time."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.analysis import analyze_bills
from flows.running import run_flow
from tests.conftest import Environment
from tests.flows.analyst import ScriptedAnalyst
from tests.flows.conftest import BILL, Look
from tests.scripted_provider import ScriptedProvider

FAULTS = {"429": 0.30, "500": 0.10, "hang": 0.05, "broken_json": 0.05}


@pytest.fixture
def bills(tmp_path: Path) -> list[str]:
    """Twenty bills that differ."""
    paths = [tmp_path / f"bill-{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text(BILL.replace("six percent", f"{number} percent"))
    return [str(path) for path in paths]


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_run_ends_with_an_outcome_and_each_paid_answer_is_a_row(
    bills: list[str],
    seed: int,
    analyst: ScriptedAnalyst,
    settings: object,
    environment: Environment,
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.ledger.retries.FIRST_PAUSE_SECONDS", 0.01)
    with ScriptedProvider(analyst, faults=FAULTS, seed=seed) as faulty:
        environment(OPENAI_BASE_URL=faulty.url, HEADRACE_CALL_TIMEOUT_SECONDS=1.0, HEADRACE_RETRY_ATTEMPTS=4)
        outcomes = await run_flow(analyze_bills, {"sources": bills, "at_once": 10}, bare=True)
    assert {served.fault for served in faulty.log} > {"status", "hang", None}
    runs = {row["id"]: row for row in look("SELECT id, status, error FROM runs")}
    assert len(runs) == len(outcomes) == len(bills)
    for outcome in outcomes:
        run = runs[outcome.run_id]
        assert run["status"] == outcome.status
        if outcome.status == "failed":
            assert (run["error"]["code"], outcome.error_code) == ("retries_exhausted", "retries_exhausted")
            assert run["error"]["message"] == outcome.error
        else:
            assert (outcome.status, run["error"]) == ("completed", None)
    assert "completed" in {outcome.status for outcome in outcomes}
    counts = {row["status"]: row["n"] for row in look("SELECT status, count(*) AS n FROM llm_requests GROUP BY status")}
    assert counts["succeeded"] == faulty.paid
    assert sum(counts.values()) == len(faulty.log)
    assert "reserved" not in counts
    assert look("SELECT * FROM steps WHERE status = 'running'") == []
