"""Models side by side."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.flows.analyst import ScriptedAnalyst
from tests.flows.commands import Done
from tests.flows.conftest import BILL, Look, Run
from tests.scripted_provider import Reply, ScriptedProvider


def compare(
    headrace: Run, *bills: Path, models: tuple[str, ...] = ("gpt-4o-mini", "gpt-4o"), json: bool = True
) -> Done:
    generate = [word for name in models for word in ("--generate", name)]
    return headrace("compare", *bills, *generate, "--bare", *(["--json"] if json else []))


def test_each_model_drafts_on_the_research_done_once(
    bill: Path, headrace: Run, look: Look, provider: ScriptedProvider
) -> None:
    done = compare(headrace, bill)
    assert (done.code, done.json["status"]) == (0, "completed")
    first, second = done.json["rows"]
    assert (first["generate"], second["generate"]) == ("gpt-4o-mini", "gpt-4o")
    for row in (first, second):
        assert (row["bill"], row["status"], row["passed"]) == ("UNKNOWN/LAKEMONT-BILL/UNKNOWN", "completed", True)
        assert row["supported_impacts"] == 3
    outputs = look("SELECT run_id, output FROM steps WHERE name = 'research' ORDER BY run_id")
    assert [str(row["run_id"]) for row in outputs] == [first["run_id"], second["run_id"]]
    assert outputs[0]["output"] == outputs[1]["output"]
    researched = look("SELECT research FROM bill_analyses")
    assert researched[0] == researched[1]
    asked = [served.body["response_format"]["json_schema"]["name"] for served in provider.log]
    assert asked.count("SearchQueries") == 1
    assert asked.count("DraftAnalysis") == 2


def test_cost_and_latency_are_those_of_the_answers_even_where_they_were_stored(
    bill: Path, headrace: Run, look: Look, provider: ScriptedProvider
) -> None:
    first = compare(headrace, bill).json["rows"]
    again = compare(headrace, bill).json["rows"]
    assert [row["cost_usd"] for row in again] == [row["cost_usd"] for row in first]
    assert [row["model_seconds"] for row in again] == [row["model_seconds"] for row in first]
    (mini, _) = first
    tokens = look(
        "SELECT input_tokens, output_tokens FROM llm_requests WHERE run_id = :run AND purpose <> 'research'",
        run=mini["run_id"],
    )
    # gpt-4o-mini: 0.15 USD for a million tokens read, 0.60 for a million written; research is not counted.
    cost = sum(Decimal("0.15") * row["input_tokens"] + Decimal("0.60") * row["output_tokens"] for row in tokens)
    assert Decimal(mini["cost_usd"]) == cost / 1_000_000
    paid = {row["subject"]: row["paid"] for row in look("SELECT subject, sum(cost_usd) AS paid FROM runs GROUP BY 1")}
    assert len(paid) == 1
    assert provider.paid == 4  # research, two drafts, and one review of two that are alike


def test_each_bill_is_compared_and_people_see_a_table(tmp_path: Path, bill: Path, headrace: Run) -> None:
    other = tmp_path / "other.txt"
    other.write_text(BILL.replace("six", "five"))
    done = compare(headrace, bill, other, json=False)
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if "gpt-4o" in line]
    assert len(lines) == 4
    assert all("completed" in line and "passed" in line and "0.93" in line for line in lines)


def test_a_model_that_fails_stops_no_other_and_its_research_is_used(
    bill: Path, analyst: ScriptedAnalyst, headrace: Run, look: Look, provider: ScriptedProvider
) -> None:
    answer = analyst.__call__
    provider._respond = lambda request: (
        Reply(status=404, body=b"{}") if request["model"] == "gpt-4o" else answer(request)
    )
    done = compare(headrace, bill, models=("gpt-4o", "gpt-4o-mini"))
    assert (done.code, done.json["status"]) == (1, "failed")
    failed, completed = done.json["rows"]
    assert (failed["status"], completed["status"]) == ("failed", "completed")
    assert "no model gpt-4o" in failed["error"]
    (run,) = look("SELECT parameters FROM runs WHERE id = :run", run=completed["run_id"])
    assert run["parameters"]["research_of"] == failed["run_id"]
    assert "no model gpt-4o" in compare(headrace, bill, models=("gpt-4o", "gpt-4o-mini"), json=False).out


def test_a_compared_run_that_is_resumed_keeps_its_research(
    bill: Path, analyst: ScriptedAnalyst, headrace: Run, look: Look
) -> None:
    *_, second = compare(headrace, bill).json["rows"]
    look("UPDATE runs SET status = 'failed' WHERE id = :run", run=second["run_id"])
    look("DELETE FROM steps WHERE run_id = :run", run=second["run_id"])
    analyst.queries = ["something else entirely"]
    resumed = headrace("resume", second["run_id"], "--bare", "--json").json
    assert resumed["research"]["queries"] == ScriptedAnalyst().queries
    assert resumed["models"]["generate"] == "gpt-4o"
