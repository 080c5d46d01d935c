"""Every command: what it says to machines and to people."""

from __future__ import annotations

import os
import subprocess
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, make_url, text

from flows.maintenance import libpq_url, psql_program
from schemas.former_variables import FORMER_VARIABLES
from schemas.runpod_settings import RUNPOD_VARIABLES
from schemas.settings import OLDER_VARIABLES
from schemas.tables.base import SCHEMA_REVISION
from tests.conftest import Environment
from tests.flows.conftest import BILL, Look, Run, Start
from tests.scripted_provider import ScriptedProvider


def test_analyze_writes_one_object_with_the_whole_analysis(bill: Path, start: Start, look: Look) -> None:
    done = start("analyze", bill, "--bare", "--json").wait()
    assert done.code == 0
    shown = done.json
    (run,) = look("SELECT id, status, cost_usd FROM runs")
    assert (shown["run_id"], shown["status"]) == (str(run["id"]), "completed")
    assert (shown["bill"], shown["title"], shown["source"]) == (
        "UNKNOWN/LAKEMONT-BILL/UNKNOWN", "AN ACT relating to rents.", str(bill),
    )  # fmt: skip
    assert (shown["passed"], shown["quality_score"]) == (True, pytest.approx(0.5 + 0.2 + 0.3 * 0.75))
    assert Decimal(shown["cost_usd"]) == run["cost_usd"] > 0
    assert shown["analysis"]["summary"] == "Draft 1. It protects tenants."
    for impact in shown["analysis"]["impacts"]:
        (evidence,) = impact["evidence"]
        assert evidence["located"]
        assert " ".join(BILL[evidence["start"] : evidence["end"]].split()) == evidence["quote"]
    assert shown["review"]["passed"]
    assert shown["coverage"]["complete"]
    assert shown["models"] == dict.fromkeys(("research", "generate", "review"), "gpt-4o-mini")


def test_analyze_shows_people_the_report_the_run_and_the_cost(bill: Path, headrace: Run, look: Look) -> None:
    done = headrace("analyze", bill, "--bare")
    (run,) = look("SELECT id, cost_usd FROM runs")
    (stored,) = look("SELECT report FROM bill_analyses")
    cost = f"{run['cost_usd']:.6f}".rstrip("0")
    assert done.out == stored["report"] + f"\nRun {run['id']}: passed review, quality 0.93, cost ${cost}\n"
    assert done.err.splitlines()[0].startswith("analyze-bill runs without Prefect")
    assert [line for line in done.err.splitlines() if line.endswith(" …")] == [
        "read …", "research …", "generate …", "check …", "review …",
    ]  # fmt: skip


def test_analyze_reads_standard_input(headrace: Run, look: Look) -> None:
    key = ("--jurisdiction", "NY", "--bill-id", "a-12", "--session", "2023")
    done = headrace("analyze", "-", *key, "--bare", "--json", stdin=BILL.encode("utf-16"))
    assert (done.code, done.json["bill"], done.json["source"]) == (0, "NY/A12/2023", "-")
    assert look("SELECT text FROM bills") == [{"text": BILL}]


def test_analyze_of_many_writes_an_object_for_each(tmp_path: Path, bill: Path, headrace: Run, look: Look) -> None:
    (tmp_path / "empty.txt").write_text("")
    done = headrace("analyze", bill, tmp_path / "empty.txt", "--bare", "--json")
    assert (done.code, done.json["status"]) == (1, "failed")
    good, bad = done.json["outcomes"]
    assert (good["status"], good["bill"], good["passed"]) == ("completed", "UNKNOWN/LAKEMONT-BILL/UNKNOWN", True)
    assert (bad["status"], bad["source"], bad["error"]["code"]) == (
        "failed", str(tmp_path / "empty.txt"), "bad_input",
    )  # fmt: skip
    runs = {str(row["id"]): row["status"] for row in look("SELECT id, status FROM runs")}
    assert runs == {good["run_id"]: "completed", bad["run_id"]: "failed"}
    people = headrace("analyze", bill, tmp_path / "empty.txt", "--bare")
    assert people.code == 1
    assert "empty.txt is empty" in people.out
    (tmp_path / "none.txt").write_text("")
    assert headrace("analyze", tmp_path / "empty.txt", tmp_path / "none.txt", "--bare").code == 2, "all failed alike"
    assert headrace("analyze", bill, bill, "--bare", "--json").json["status"] == "completed"


def test_runs_lists_the_latest_first(bill: Path, headrace: Run) -> None:
    first = headrace("analyze", bill, "--bare", "--json").json["run_id"]
    second = headrace("analyze", bill, "--bare", "--json").json["run_id"]
    listed = headrace("runs", "--json").json
    assert listed["status"] == "completed"
    assert [(row["id"], row["status"], row["flow"]) for row in listed["rows"]] == [
        (second, "completed", "analyze-bill"), (first, "completed", "analyze-bill"),
    ]  # fmt: skip
    assert listed["rows"][0]["cost_usd"] == "0"
    assert Decimal(listed["rows"][1]["cost_usd"]) > 0
    assert [row["id"] for row in headrace("runs", "--limit", "1", "--json").json["rows"]] == [second]
    lines = headrace("runs").out.splitlines()
    assert [run for line in lines for run in (first, second) if run in line] == [second, first]


def test_runs_of_one_shows_its_steps_and_their_calls(bill: Path, headrace: Run) -> None:
    headrace("analyze", bill, "--bare")
    run = headrace("analyze", bill, "--generate-model", "gpt-4o", "--bare", "--json").json["run_id"]
    shown = headrace("runs", run, "--json").json
    assert (shown["run_id"], shown["status"], shown["detail"]["attempts"]) == (run, "completed", 1)
    steps = {step["name"]: step for step in shown["detail"]["steps"]}
    assert list(steps) == ["read", "research", "generate", "check", "review"]
    assert (steps["research"]["calls"], steps["research"]["replays"], steps["research"]["cost_usd"]) == (0, 1, "0")
    assert (steps["generate"]["calls"], steps["generate"]["model"]) == (1, "gpt-4o")
    assert Decimal(steps["generate"]["cost_usd"]) > 0
    people = headrace("runs", run).out
    assert "0 + 1 replayed" in people
    assert f"analyze-bill {bill}: completed" in people


def test_runs_of_one_that_failed_says_why(tmp_path: Path, headrace: Run, look: Look) -> None:
    (tmp_path / "empty.txt").write_text("")
    headrace("analyze", tmp_path / "empty.txt", "--bare")
    (run,) = look("SELECT id FROM runs")
    shown = headrace("runs", run["id"])
    assert shown.code == 0
    assert f"failed: {tmp_path / 'empty.txt'} is empty" in shown.out
    assert headrace("runs", run["id"], "--json").json["status"] == "failed"


def test_resume_of_a_completed_run_shows_it_again(bill: Path, headrace: Run, provider: ScriptedProvider) -> None:
    first = headrace("analyze", bill, "--bare", "--json").json
    again = headrace("resume", first["run_id"], "--bare", "--json").json
    assert again == first
    assert provider.paid == 3


def test_budget_set_and_show(bill: Path, headrace: Run) -> None:
    assert headrace("budget", "show").out.startswith("No budget is set")
    made = headrace("budget", "set", "--project", "housing", "--day", "5", "--month", "$100.50", "--json").json
    assert made["status"] == "completed"
    assert [(row["scope_kind"], row["scope_id"], row["period"], row["limit_usd"]) for row in made["rows"]] == [
        ("project", "housing", "day", "5"), ("project", "housing", "month", "100.5"),
    ]  # fmt: skip
    cost = headrace("analyze", bill, "--project", "housing", "--bare", "--json").json["cost_usd"]
    shown = [row for row in headrace("budget", "show", "--json").json["rows"] if row["scope_id"] == "housing"]
    assert [(row["spent_usd"], row["reserved_usd"]) for row in shown] == [(cost, "0")] * 2
    assert "$100.5" in headrace("budget", "show").out
    headrace("budget", "set", "--user", "mary", "--day", "1")
    left = headrace("budget", "set", "--project", "housing", "--day", "none", "--month", "none", "--json").json["rows"]
    assert [(row["scope_kind"], row["scope_id"]) for row in left] == [("user", "mary")]


def test_db_url_has_no_password(environment: Environment, headrace: Run) -> None:
    environment(DATABASE_URL="postgresql+asyncpg://ann:hidden@db.example:5433/ledger?sslmode=require")
    assert headrace("db", "url").out == "postgresql://ann@db.example:5433/ledger?sslmode=require\n"


def test_db_upgrade_brings_an_empty_database_up_to_date(
    empty_database_url: str, environment: Environment, headrace: Run, bill: Path
) -> None:
    environment(DATABASE_URL=empty_database_url)
    assert headrace("db", "upgrade", "--json").json == {
        "run_id": None, "status": "completed", "message": f"the schema went from nothing to {SCHEMA_REVISION}",
    }  # fmt: skip
    assert headrace("db", "upgrade").out == f"the schema is at {SCHEMA_REVISION} already\n"
    assert headrace("analyze", bill, "--bare").code == 0


def test_a_database_of_a_newer_headrace_is_left_alone(database: Engine, headrace: Run) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (("runs",), ("db", "upgrade")):
        done = headrace(*command)
        assert (done.code, f"newer than this Headrace ({SCHEMA_REVISION}): upgrade Headrace" in done.reason) == (
            2,
            True,
        )


def test_psql_reaches_the_database(start: Start, look: Look) -> None:
    (name,) = look("SELECT current_database() AS name")
    done = start("db", "psql", "-At", "-c", "SELECT current_database(), 6 * 7").wait()
    assert (done.code, done.out) == (0, f"{name['name']}|42\n")
    assert start("db", "psql", "-c", "SELECT nonsense").wait().code == 1


def test_psql_is_given_the_password_by_the_environment_alone() -> None:
    url = make_url("postgresql+psycopg://ann:hidden@db.example/ledger")
    assert libpq_url(url) == "postgresql://ann@db.example/ledger"
    assert subprocess.run([psql_program(), "--version"], capture_output=True, check=True).stdout.startswith(b"psql")


def test_doctor_names_what_is_wrong_and_the_command_that_mends_it(
    environment: Environment, empty_database_url: str, headrace: Run
) -> None:
    with ScriptedProvider(models=["gpt-4o-mini"], api_key="sk-right") as provider:
        environment(DATABASE_URL=empty_database_url, OPENAI_BASE_URL=provider.url, OPENAI_API_KEY="sk-right")
        environment(HEADRACE_REVIEW_MODEL="gpt-17", PREFECT_API_URL="http://127.0.0.1:9/api")
        done = headrace("doctor", "--json")
        people = headrace("doctor")
    assert (done.code, done.json["status"]) == (1, "failed")
    findings = {item["subject"]: item for item in done.json["findings"]}
    assert findings["database"]["ok"]
    assert findings["extensions"]["ok"]
    assert (findings["schema"]["ok"], findings["schema"]["mend"]) == (False, "headrace db upgrade")
    assert findings["model gpt-4o-mini"]["ok"]
    assert not findings["model gpt-17"]["ok"]
    assert "HEADRACE_REVIEW_MODEL" in findings["model gpt-17"]["mend"]
    assert (findings["prefect"]["ok"], findings["provider keys"]["says"]) == (False, "set: OPENAI_API_KEY")
    assert findings["disk"]["ok"]
    assert f"bad schema: at nothing yet, {SCHEMA_REVISION} is needed" in people.out
    assert "    mend: headrace db upgrade" in people.out
    assert "sk-right" not in done.out + done.err + people.out + people.err


def test_doctor_finds_a_dead_database_and_a_wrong_key(environment: Environment, headrace: Run) -> None:
    with ScriptedProvider(api_key="sk-right") as provider:
        environment(DATABASE_URL="postgresql://ann:hidden@127.0.0.1:9/x", OPENAI_BASE_URL=provider.url)
        environment(OPENAI_API_KEY="sk-wrong")
        done = headrace("doctor", "--json")
    findings = {item["subject"]: item for item in done.json["findings"]}
    assert "Postgres is not available" in findings["database"]["says"]
    assert not findings["model gpt-4o-mini"]["ok"]
    assert "hidden" not in done.out + done.err
    assert "sk-wrong" not in done.out + done.err


def test_doctor_is_content_where_all_is_well(headrace: Run, environment: Environment) -> None:
    done = headrace("doctor", "--json")
    assert (done.code, done.json["status"]) == (0, "completed")
    assert {item["mend"] for item in done.json["findings"]} == {None}


def test_doctor_finds_roles_that_may_not_do_what_they_are_for(headrace: Run, look: Look) -> None:
    look("REVOKE SELECT ON llm_requests FROM headrace_app")
    done = headrace("doctor", "--json")
    (roles,) = (item for item in done.json["findings"] if item["subject"] == "roles")
    assert (done.code, roles["ok"], roles["mend"]) == (1, False, "headrace db roles")
    assert roles["says"] == "headrace_app may not read llm_requests"
    assert headrace("db", "roles").code == 0
    assert headrace("doctor").code == 0


def test_doctor_says_what_older_variables_came_to(headrace: Run, environment: Environment) -> None:
    subject = "daily budget of project default"
    findings = {item["subject"]: item["says"] for item in headrace("doctor", "--json").json["findings"]}
    assert findings[subject].startswith("none is set, so nothing limits a day (MAX_DAILY_LLM_COST,")
    environment(MAX_DAILY_LLM_COST="12.5", TEMPERATURE="0.7", LLM_CACHE_DIR="", NEXT_PUBLIC_OPENAI_API_KEY="sk-browser")
    done = headrace("doctor", "--json")
    assert done.code == 0, "they do no harm"
    says = [item["says"] for item in done.json["findings"] if item["subject"] == "older variables"]
    assert says == [
        "NEXT_PUBLIC_OPENAI_API_KEY is set and has no meaning here: use OPENAI_API_KEY; it was part of what browsers "
        "were sent, so have that key revoked",
        "TEMPERATURE is set and has no meaning here: use ChatParameters of the single call",
    ]
    assert f"{subject}: $12.5, by MAX_DAILY_LLM_COST" in headrace("doctor").out
    headrace("budget", "set", "--day", "5")
    shown = headrace("doctor").out
    assert "$5, by `headrace budget set`, which comes before the $12.5 of MAX_DAILY_LLM_COST" in shown
    assert "sk-browser" not in shown + done.out + done.err


def test_every_older_variable_is_in_the_table_of_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (table,) = (part for part in readme.split("\n### ") if part.startswith("Variables of the older applications\n"))
    named = {*FORMER_VARIABLES, *OLDER_VARIABLES, *RUNPOD_VARIABLES} - {"RUNPOD_ENDPOINT_BASE_URL"}
    assert {name for name in named if f"`{name}`" not in table} == set()


def test_down_stops_what_runs_in_a_home(headrace: Run, environment: Environment, tmp_path: Path) -> None:
    environment(HEADRACE_HOME=tmp_path / "own")
    done = headrace("down", "--json")
    assert done.json["status"] == "completed"
    assert str(tmp_path / "own") in done.json["message"]


def test_help_and_version_say_what_there_is(headrace: Run) -> None:
    assert "Go on with a run that failed" in " ".join(headrace("--help").out.split())
    assert headrace("--version").out == "0.1.0\n"
    assert "HEADRACE_GENERATE_MODEL" in headrace("analyze", "--help").out


def test_ids_are_told_as_uuids_and_money_as_decimal_text(bill: Path, headrace: Run) -> None:
    shown = headrace("analyze", bill, "--bare", "--json").json
    assert str(UUID(shown["run_id"])) == shown["run_id"]
    assert "E" not in shown["cost_usd"]
    assert headrace("runs", "--json").json["rows"][0]["started_at"].endswith("+00:00")
    assert os.environ["OPENAI_API_KEY"] not in str(shown)


def test_runs_without_a_number_that_can_be_listed_is_bad_usage(headrace: Run) -> None:
    done = headrace("runs", "--limit", "0")
    assert (done.code, done.err) == (2, 'headrace: Invalid value "0" for --limit. Must be >= 1.\n')
