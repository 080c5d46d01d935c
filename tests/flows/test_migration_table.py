"""Any table fills one of ours by a mapping, and a mapping that does not fit is told mistake by mistake."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run
from tests.flows.older import counts

EXAMPLE = PROJECT / "examples" / "tutor-log.toml"
ROWS = [
    {"nr": 1, "score": 87.5, "metric": "kohaerenz", "of": "r1", "at": 1757325600, "note": "good"},
    {"nr": 2, "score": 0, "metric": "fluency", "of": "r1", "at": 1757325600, "note": None},
]
MAPPING = {
    "target": "quality_metrics",
    "key": "nr",
    "columns": {
        "response_id": "of",
        "metric": {"from": "metric", "map": {"kohaerenz": "coherence"}},
        "score": {"from": "score", "scale": 0.01},
        "analysis_version": {"value": "seminar"},
        "created_at": {"from": "at", "format": "unix"},
    },
}

Write = Callable[[Path, list[dict[str, Any]]], Path]


@pytest.fixture
def mapping(tmp_path: Path) -> Callable[..., Path]:
    """Writes a mapping as JSON, with changes."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "mapping.json"
        path.write_text(json.dumps({**MAPPING, **changes}))
        return path

    return write


@pytest.fixture
def response(look: Look) -> None:
    """There is one response, r1."""
    look(
        "INSERT INTO experiments (id, name, prompt, status, created_at) VALUES ('e1', 'E', 'Why?', 'completed', now())"
    )
    look("INSERT INTO responses (id, experiment_id, content, created_at) VALUES ('r1', 'e1', 'So.', now())")


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def as_sqlite(path: Path, rows: list[dict[str, Any]]) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE scores ({', '.join(rows[0])})")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO scores VALUES ({marks})", [list(row.values()) for row in rows])
        connection.commit()
    return path


def stored(look: Look) -> list[dict[str, Any]]:
    return look("SELECT to_jsonb(t) - 'migration_run_id' AS row FROM quality_metrics AS t ORDER BY id")


@pytest.mark.usefixtures("response")
@pytest.mark.parametrize("write", [as_csv, as_lines, as_parquet, as_sqlite])
def test_a_table_of_any_format_loads_once_and_is_taken_back(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path, write: Write
) -> None:
    path = write(tmp_path / "scores", ROWS)
    done = headrace("migrate", "table", path, "--mapping", mapping(), "--name", "seminar", "--json", "--bare")
    assert done.code == 0, done.err
    columns = "id, metric, score, analysis_version, created_at::text AS at, attributes ->> 'note' AS note, source"
    assert look(f"SELECT {columns} FROM quality_metrics ORDER BY id") == [
        {"id": "1", "metric": "coherence", "score": 0.875, "analysis_version": "seminar",
         "at": "2025-09-08 10:00:00+00", "note": "good", "source": "seminar"},
        {"id": "2", "metric": "fluency", "score": 0.0, "analysis_version": "seminar",
         "at": "2025-09-08 10:00:00+00", "note": "" if write is as_csv else None, "source": "seminar"},
    ]  # fmt: skip
    loaded = stored(look)
    again = headrace("migrate", "table", path, "--mapping", mapping(), "--name", "seminar", "--json", "--bare").json
    assert (again["already_done"], stored(look) == loaded) == (True, True)
    changed = mapping(columns={**MAPPING["columns"], "score": {"from": "score", "scale": 0.001}})  # type: ignore[dict-item]
    third = headrace("migrate", "table", path, "--mapping", changed, "--name", "seminar", "--json", "--bare").json
    assert [(each["updated"], each["unchanged"]) for each in third["tables"]] == [(1, 1)]
    assert headrace("rollback", third["run_id"], "--bare").code == 0
    assert stored(look) == loaded
    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    assert stored(look) == []


@pytest.mark.parametrize("suffix", [".toml", ".yaml"])
def test_the_example_loads(headrace: Run, look: Look, tmp_path: Path, suffix: str) -> None:
    look("INSERT INTO users (id, name) VALUES ('ada', 'Ada')")
    look("INSERT INTO ai_conversations (id, user_id, title, created_at) VALUES ('seminar-1', 'ada', 'Water', now())")
    path = EXAMPLE
    if suffix == ".yaml":
        import tomllib

        import yaml  # type: ignore[import-untyped]

        path = tmp_path / "mapping.yaml"
        path.write_text(yaml.safe_dump(tomllib.loads(EXAMPLE.read_text())))
    source = EXAMPLE.with_suffix(".csv")
    done = headrace("migrate", "table", source, "--mapping", path, "--name", "tutor-log", "--json", "--bare")
    assert done.code == 0, done.err
    rows = look("SELECT id, role, content, created_at::text AS at, attributes FROM ai_messages ORDER BY id")
    assert [(row["id"], row["role"], row["at"]) for row in rows] == [
        ("seminar-1/1", "user", "2025-09-08 08:00:00+00"),
        ("seminar-1/2", "assistant", "2025-09-08 08:01:00+00"),
    ]
    assert rows[0]["attributes"] == {"turn": "1", "stars": "4"}
    assert look("SELECT source_id, rule, place FROM migration_rejects") == [
        {"source_id": "seminar-2/1", "rule": "ai_messages.conversation_id", "place": "tutor-log.csv, line 4"}
    ]
    conversions = done.json["tables"][0]["conversions"]
    assert "created_at: at is kept as created_at, read as %d.%m.%Y %H:%M, in the zone Europe/Berlin" in conversions


def test_the_examples_fill_an_empty_database_one_after_the_other(headrace: Run, look: Look) -> None:
    loaded = {}
    for name in ("people", "seminars", "log"):
        mapping = EXAMPLE.with_name(f"tutor-{name}.toml")
        source = mapping.with_suffix(".csv")
        done = headrace("migrate", "table", source, "--mapping", mapping, "--name", f"tutor-{name}", "--json", "--bare")
        assert done.code == 0, done.err
        loaded |= counts(done.json, "inserted", "rejected")
    assert loaded == {"users": (2, 0), "ai_conversations": (1, 0), "ai_messages": (2, 1)}
    asked = "SELECT name, content FROM ai_messages JOIN ai_conversations ON ai_conversations.id = conversation_id "
    asked += "JOIN users ON users.id = user_id WHERE ai_messages.role = 'user'"
    assert look(asked) == [{"name": "Ada Lovelace", "content": "What is a headrace?"}]


def test_lists_defaults_and_names_that_clash_find_their_place(headrace: Run, look: Look, tmp_path: Path) -> None:
    rows = [
        {"id": "x", "code": "C1", "label": "Water", "name": "nickname", "teachers": "ada, bob", "api_key": "sk-1"},
        {"id": "", "code": "C2", "label": "Mills", "name": "", "teachers": "", "api_key": "", "seats": "no number"},
        {"id": "z", "code": "", "label": "No key", "name": "", "teachers": "", "api_key": ""},
    ]
    written = {
        "target": "courses",
        "key": "code",
        "columns": {
            "name": "label",
            "instructor_ids": {"from": "teachers", "separator": ","},
            "status": {"from": "state", "default": "archived"},
            "enrollment_count": "seats",
        },
    }
    (tmp_path / "m.json").write_text(json.dumps(written))
    path = as_lines(tmp_path / "courses", rows)
    done = headrace("migrate", "table", path, "--mapping", tmp_path / "m.json", "--json", "--bare")
    assert done.code == 0, done.err
    assert look("SELECT id, name, instructor_ids, status, attributes FROM courses") == [
        {
            "id": "C1",
            "name": "Water",
            "instructor_ids": ["ada", "bob"],
            "status": "archived",
            "attributes": {"source_code": "C1", "source_id": "x", "source_name": "nickname"},
        }
    ]
    assert look("SELECT place, rule FROM migration_rejects ORDER BY id") == [
        {"place": "courses.jsonl, line 2", "rule": "courses.enrollment_count"},
        {"place": "courses.jsonl, line 3", "rule": "courses.id"},
    ]
    assert done.json["refused"] == [{"table": "courses", "field": "api_key", "count": 3}]


@pytest.mark.usefixtures("response")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": "many"}, "score: Input should be a valid number"),
        ({"score": 101}, "score: Input should be less than or equal to 1"),
        ({"at": "20250908"}, "created_at: Input should be a valid datetime"),
        ({"of": "r9"}, "response_id r9 is in no responses"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    columns = {**MAPPING["columns"], "created_at": {"from": "at", "format": "%d.%m.%Y"}}  # type: ignore[dict-item]
    path = as_csv(tmp_path / "scores.csv", [{**ROWS[0], "at": "08.09.2025", **change}])
    done = headrace("migrate", "table", path, "--mapping", mapping(columns=columns), "--json", "--bare")
    assert done.code == 0, done.err
    assert [row["reason"].startswith(said) for row in look("SELECT reason FROM migration_rejects")] == [True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "planets"}, "target: there is no table planets that a mapping can fill; there are ai_answers"),
        ({"target": "llm_requests"}, "target: there is no table llm_requests that a mapping can fill"),
        ({"key": []}, "key: list should have at least 1 item"),
        ({"colour": "red"}, "colour: there is no such setting"),
        ({"columns": {"metric": "m"}}, "columns: quality_metrics needs response_id, score, analysis_version"),
        ({"columns": {"id": "nr"}}, "columns.id: the id is made of the fields that key names"),
        ({"columns": {"sorce": "nr"}}, "columns.sorce: quality_metrics has no such column to fill; it has response_id"),
        ({"columns": {"score": {}}}, "columns.score: it needs either from, a field of the source, or value"),
        ({"columns": {"metric": {"from": "m", "scale": 2}}}, "columns.metric: only numbers have a scale"),
        ({"columns": {"score": {"from": "s", "zone": "UTC"}}}, "columns.score: only times have a format and a zone"),
        ({"columns": {"score": {"from": "s", "separator": ","}}}, "columns.score: only lists have a separator"),
        ({"columns": {"created_at": {"from": "s", "format": "day"}}}, "columns.created_at: format is 'day'"),
        ({"columns": {"created_at": {"from": "s", "zone": "Mars"}}}, "there is no time zone 'Mars'"),
        ({"columns": {"score": {"form": "s"}}}, "columns.score.form: there is no such setting"),
        ({"references": {"metric": "null"}}, "references.metric: it names no row of another table; of quality_metrics"),
        ({"references": {"response_id": "null"}}, "references.response_id: it cannot be null"),
        ({"target": "users", "columns": {"name": "n", "role": {"from": "r", "map": {"t": "teacher"}}}},
         "columns.role: it cannot be 'teacher'; it can be student, instructor, ta"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_mapping_has_its_sentence(
    headrace: Run, mapping: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = as_csv(tmp_path / "scores.csv", ROWS)
    done = headrace("migrate", "table", path, "--mapping", mapping(**changes), "--bare")
    assert done.code == 2
    assert done.reason.startswith("headrace: the mapping does not fit: ")
    assert said in done.reason


def test_a_mapping_that_cannot_be_read_is_named(headrace: Run, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "scores.csv", ROWS)
    for name, content, said in [
        ("m.toml", "target = ", "m.toml is no mapping: Invalid value"),
        ("m.yaml", "a: [", "m.yaml is no mapping: while parsing"),
        ("m.json", "[]", "m.json is no mapping: it should have target, key and columns"),
    ]:
        (tmp_path / name).write_text(content)
        done = headrace("migrate", "table", path, "--mapping", tmp_path / name, "--bare")
        assert (done.code, said in done.reason) == (2, True), done.reason
    assert (
        "cannot be read: No such file" in headrace("migrate", "table", path, "--mapping", "none.toml", "--bare").reason
    )
    assert "table needs a mapping" in headrace("migrate", "table", path, "--bare").reason
    known = headrace("migrate", "llm-lab", path, "--mapping", EXAMPLE, "--bare")
    assert (known.code, "llm-lab knows its tables and takes no mapping" in known.reason) == (2, True)


def test_of_a_source_with_several_tables_the_mapping_says_which(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path, response: None
) -> None:
    path = as_sqlite(tmp_path / "lab.sqlite", ROWS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE responses (id)")
    vague = headrace("migrate", "table", path, "--mapping", mapping(), "--bare")
    assert (vague.code, "has the tables scores, responses: say in the mapping which" in vague.reason) == (2, True)
    wrong = headrace("migrate", "table", path, "--mapping", mapping(table="grades"), "--bare")
    assert (wrong.code, "has no table grades; it has scores, responses" in wrong.reason) == (2, True)
    done = headrace("migrate", "table", path, "--mapping", mapping(table="scores"), "--bare")
    assert done.code == 0, done.err
    assert look("SELECT count(*) AS rows FROM quality_metrics") == [{"rows": 2}]


@pytest.mark.usefixtures("response")
def test_a_run_goes_on_without_the_file_of_its_mapping(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path
) -> None:
    path = as_csv(tmp_path / "scores.csv", ROWS)
    written = mapping(references={"response_id": "abort"})
    look("UPDATE responses SET id = 'r2'")
    failed = headrace("migrate", "table", path, "--mapping", written, "--json", "--bare")
    assert failed.code == 1
    written.unlink()
    look("UPDATE responses SET id = 'r1'")
    resumed = headrace("resume", failed.json["run_id"], "--json", "--bare")
    assert resumed.code == 0, resumed.err
    assert [each["inserted"] for each in resumed.json["tables"]] == [2]


@pytest.mark.parametrize("written", ["csv", "jsonl"])
def test_a_field_of_the_mapping_that_no_record_has_is_told(
    headrace: Run, look: Look, tmp_path: Path, written: str
) -> None:
    source, mapping = tmp_path / f"people.{written}", tmp_path / "people.toml"
    mapping.write_text('target = "users"\nkey = "uid"\n[columns]\nname = "nm"\nemail = "e_mail"\navatar = "face"\n')
    if written == "csv":
        source.write_text("uid,nm,email,face\n1,Ada,ada@example.edu,\n")
    else:  # not every record has every field
        source.write_text('{"uid": 1, "nm": "Ada", "email": "ada@example.edu"}\n{"uid": 2, "nm": "Bob", "face": "b"}\n')
    done = headrace("migrate", "table", source, "--mapping", mapping, "--name", "people", "--dry-run", "--bare")
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "no record has the field e_mail, which the mapping names in columns.email" in told
    assert told.count("no record has the field") == 1


@pytest.mark.usefixtures("response")
@pytest.mark.parametrize("write", [as_csv, as_lines, as_parquet])
def test_a_table_that_the_mapping_names_and_a_file_cannot_is_told(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path, write: Write
) -> None:
    path = write(tmp_path / "scores", ROWS)
    done = headrace("migrate", "table", path, "--mapping", mapping(table="grades"), "--json", "--bare")
    assert done.code == 0, done.err
    (said,) = done.json["notes"]
    assert said.startswith("the mapping names the table grades, but a file has no name for its table")
    named = headrace("migrate", "table", path, "--mapping", mapping(table="SCORES"), "--json", "--bare")
    assert (named.code, named.json["notes"]) == (0, [])


def test_a_table_that_the_mapping_names_must_be_in_a_database_even_if_that_has_one_alone(
    headrace: Run, look: Look, mapping: Callable[..., Path], tmp_path: Path, response: None
) -> None:
    path = as_sqlite(tmp_path / "lab.sqlite", ROWS)
    wrong = headrace("migrate", "table", path, "--mapping", mapping(table="grades"), "--bare")
    assert (wrong.code, "has no table grades; it has scores" in wrong.reason) == (2, True)
    assert look("SELECT FROM quality_metrics") == []
    assert headrace("migrate", "table", path, "--mapping", mapping(), "--bare").code == 0
