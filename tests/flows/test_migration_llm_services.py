"""The shared gateway's calls become rows of the ledger: history that shows in costs and weighs on no budget."""

from __future__ import annotations

import asyncio
import csv
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from blocks.database import create_database, normal_url
from tasks.ledger.requests import list_requests
from tests.flows.conftest import Look, Run

AT = "2025-09-08T10:00:00+00:00"
FIRST = "00000000-0000-4000-8000-000000000001"
COST = 0.1 + 0.2
"""0.30000000000000004, as a binary float has it."""


def planned(**changes: Any) -> dict[str, Any]:
    """A call as the table was when the move was planned."""
    return {
        "id": FIRST,
        "user_id": "6b1f7d1e-0000-4000-8000-00000000000a",
        "provider": "openai",
        "model": "gpt-5",
        "temperature": 0.7,
        "max_tokens": 500,
        "messages": json.dumps({"messages": [{"role": "user", "content": "Why?"}]}),
        "additional_params": json.dumps({"api_key": "sk-abcdef", "seed": 7}),
        "response_content": "So.",
        "response_raw": json.dumps({"headers": {"Authorization": "Bearer sk-abcdef"}, "note": "nul \u0000"}),
        "tokens_used": 30,
        "prompt_tokens": 10,
        "completion_tokens": None,
        "cost_estimate": COST,
        "finish_reason": "stop",
        "context_data": json.dumps({"lesson": 3}),
        "status": "completed",
        "execution_time_ms": 1500,
        "error_message": None,
        "error_type": None,
        "retry_attempt": 1,
        "cached": 0,
        "created_at": AT,
        **changes,
    }


def later(**changes: Any) -> dict[str, Any]:
    """A call as the table became."""
    return {
        "id": FIRST,
        "user_id": 42,
        "api_variant": "responses",
        "provider": "anthropic",
        "model": "claude-haiku",
        "provider_response_id": "resp_1",
        "system_fingerprint": None,
        "temperature": 0.7,
        "max_output_tokens": 500,
        "messages": json.dumps([{"role": "user", "content": "Why?"}]),
        "additional_params": None,
        "request_payload": json.dumps({"api_key": "sk-abcdef", "model": "claude-haiku"}),
        "response_content": "So.",
        "response_output": None,
        "response_created_at": AT,
        "input_tokens": 10,
        "output_tokens": 20,
        "tokens_used": 30,
        "cost_estimate": 0.25,
        "status": "completed",
        "execution_time_ms": 1500,
        "error_message": None,
        "error_type": None,
        "retry_attempt": 2,
        "cached": False,
        "created_at": AT,
        "updated_at": AT,
        **changes,
    }


def write_sqlite(path: Path, *rows: dict[str, Any]) -> Path:
    """The rows are the table `llm_requests` of a SQLite file, which has another table too."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE llm_requests ({', '.join(rows[0])})")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO llm_requests VALUES ({marks})", [list(row.values()) for row in rows])
        connection.execute("CREATE TABLE flow_runs (id)")
        connection.commit()
    return path


def write_csv(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def calls(look: Look) -> list[dict[str, Any]]:
    """Every call, without the run that wrote it."""
    return look("SELECT to_jsonb(t) - 'migration_run_id' AS row FROM llm_requests AS t ORDER BY id")


def test_calls_of_the_planned_table_load_from_sqlite(headrace: Run, look: Look, tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "old.sqlite", planned())
    done = headrace("migrate", "llm-services", path, "--json", "--bare")
    assert done.code == 0, done.err
    (row,) = look("SELECT * FROM llm_requests")
    wanted = {
        "user_id": "6b1f7d1e-0000-4000-8000-00000000000a",
        "project": "llm-services",
        "kind": "chat",
        "status": "succeeded",
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_usd": Decimal("0.3"),
        "reserved_usd": None,
        "cost_source": "price_table",
        "budget_scopes": [],
        "latency_ms": 1500,
        "attempt": 1,
        "finish_reason": "stop",
        "context": {"lesson": 3},
        "request": {
            "messages": [{"role": "user", "content": "Why?"}],
            "parameters": {"seed": 7},
            "temperature": 0.7,
            "max_output_tokens": 500,
        },
        "response": {"content": "So."},
        "source": "llm-services",
    }
    assert {name: row[name] for name in wanted} == wanted
    assert (row["completed_at"] - row["created_at"]).total_seconds() == 1.5
    assert row["attributes"] == {
        "source_id": FIRST,
        "response_raw": {"headers": {}, "note": "nul \ufffd"},
        "tokens_used": 30,
        "cost_estimate": COST,
        "cached": 0,
    }
    assert {(each["field"], each["count"]) for each in done.json["refused"]} == {("api_key", 1), ("Authorization", 1)}
    assert done.json["notes"] == ["of the source only llm_requests was read, not flow_runs"]


def test_calls_of_the_later_table_load_from_csv(headrace: Run, look: Look, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "calls-2025.csv", later())
    done = headrace("migrate", "llm-services", path, "--json", "--bare")
    assert done.code == 0, done.err
    (row,) = look("SELECT * FROM llm_requests")
    wanted = {
        "user_id": "42",
        "provider_request_id": "resp_1",
        "attempt": 2,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_usd": Decimal("0.25"),
        "status": "succeeded",
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["request"]["messages"] == [{"role": "user", "content": "Why?"}]
    assert row["attributes"]["request_payload"] == {"model": "claude-haiku"}
    assert row["attributes"]["api_variant"] == "responses"
    assert done.json["refused"] == [{"table": "llm_requests", "field": "api_key", "count": 1}]


def test_calls_load_from_another_postgres(headrace: Run, look: Look, empty_database_url: str, tmp_path: Path) -> None:
    columns = "id uuid, user_id int, provider text, model text, messages jsonb, additional_params json, "
    columns += "response_content text, cost_estimate float8, status text, cached bool, created_at timestamptz"
    values = later(additional_params=json.dumps({"apiKey": "sk-abcdef", "n": 1}), cost_estimate=COST)
    names = [column.split()[0] for column in columns.split(", ")]
    engine = create_database(normal_url(empty_database_url))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE llm_requests ({columns})"))
        marks = ", ".join(f":{name}" for name in names)
        connection.execute(text(f"INSERT INTO llm_requests VALUES ({marks})"), {name: values[name] for name in names})
    engine.dispose()
    done = headrace("migrate", "llm-services", empty_database_url, "--json", "--bare")
    assert done.code == 0, done.err
    (row,) = look("SELECT cost_usd, request, user_id FROM llm_requests")
    assert (row["cost_usd"], row["user_id"]) == (Decimal("0.3"), "42")
    assert row["request"]["parameters"] == {"n": 1}
    csv_done = headrace(
        "migrate", "llm-services", write_csv(tmp_path / "c.csv", values), "--dry-run", "--json", "--bare"
    )
    assert [each["inserted"] for each in csv_done.json["tables"]] == [0], (
        "the same call has the same id, whence it comes"
    )


def outcomes() -> list[dict[str, Any]]:
    """A call of each outcome, a minute apart."""
    changes: list[dict[str, Any]] = [
        {},
        {"cached": True, "cost_estimate": 0.5},
        {"status": "failed", "cost_estimate": None, "error_type": "LLMTimeoutError", "error_message": "too late"},
        {"status": "pending", "cost_estimate": None, "response_content": None},
        {"cost_estimate": 0.0},
        {"status": "lost"},
    ]
    return [
        later(**{"id": f"call-{number}", "created_at": f"2025-09-08T10:0{number}:00", **change})
        for number, change in enumerate(changes)
    ]


def test_history_shows_in_costs_and_weighs_on_no_budget(headrace: Run, look: Look, tmp_path: Path) -> None:
    headrace("budget", "set", "--project", "llm-services", "--day", "0.01", "--month", "0.01")
    path = write_csv(tmp_path / "calls.csv", *outcomes())
    done = headrace("migrate", "llm-services", path, "--json", "--bare")
    assert done.code == 0, done.err
    columns = "status, cost_usd, saved_usd, cost_source, error_class"
    rows = look(f"SELECT {columns} FROM llm_requests ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("succeeded", Decimal("0.25"), None, "price_table", None),
        ("replayed", Decimal(0), Decimal("0.5"), "price_table", None),
        ("failed", None, None, "unpriced", "LLMTimeoutError"),
        ("unknown", None, None, "unpriced", None),
        ("succeeded", None, None, "unpriced", None),
    ]
    assert look("SELECT source_id IS NOT NULL AS named, rule FROM migration_rejects") == [
        {"named": True, "rule": "llm_requests.status"}
    ]
    assert look("SELECT total_cost FROM get_daily_cost('2025-09-08')") == [{"total_cost": Decimal("0.25")}]
    assert look("SELECT count(*) AS rows FROM cost_tracking WHERE id >= lowest_id_at('2025-09-08')") == [{"rows": 4}]
    shown = headrace("costs", "--since", "2025-09-08", "--until", "2025-09-08", "--by", "project", "--json")
    assert shown.code == 0, shown.err
    assert '"llm-services"' in shown.out
    assert '"0.25"' in shown.out
    headrace("costs", "--rebuild", "--json")
    assert look("SELECT count(*) AS rows FROM budget_usage WHERE spent_usd > 0") == [{"rows": 0}]


def test_ids_are_those_of_their_time(headrace: Run, look: Look, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    path = write_csv(tmp_path / "calls.csv", *outcomes(), later(id="now", created_at=now.isoformat()))
    headrace("migrate", "llm-services", path, "--bare")
    partitions = look(
        "SELECT tableoid::regclass::text AS name, count(*) AS rows FROM llm_requests GROUP BY 1 ORDER BY 2"
    )
    assert partitions == [
        {"name": f"llm_requests_{now:%Y_%m}", "rows": 1},
        {"name": "llm_requests_default", "rows": 5},
    ]
    bounds = "id >= lowest_id_at('2025-09-08 10:02+00') AND id < lowest_id_at('2025-09-08 10:03+00')"
    assert look(f"SELECT attributes ->> 'source_id' AS id FROM llm_requests WHERE {bounds}") == [{"id": "call-2"}]


def test_a_changed_call_updates_a_missing_one_is_gone_a_rejected_one_is_not_and_all_is_taken_back(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    rows = outcomes()[:4]
    first = headrace("migrate", "llm-services", write_csv(tmp_path / "a.csv", *rows), "--json", "--bare").json
    loaded = calls(look)
    again = headrace("migrate", "llm-services", write_sqlite(tmp_path / "a.sqlite", *rows), "--json", "--bare").json
    assert [(each["inserted"], each["updated"]) for each in again["tables"]] == [(0, 4)], (
        "SQLite keeps types of its own"
    )
    assert headrace("rollback", again["run_id"], "--bare").code == 0
    assert calls(look) == loaded
    rows[0]["cost_estimate"], rows[1]["status"] = 0.75, "lost"
    path = write_csv(tmp_path / "b.csv", *rows[:3])
    second = headrace("migrate", "llm-services", path, "--prune", "--json", "--bare").json
    assert [(each["updated"], each["unchanged"], each["gone"], each["pruned"]) for each in second["tables"]] == [
        (1, 1, 1, 1)
    ]
    third = headrace("migrate", "llm-services", path, "--json", "--bare").json
    assert [(each["updated"], each["unchanged"]) for each in third["tables"]] == [(0, 2)]
    assert headrace("rollback", second["run_id"], "--bare").code == 0
    assert calls(look) == loaded
    assert headrace("rollback", first["run_id"], "--bare").code == 0
    assert calls(look) == []


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("id", None, "id: Field required"),
        ("created_at", "soon", "created_at: Input should be a valid datetime"),
        ("cost_estimate", "NaN", "cost_usd: Input should be a finite number"),
        ("cost_estimate", "-1", "cost_usd: Input should be greater than or equal to 0"),
        ("input_tokens", "many", "input_tokens: Input should be a valid integer"),
    ],
)
def test_a_call_that_is_none_is_rejected(
    headrace: Run, look: Look, tmp_path: Path, column: str, value: Any, said: str
) -> None:
    path = write_csv(tmp_path / "calls.csv", later(**{column: value, "additional_params": "api_key=sk-abcdef, seed"}))
    done = headrace("migrate", "llm-services", path, "--json", "--bare")
    assert done.code == 0, done.err
    (reject,) = look("SELECT reason, record::text AS record FROM migration_rejects")
    assert reject["reason"].startswith(said)
    assert "sk-abcdef" not in reject["record"]


def test_a_source_without_the_table_is_refused(headrace: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE one (id)")
        connection.execute("CREATE TABLE two (id)")
    done = headrace("migrate", "llm-services", tmp_path / "other.sqlite", "--bare")
    assert (done.code, "has no table llm_requests; it has one, two" in done.reason) == (2, True)


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@localhost/db", "postgres://localhost/db?password=hunter2"])
def test_a_password_in_a_url_is_refused_before_anything_keeps_it(headrace: Run, look: Look, url: str) -> None:
    done = headrace("migrate", "llm-services", url, "--bare")
    assert (done.code, "leave it out and set PGPASSWORD" in done.reason) == (2, True)
    assert "hunter2" not in done.err
    assert look("SELECT id FROM runs") == []
    broken = headrace("migrate", "llm-services", "postgresql://[::1/db", "--bare")
    assert (broken.code, "it should look like postgresql://user@host/db" in broken.reason) == (2, True)


def test_a_migrated_call_is_read_and_rated_as_any_other_and_stays_while_it_is_rated(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    run = headrace("migrate", "llm-services", write_csv(tmp_path / "c.csv", *outcomes()), "--json", "--bare").json[
        "run_id"
    ]
    requests = asyncio.run(list_requests("42"))
    assert [each.status for each in requests] == ["succeeded", "unknown", "failed", "replayed", "succeeded"]
    assert requests[-1].request == {
        "messages": [{"role": "user", "content": "Why?"}],
        "temperature": 0.7,
        "max_output_tokens": 500,
    }
    assert requests[-1].response == {"content": "So."}
    rated = headrace("feedback", requests[-1].id, "positive", "--user", "42")
    assert rated.code == 0, rated.err
    refused = headrace("rollback", run, "--bare")
    assert (refused.code, f"feedback refers to llm_requests {requests[-1].id}" in refused.reason) == (1, True)
    look("DELETE FROM feedback")
    assert headrace("rollback", run, "--bare").code == 0
    assert calls(look) == []
