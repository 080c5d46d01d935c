"""The prompt laboratory's experiments, responses and scores move in, whichever of its three generations kept them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared_data
from tests.flows.conftest import Look, Run

WHEN = "2025-10-30T08:00:00.123Z"
TABLES = ("experiments", "responses", "quality_metrics", "source_records")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A laboratory's database, `lab.sqlite`."""
    with closing(sqlite3.connect(tmp_path / "lab.sqlite")) as connection:
        yield connection


def insert(connection: sqlite3.Connection, table: str, *rows: dict[str, Any]) -> None:
    """`rows` are in `table`, which is made with their columns if there is none."""
    names = list(rows[0])
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(names)})")
    marks = ", ".join("?" * len(names))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(row.values()) for row in rows])
    connection.commit()


def experiment(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": f"E{number}", "prompt": "Why?", "created_at": WHEN, **more}


def response(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "experiment_id": 1, "content": "So.", "created_at": WHEN, **more}


def wide(number: int, **scores: Any) -> dict[str, Any]:
    return {"id": number, "response_id": number, **scores, "word_count": 7, "calculated_at": "2025-10-28 10:00:00"}


def state(look: Look) -> dict[str, Any]:
    """Every row, without the run that wrote it."""
    return {
        name: look(f"SELECT to_jsonb(t) - 'migration_run_id' AS row FROM {name} AS t ORDER BY id") for name in TABLES
    }


def scores(look: Look) -> dict[str, tuple[float, str]]:
    rows = look("SELECT response_id, metric, score, analysis_version FROM quality_metrics")
    return {f"{row['response_id']}/{row['metric']}": (row["score"], row["analysis_version"]) for row in rows}


def test_the_real_file_loads_once_and_is_taken_back(headrace: Run, look: Look) -> None:
    path = shared_data("origin/llm-lab/experiments.sqlite")
    empty = state(look)
    done = headrace("migrate", "llm-lab", path, "--json", "--bare")
    assert done.code == 0, done.err
    assert [(each["table"], each["read"], each["inserted"]) for each in done.json["tables"]] == [
        ("experiments", 5, 5),
        ("responses", 0, 0),
        ("quality_metrics", 0, 0),
    ]
    assert all(each["source_checksum"] == each["target_checksum"] for each in done.json["tables"])
    rows = look("SELECT id, status, temperature_min, temperature_step, response_count FROM experiments ORDER BY id")
    assert len(rows) == 5
    assert {row["status"] for row in rows} == {"pending"}
    loaded = state(look)
    again = headrace("migrate", "llm-lab", path, "--json", "--bare").json
    assert (again["already_done"], [each["inserted"] + each["updated"] for each in again["tables"]]) == (
        True,
        [0, 0, 0],
    )
    assert state(look) == loaded
    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    assert state(look) == empty


def test_inline_and_long_scores_load_on_one_scale(
    headrace: Run, lab: sqlite3.Connection, look: Look, tmp_path: Path
) -> None:
    insert(lab, "experiments", experiment(1, status="completed", temperature_min=0.1))
    insert(
        lab,
        "responses",
        response(1, coherence_score=0.9, readability_score=1, token_count=12, response_time=1234.0),
        response(2, coherence_score=0.25, readability_score=None, token_count=None, response_time=812.5),
    )
    metric = {
        "id": 1,
        "response_id": 2,
        "metric_name": "overall",
        "score": 87.5,
        "details": '{"apiKey": "sk-1", "n": 3}',
    }
    insert(lab, "quality_metrics", metric, {**metric, "id": 2, "metric_name": "creativity_score", "score": 1.0})
    insert(lab, "quality_metrics", {**metric, "id": 3, "metric_name": "coherence", "score": 120.0})
    done = headrace("migrate", "llm-lab", tmp_path / "lab.sqlite", "--json", "--bare")
    assert done.code == 0, done.err
    assert scores(look) == {
        "llm-lab/1/coherence": (0.9, "llm-lab-3"),
        "llm-lab/1/readability": (1.0, "llm-lab-3"),
        "llm-lab/2/coherence": (0.25, "llm-lab-3"),
        "llm-lab/2/overall": (0.875, "llm-lab-2"),
        "llm-lab/2/creativity": (0.01, "llm-lab-2"),
    }
    assert done.json["notes"] == ["quality_metrics: 2 of 3 scores are above 1; all are read as parts of 100"]
    assert look("SELECT place, reason FROM migration_rejects") == [
        {
            "place": "lab.sqlite, table quality_metrics, rowid 3",
            "reason": "score: Input should be less than or equal to 1",
        }
    ]
    assert look("SELECT attributes FROM quality_metrics WHERE metric = 'overall'") == [
        {"attributes": {"details": {"n": 3}}}
    ]
    assert done.json["refused"] == [{"table": "quality_metrics", "field": "apiKey", "count": 3}]
    assert look("SELECT id, total_tokens, latency_ms, attributes FROM responses ORDER BY id") == [
        {"id": "llm-lab/1", "total_tokens": 12, "latency_ms": 1234, "attributes": {}},
        {"id": "llm-lab/2", "total_tokens": None, "latency_ms": 812, "attributes": {"mock": True}},
    ]


def test_wide_scores_of_both_older_generations_load(
    headrace: Run, lab: sqlite3.Connection, look: Look, tmp_path: Path
) -> None:
    insert(lab, "experiments", experiment(1, status="draft"))
    insert(lab, "responses", response(1, prompt_tokens=3, completion_tokens=4, total_tokens=7), response(2) | {
        "prompt_tokens": None, "completion_tokens": None, "total_tokens": None
    })  # fmt: skip
    insert(
        lab,
        "quality_metrics",
        wide(1, coherence_score=0.5, creativity_score=0.6, overall_score=0.7),
        wide(2, coherence_score=0.2, creativity_score=None, overall_score=0.3),
    )
    insert(lab, "parameter_combinations", {"id": 1, "experiment_id": 1, "temperature": 0.1})
    done = headrace("migrate", "llm-lab", tmp_path / "lab.sqlite", "--json", "--bare")
    assert done.code == 0, done.err
    assert scores(look) == {
        "llm-lab/1/overall": (0.7, "llm-lab-2"),
        "llm-lab/1/coherence": (0.5, "llm-lab-2"),
        "llm-lab/1/creativity": (0.6, "llm-lab-2"),
        "llm-lab/2/overall": (0.3, "llm-lab-1"),
        "llm-lab/2/coherence": (0.2, "llm-lab-1"),
    }
    assert look("SELECT DISTINCT attributes, created_at::text AS at FROM quality_metrics") == [
        {"attributes": {"word_count": 7}, "at": "2025-10-28 10:00:00+00"}
    ]
    assert look("SELECT status FROM experiments") == [{"status": "pending"}]
    assert look("SELECT input_tokens, output_tokens, total_tokens FROM responses WHERE id = 'llm-lab/1'") == [
        {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    ]
    assert look("SELECT id FROM source_records") == [{"id": "llm-lab/parameter_combinations/1"}]


def test_all_generations_in_one_file_load_on_one_scale(
    headrace: Run, lab: sqlite3.Connection, look: Look, tmp_path: Path
) -> None:
    insert(lab, "experiments", experiment(1, status="completed"))
    insert(lab, "responses", *(response(number, readability_score=None) for number in (1, 2, 3)))
    insert(lab, "responses", response(4, readability_score=0.25))
    none = dict.fromkeys(["metric_name", "score", "coherence_score", "creativity_score", "overall_score"])
    insert(
        lab,
        "quality_metrics",
        wide(1, **{**none, "coherence_score": 87.5, "creativity_score": 1.0, "overall_score": 60.0}),
        wide(2, **{**none, "coherence_score": 0.5, "overall_score": 0.75}),
        wide(3, **{**none, "metric_name": "coherence", "score": 1.0}),
        wide(3, **{**none, "metric_name": "specificity", "score": 0.5}),
        wide(3, **{**none, "score": 0.5}),
        wide(2, **{**none, "creativity_score": 1.02}),
    )
    done = headrace("migrate", "llm-lab", tmp_path / "lab.sqlite", "--json", "--bare")
    assert done.code == 0, done.err
    assert scores(look) == {
        "llm-lab/1/overall": (0.6, "llm-lab-2"),
        "llm-lab/1/coherence": (0.875, "llm-lab-2"),
        "llm-lab/1/creativity": (0.01, "llm-lab-2"),
        "llm-lab/2/overall": (0.75, "llm-lab-1"),
        "llm-lab/2/coherence": (0.5, "llm-lab-1"),
        "llm-lab/3/coherence": (1.0, "llm-lab-3"),
        "llm-lab/3/specificity": (0.5, "llm-lab-3"),
        "llm-lab/4/readability": (0.25, "llm-lab-3"),
    }
    assert done.json["notes"] == [
        "quality_metrics: 3 of 6 scores are above 1; the rows that hold them are read as parts of 100"
    ]
    assert [row["reason"].partition(":")[0] for row in look("SELECT reason FROM migration_rejects ORDER BY id")] == [
        "metric",
        "score",
    ]


def test_rows_that_are_only_in_the_log_load_and_changed_ones_update_and_are_put_back(
    headrace: Run, lab: sqlite3.Connection, look: Look, tmp_path: Path
) -> None:
    lab.execute("PRAGMA journal_mode = WAL")
    insert(lab, "experiments", experiment(1, status="running"), experiment(2, status="failed"))
    insert(lab, "responses", response(1, coherence_score=0.9), response(2, coherence_score=0.8))
    path = tmp_path / "lab.sqlite"
    assert path.with_name("lab.sqlite-wal").stat().st_size > 0
    first = headrace("migrate", "llm-lab", path, "--json", "--bare").json
    assert "lab.sqlite-wal holds changes" in first["notes"][0]
    loaded = state(look)
    lab.execute("UPDATE experiments SET status = 'completed' WHERE id = 1")
    lab.execute("UPDATE responses SET coherence_score = 0.4 WHERE id = 1")
    lab.execute("DELETE FROM responses WHERE id = 2")
    lab.commit()
    second = headrace("migrate", "llm-lab", path, "--prune", "--json", "--bare").json
    assert [(each["updated"], each["unchanged"], each["pruned"]) for each in second["tables"]] == [
        (1, 1, 0),
        (0, 1, 1),
        (1, 0, 1),
    ]
    assert scores(look) == {"llm-lab/1/coherence": (0.4, "llm-lab-3")}
    assert headrace("rollback", second["run_id"], "--bare").code == 0
    assert state(look) == loaded


def test_a_response_without_its_experiment_is_rejected_with_its_scores_and_two_laboratories_live_side_by_side(
    headrace: Run, lab: sqlite3.Connection, look: Look, tmp_path: Path
) -> None:
    insert(lab, "experiments", experiment(1, status="pending"), experiment(2, status="paused"))
    insert(lab, "responses", response(1, coherence_score="good"), response(2) | {"experiment_id": 9, "c": 0.5})
    lab.execute("ALTER TABLE responses RENAME COLUMN coherence_score TO overall_score")
    lab.commit()
    for name in ("north", "south"):
        assert headrace("migrate", "llm-lab", tmp_path / "lab.sqlite", "--name", name, "--bare").code == 0
    assert look("SELECT id FROM responses ORDER BY id") == [{"id": "north/1"}, {"id": "south/1"}]
    rejects = look(
        "SELECT source_table, source_id, rule FROM migration_rejects WHERE source_id LIKE 'north%' ORDER BY id"
    )
    assert [(row["source_table"], row["source_id"], row["rule"]) for row in rejects] == [
        ("experiments", "north/2", "experiments.status"),
        ("quality_metrics", "north/1/overall/llm-lab-1", "quality_metrics.score"),
        ("responses", "north/2", "responses.experiment_id"),
        ("quality_metrics", "north/2/overall/llm-lab-1", "quality_metrics.response_id"),
    ]
