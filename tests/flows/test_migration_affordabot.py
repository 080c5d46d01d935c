"""The bill analyser's runs, steps, costs and searches, from dumps of its tables and from its database."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from blocks.database import normal_url
from tests.flows.conftest import Look, Run
from tests.flows.older import Records, counts, dump, fill, rows_of, run_sql

DDL = """
CREATE TABLE web_search_cache (cache_key varchar(64) PRIMARY KEY, query text NOT NULL, results jsonb NOT NULL,
    cached_at timestamp NOT NULL DEFAULT now(), hit_count int DEFAULT 0);
CREATE TABLE cost_tracking (id uuid PRIMARY KEY, model varchar(100) NOT NULL, step varchar(50),
    cost_usd numeric(10,6) NOT NULL, tokens_used int, timestamp timestamp NOT NULL DEFAULT now(),
    project varchar(50) DEFAULT 'affordabot');
CREATE TABLE pipeline_runs (id uuid PRIMARY KEY, bill_id varchar(100) NOT NULL, jurisdiction varchar(100),
    research_model varchar(100), generate_model varchar(100) NOT NULL, review_model varchar(100) NOT NULL,
    status varchar(20) NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
    started_at timestamp NOT NULL DEFAULT now(), completed_at timestamp, analysis_json jsonb, review_json jsonb,
    review_passed boolean, quality_score numeric(3,2), error_message text);
CREATE TABLE pipeline_steps (id uuid PRIMARY KEY, run_id uuid REFERENCES pipeline_runs (id) ON DELETE CASCADE,
    step varchar(20) NOT NULL CHECK (step IN ('research', 'generate', 'review', 'refine')),
    model varchar(100) NOT NULL, output jsonb, timestamp timestamp NOT NULL DEFAULT now())
"""
LATER_DDL = """
CREATE TABLE pipeline_runs (id uuid PRIMARY KEY, bill_id text NOT NULL, jurisdiction text NOT NULL, models jsonb,
    status varchar(20) NOT NULL, started_at timestamptz NOT NULL, completed_at timestamptz, result jsonb, error text,
    trigger_source varchar(20) DEFAULT 'manual');
CREATE TABLE pipeline_steps (id uuid PRIMARY KEY, run_id uuid NOT NULL REFERENCES pipeline_runs (id),
    step_number int NOT NULL, step_name varchar(50) NOT NULL, status varchar(20) NOT NULL, input_context jsonb,
    output_result jsonb, model_config jsonb, duration_ms int, created_at timestamptz NOT NULL,
    UNIQUE (run_id, step_number))
"""
RUNS, STEPS = (f"(SELECT * FROM {name} WHERE source IS NOT NULL)" for name in ("runs", "steps"))
TARGETS = (RUNS, STEPS, "llm_requests", "web_search_cache")
ANALYSIS = {"summary": "Rents are capped", "impacts": [{"p50": 12.5}], "confidence": 0.75, "sources": []}
REVIEW = {"passed": True, "critique": "", "missing_impacts": [], "factual_errors": []}


def number(kind: int, count: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{count:012d}"


def run(count: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number(1, count),
        "bill_id": f"AB-{count}",
        "jurisdiction": "California",
        "research_model": None,
        "generate_model": "openrouter/x-ai/grok-4.1-fast",
        "review_model": "zai/glm-4.6",
        "status": "completed",
        "started_at": "2025-12-01T10:00:00",
        "completed_at": "2025-12-01T10:01:30",
        **more,
    }


def step(count: int, run_count: int, name: str, output: Any) -> dict[str, Any]:
    given = {"id": number(2, count), "run_id": number(1, run_count), "step": name, "model": "zai/glm-4.6"}
    return {**given, "output": output, "timestamp": f"2025-12-01T10:00:{count:02d}"}


def cost(count: int, when: str, usd: float, tokens: int | None = 100, **more: Any) -> dict[str, Any]:
    given = {"id": number(3, count), "model": "zai/glm-4.6", "step": "generate", "cost_usd": usd}
    return {**given, "tokens_used": tokens, "timestamp": when, "project": "affordabot", **more}


RECORDS: Records = {
    "pipeline_runs": [
        run(5, analysis_json=ANALYSIS, review_json=REVIEW, review_passed=True, quality_score=0.85),
        run(6, status="failed", error_message="All models failed", analysis_json=None),
        run(7, status="running", completed_at=None),
    ],
    "pipeline_steps": [
        step(1, 5, "research", [{"title": "Tab\there", "link": "https://a.example.gov"}]),
        step(2, 5, "generate", ANALYSIS),
        step(3, 5, "review", REVIEW),
    ],
    "cost_tracking": [
        cost(1, "2025-12-01T00:00:00", 0.001),
        cost(2, "2025-12-01T23:59:59.999", 0.000123, step="review"),
        cost(3, "2025-12-02T00:00:00", 1.5, None, project="prime-radiant"),
        cost(4, "2025-11-30T12:00:00", 0),
    ],
    "web_search_cache": [
        {
            "cache_key": "a" * 64,
            "query": "rent cap effects",
            "results": [{"title": "A"}, {"title": "B"}],
            "cached_at": "2025-12-01T10:00:00",
            "hit_count": 3,
        },
        {"cache_key": "b" * 64, "query": "x", "results": {"results": []}, "cached_at": "2025-12-01T10:00:00"},
    ],
}
OLD_RUNS = (
    "SELECT id, bill_id, jurisdiction, research_model, generate_model, review_model, analysis_json, review_json, "
    "review_passed, quality_score, error_message FROM pipeline_runs ORDER BY id"
)
OLD_STEPS = "SELECT id, run_id, step, model, output FROM pipeline_steps ORDER BY id"
OLD_COSTS = "SELECT model, step, cost_usd, coalesce(tokens_used, 0) AS tokens, project FROM cost_tracking ORDER BY 3"


def source_in(form: str, folder: Path, url: str) -> Path | str:
    """The records in a database, or in a dump of it."""
    filled = fill(url, DDL, RECORDS)
    options = {"url": None, "copy": (), "inserts": ("--inserts",)}[form]
    return filled if options is None else dump(url, folder / "dump.sql", *options)


def in_source(url: str, query: str) -> list[dict[str, Any]]:
    engine = create_engine(normal_url(url))
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(text(query)).mappings()]
    engine.dispose()
    return rows


@pytest.mark.parametrize("form", ["copy", "inserts", "url"])
def test_the_old_queries_answer_over_what_was_migrated(
    headrace: Run, look: Look, tmp_path: Path, empty_database_url: str, form: str
) -> None:
    source = source_in(form, tmp_path, empty_database_url)
    before = rows_of(look, *TARGETS)
    done = headrace("migrate", "affordabot", source, "--json", "--bare")
    assert done.code == 0, done.err
    assert counts(done.json, "read", "rejected", "inserted") == {
        "pipeline_runs": (3, 0, 3),
        "pipeline_steps": (3, 0, 3),
        "cost_tracking": (4, 0, 4),
        "web_search_cache": (2, 0, 2),
    }
    for query in (OLD_RUNS, OLD_STEPS, OLD_COSTS):
        assert look(query) == in_source(empty_database_url, query)
    statuses = look("SELECT status, started_at::text, completed_at::text FROM pipeline_runs ORDER BY id")
    assert [row["status"] for row in statuses] == ["completed", "failed", "failed"]  # who still ran is gone
    assert statuses[0]["completed_at"] == "2025-12-01 10:01:30+00"
    daily = {day: look("SELECT * FROM get_daily_cost(CAST(:day AS date))", day=day)[0]["total_cost"] for day in DAYS}
    assert daily == DAYS
    assert look("SELECT * FROM get_monthly_cost(2025, 12)")[0]["total_cost"] == Decimal("1.501123")
    assert look("SELECT * FROM budget_usage") == []
    searches = look("SELECT query, hit_count, count, results, expires_at - cached_at AS life FROM web_search_cache")
    assert sorted((row["query"], row["hit_count"], row["count"], str(row["life"])) for row in searches) == [
        ("rent cap effects", 3, 2, "1 day, 0:00:00"),
        ("x", 0, 0, "1 day, 0:00:00"),
    ]

    loaded = rows_of(look, *TARGETS)
    again = headrace("migrate", "affordabot", source, "--json", "--bare")
    assert again.code == 0, again.err
    assert set(counts(again.json, "inserted", "updated", "gone").values()) == {(0, 0, 0)}
    assert rows_of(look, *TARGETS) == loaded
    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    assert rows_of(look, *TARGETS) == before
    assert look("SELECT * FROM pipeline_runs") == []


DAYS = {"2025-11-30": Decimal(0), "2025-12-01": Decimal("0.001123"), "2025-12-02": Decimal("1.5")}


def test_a_changed_row_updates_and_a_rollback_restores_it(
    headrace: Run, look: Look, tmp_path: Path, empty_database_url: str
) -> None:
    headrace("migrate", "affordabot", source_in("url", tmp_path, empty_database_url), "--bare")
    loaded = rows_of(look, *TARGETS)
    run_sql(empty_database_url, "UPDATE pipeline_runs SET status = 'completed' WHERE bill_id = 'AB-7'")
    run_sql(empty_database_url, "UPDATE web_search_cache SET hit_count = 9 WHERE query = 'x'")
    run_sql(empty_database_url, "UPDATE pipeline_steps SET output = NULL WHERE step = 'review'")
    source = fill(empty_database_url, "", {})
    changed = headrace("migrate", "affordabot", source, "--json", "--bare")
    assert changed.code == 0, changed.err
    assert counts(changed.json, "inserted", "updated", "unchanged") == {
        "pipeline_runs": (0, 1, 2),
        "pipeline_steps": (0, 1, 2),
        "cost_tracking": (0, 0, 4),
        "web_search_cache": (0, 1, 1),
    }
    assert look("SELECT status FROM pipeline_runs WHERE bill_id = 'AB-7'") == [{"status": "completed"}]
    back = headrace("rollback", changed.json["run_id"], "--bare")
    assert back.code == 0, back.err
    assert rows_of(look, *TARGETS) == loaded


def test_the_later_tables_load_with_what_they_say_of_status_kept(
    headrace: Run, look: Look, tmp_path: Path, empty_database_url: str
) -> None:
    models = {"research": "a", "generate": "b", "review": "c"}
    later = {"id": number(1, 1), "bill_id": "SB-1", "jurisdiction": "CA", "models": models, "trigger_source": "cron"}
    when = {"started_at": "2026-03-01T00:00:00+00:00", "completed_at": "2026-02-28T00:02:00+00:00"}
    steps = [
        {
            "id": number(2, place),
            "run_id": number(1, 1),
            "step_number": place,
            "step_name": name,
            "status": status,
            "output_result": {"place": place},
            "model_config": {"model": "b", "api_key": "sk-abcdef"},
            "duration_ms": 5,
            "created_at": f"2026-03-01T00:00:0{place}+00:00",
        }
        for place, name, status in ((1, "ingest", "completed"), (2, "research", "skipped"), (3, "generate", "failed"))
    ]
    runs = [
        {**later, **when, "status": "prefix_halted", "result": {"analysis": ANALYSIS, "kept": 1}, "error": "halted"}
    ]
    fill(empty_database_url, LATER_DDL, {"pipeline_runs": runs, "pipeline_steps": steps})
    done = headrace("migrate", "affordabot", dump(empty_database_url, tmp_path / "d.sql"), "--json", "--bare")
    assert done.code == 0, done.err
    assert look("SELECT rule, reason FROM migration_rejects") == []
    assert [(rule["rule"], rule["policy"], rule["sentence"]) for rule in done.json["rules"]] == [
        ("pipeline_runs.completed_at", "report", "completed_at is before started_at")
    ]
    (found,) = look("SELECT * FROM pipeline_runs")
    assert (found["status"], found["error_message"], found["generate_model"]) == ("failed", "halted", "b")
    assert (found["bill_id"], found["jurisdiction"], found["analysis_json"]) == ("SB-1", "CA", ANALYSIS)
    (kept,) = look("SELECT result, attributes FROM runs WHERE source IS NOT NULL")
    assert kept["attributes"] == {"trigger_source": "cron", "older_status": "prefix_halted"}
    assert kept["result"]["kept"] == 1
    rows = look("SELECT name, ordinal, status, attributes FROM steps WHERE source IS NOT NULL ORDER BY ordinal")
    assert [(row["name"], row["ordinal"], row["status"]) for row in rows] == [
        ("ingest", 1, "completed"),
        ("research", 2, "completed"),
        ("generate", 3, "failed"),
    ]
    assert rows[1]["attributes"]["older_status"] == "skipped"
    assert rows[1]["attributes"]["model_config"] == {"model": "b"}
    assert [row["step"] for row in look('SELECT step FROM pipeline_steps ORDER BY "timestamp"')] == [
        "ingest",
        "research",
        "generate",
    ]


def test_what_does_not_fit_is_rejected_by_name_and_conversions_are_told(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    path = tmp_path / "dump.sql"
    path.write_text(
        "COPY public.pipeline_runs (id, bill_id, generate_model, status, started_at, review_passed) FROM stdin;\n"
        f"{number(1, 1)}\tAB-1\tm\tcompleted\t2025-12-01 10:00:00\tt\n"
        f"{number(1, 2)}\tAB-2\tm\tlost\t2025-12-01 10:00:00\tt\n"
        f"{number(1, 3)}\tAB-3\tm\tcompleted\t2025-12-01 10:00:00\tmaybe\n"
        "\\.\n"
        "COPY public.pipeline_steps (id, run_id, step, model, output, timestamp) FROM stdin;\n"
        f"{number(2, 1)}\t{number(1, 2)}\treview\tm\t{{}}\t2025-12-01 10:00:00\n"
        "\\.\n"
        "COPY public.cost_tracking (id, model, step, cost_usd, tokens_used, timestamp, project) FROM stdin;\n"
        f"{number(3, 1)}\tm\treview\tNaN\t1\t2025-12-01 10:00:00\taffordabot\n"
        f"{number(3, 2)}\tm\treview\t0.1\t1\tyesterday\taffordabot\n"
        "\\.\n"
        "COPY public.web_search_cache (cache_key, query, results, cached_at, hit_count) FROM stdin;\n"
        'k\tq\t{"error": 1}\t2025-12-01 10:00:00\t0\n'
        "l\tq\t[]\t9999-12-31 23:00:00\t0\n"
        "\\.\n"
    )
    done = headrace("migrate", "affordabot", path, "--json", "--bare")
    assert done.code == 0, done.err
    assert [(row["rule"], row["reason"]) for row in look("SELECT rule, reason FROM migration_rejects ORDER BY id")] == [
        ("pipeline_runs.status", "status: Input should be 'completed', 'failed' or 'crashed'"),
        ("pipeline_runs.record", "record: Value error, review_passed is neither true nor false"),
        ("cost_tracking.cost_usd", "cost_usd: Input should be a finite number"),
        ("cost_tracking.timestamp", "timestamp: Input should be a valid datetime or date, input is too short"),
        ("web_search_cache.results", "results: Input should be a valid list"),
        ("web_search_cache.expires_at", "expires_at: Input should be a valid datetime"),
        ("pipeline_steps.run_id", f"run_id {number(1, 2)} is in no pipeline_runs"),
    ]
    told = {each["table"]: " ".join(each["conversions"]) for each in done.json["tables"]}
    assert "counts against no budget" in told["cost_tracking"]
    assert all("a time without a zone is read as UTC" in sentence for sentence in told.values())


def test_a_migrated_run_is_listed_in_its_place_and_cannot_be_resumed(
    headrace: Run, tmp_path: Path, empty_database_url: str
) -> None:
    done = headrace("migrate", "affordabot", source_in("url", tmp_path, empty_database_url), "--json", "--bare")
    listed = headrace("runs", "--json").json["rows"]
    assert [run["flow"] for run in listed] == ["migrate-data", *["analyze-bill"] * 3]
    assert listed[0]["id"] == done.json["run_id"]
    assert headrace("runs", number(1, 5)).code == 0
    refused = headrace("resume", number(1, 6), "--bare")
    assert refused.code == 2
    assert "was migrated" in refused.reason
