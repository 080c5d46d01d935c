"""The course forum's data moves into Postgres: validated, once, resumable, undoable."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.conftest import shared_data
from tests.flows.conftest import Look, Run

FILES = {
    "users": "users",
    "courses": "courses",
    "enrollments": "enrollments",
    "threads": "threads",
    "posts": "posts",
    "notifications": "notifications",
    "aiAnswers": "ai-answers",
    "aiConversations": "ai-conversations",
    "conversationMessages": "ai-messages",
    "assignments": "assignments",
    "courseMaterials": "course-materials",
}
ORPHANS = [f"conv-{number}" for number in range(7, 16)]

Export = Callable[..., Path]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Writes a localStorage export: texts of arrays by key, any of them null."""

    def write(name: str = "export.json", **tables: Any) -> Path:
        path = tmp_path / name
        stored = {f"quokkaq.{key}": value if value is None else json.dumps(value) for key, value in tables.items()}
        path.write_text(json.dumps(stored))
        return path

    return write


@pytest.fixture
def forum() -> dict[str, Any]:
    """The forum's real records by key."""
    folder = shared_data("origin/quokkaq")
    return {key: json.loads((folder / f"{name}.json").read_text()) for key, name in FILES.items()}


def small(**changes: Any) -> dict[str, Any]:
    """A forum of one course, one user and two conversations, with `changes` to its tables."""
    when = "2025-09-15T10:00:00Z"
    tables: dict[str, Any] = {
        "users": [{"id": "ada", "name": "Ada", "email": "a@example.edu", "password": "hunter2", "role": "student"}],
        "courses": [{"id": "cs", "code": "CS 101", "name": "Computing", "status": "active"}],
        "aiConversations": [
            {"id": "c1", "userId": "ada", "courseId": "cs", "title": "Trees", "createdAt": when, "mood": "calm"},
            {"id": "c2", "userId": "ada", "courseId": None, "title": "Graphs", "createdAt": when},
        ],
        "conversationMessages": [
            {"id": "m1", "conversationId": "c1", "role": "user", "content": "Why?", "timestamp": when},
            {"id": "m2", "conversationId": "c1", "role": "assistant", "content": "So.", "timestamp": when},
            {"id": "m3", "conversationId": "c2", "role": "user", "content": "How?", "timestamp": when},
        ],
    }
    return {**tables, **changes}


def count(look: Look, table: str) -> int:
    (row,) = look(f"SELECT count(*) AS rows FROM {table}")
    return int(row["rows"])


def state(look: Look) -> dict[str, list[dict[str, Any]]]:
    """Every row of the forum's tables, without the run that wrote it."""
    tables = ("users", "courses", "threads", "ai_conversations", "ai_messages", "source_records")
    return {
        name: look(f"SELECT to_jsonb(t) - 'migration_run_id' AS row FROM {name} AS t ORDER BY id") for name in tables
    }


def everything_stored(engine: Engine) -> str:
    """All rows of all tables, staging included, as text."""
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname IN ('public', 'headrace_staging')"
            )
        ).scalars()
        return "\n".join(
            str(row) for name in found.all() for row in connection.execute(text(f"SELECT t::text FROM {name} AS t"))
        )


def table(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in report["tables"] if each["table"] == name]
    return dict(found)


def test_the_real_forum_loads_and_the_report_names_what_does_not_fit(
    headrace: Run, export: Export, forum: dict[str, Any], look: Look, database: Engine
) -> None:
    done = headrace(
        "migrate", "quokkaq", export(**forum, responseTemplates=None, seedVersion="v2.1.0"), "--json", "--bare"
    )
    assert done.code == 0, done.err
    report = done.json
    rules = {rule["rule"]: rule for rule in report["rules"]}
    assert (rules["conversations.courseId"]["count"], rules["conversations.courseId"]["policy"]) == (9, "reject")
    assert rules["conversations.courseId"]["samples"] == ORPHANS
    assert rules["messages.conversationId"]["count"] == len(rules["messages.conversationId"]["samples"]) == 36
    assert (rules["citations.materialId"]["count"], rules["citations.materialId"]["policy"]) == (34, "null")
    assert {row["source_id"] for row in look("SELECT source_id FROM migration_rejects WHERE rule LIKE 'conv%'")} == set(
        ORPHANS
    )
    assert [row["place"] for row in look("SELECT place FROM migration_rejects WHERE source_id = 'conv-7'")] == [
        "aiConversations[6]"
    ]
    assert report["refused"] == [{"table": "users", "field": "password", "count": 20}]
    assert "demo123" not in everything_stored(database)
    assert {
        name: count(look, name) for name in ("users", "threads", "ai_conversations", "ai_messages", "citations")
    } == {
        "users": 20,
        "threads": 24,
        "ai_conversations": 11,
        "ai_messages": 44,
        "citations": 34,
    }
    assert count(look, "citations WHERE material_id IS NULL") == 34
    assert count(look, "source_records WHERE source_table = 'notifications'") == 40
    assert all(each["source_checksum"] == each["target_checksum"] for each in report["tables"])
    assert look("SELECT tablename FROM pg_tables WHERE schemaname = 'headrace_staging'") == []


@pytest.mark.parametrize(
    ("policy", "conversations", "messages", "courses"),
    [("null", 20, 80, 6), ("create-placeholder", 20, 80, 9), ("reject", 11, 44, 6)],
)
def test_the_tables_are_what_the_policy_says(
    headrace: Run, export: Export, forum: dict[str, Any], look: Look, policy: str, conversations: int, messages: int,
    courses: int,
) -> None:  # fmt: skip
    arguments = ["migrate", "quokkaq", export(**forum), "--policy", f"conversations.courseId={policy}"]
    done = headrace(*arguments, "--json", "--bare")
    assert done.code == 0, done.err
    assert [count(look, name) for name in ("ai_conversations", "ai_messages", "courses")] == [
        conversations,
        messages,
        courses,
    ]
    orphans = look("SELECT id, course_id FROM ai_conversations WHERE id = ANY(:ids)", ids=ORPHANS)
    if policy == "null":
        assert {row["course_id"] for row in orphans} == {None}
    elif policy == "create-placeholder":
        made = look("SELECT id FROM courses WHERE attributes = '{\"placeholder\": true}' ORDER BY id")
        assert [row["id"] for row in made] == ["course-data201", "course-ml401", "course-web301"]
        assert {row["course_id"] for row in orphans} == {row["id"] for row in made}


def test_a_policy_to_abort_ends_the_run_before_anything_is_loaded(
    headrace: Run, export: Export, forum: dict[str, Any], look: Look
) -> None:
    done = headrace(
        "migrate", "quokkaq", export(**forum), "--policy", "conversations.courseId=abort", "--json", "--bare"
    )
    assert (done.code, done.json["error"]["code"]) == (1, "expectation_failed")
    assert "9 of conversations: courseId names no row of courses (conv-7, conv-8" in done.json["error"]["message"]
    assert done.json["error"]["details"]["rows"] == ORPHANS
    assert [row["source_id"] for row in look("SELECT source_id FROM migration_rejects ORDER BY id")] == ORPHANS
    assert look("SELECT tablename FROM pg_tables WHERE schemaname = 'headrace_staging'") == []
    assert count(look, "users") == 0


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            "conversations.courseId=banish",
            "Input should be 'reject', 'null', 'create-placeholder', 'report' or 'abort'",
        ),
        ("messages.conversationId=null", "can be reject, abort, not null"),
        ("planets.id=null", "has no rule planets.id; there are"),
        ("nonsense", "a policy is written TABLE.FIELD=POLICY"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(headrace: Run, export: Export, policy: str, said: str) -> None:
    done = headrace("migrate", "quokkaq", export(**small()), "--policy", policy, "--bare")
    assert done.code == 2
    assert said in done.reason


def test_what_has_no_column_is_kept_as_attributes(headrace: Run, export: Export, look: Look) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    assert look("SELECT attributes FROM ai_conversations ORDER BY id") == [
        {"attributes": {"mood": "calm"}},
        {"attributes": {}},
    ]


def test_secrets_are_nowhere_not_in_rejects_nor_inside_other_values(
    headrace: Run, export: Export, look: Look, database: Engine
) -> None:
    users = [
        {"id": "eve", "name": "Eve", "role": "spy", "password": "hunter2", "profile": {"apiKey": "sk-abcdef"}},
        {"id": "ada", "name": "Ada", "role": "student", "profile": [{"API_KEY": "sk-abcdef", "town": "Oxford"}]},
        'not a record, password: "hunter2"',
    ]
    done = headrace("migrate", "quokkaq", export(**small(users=users)), "--json", "--bare")
    assert done.code == 0, done.err
    stored = everything_stored(database)
    assert "hunter2" not in stored
    assert "sk-abcdef" not in stored
    assert "hunter2" not in done.out + done.err
    assert {(each["field"], each["count"]) for each in done.json["refused"]} == {
        ("password", 1),
        ("apiKey", 1),
        ("API_KEY", 1),
    }
    rejected = look("SELECT source_id, rule, record FROM migration_rejects WHERE source_table = 'users' ORDER BY id")
    assert [row["rule"] for row in rejected] == ["users.readable", "users.role"]
    assert rejected[1]["record"] == {"id": "eve", "name": "Eve", "role": "spy", "profile": {}}


def test_a_second_run_changes_nothing_a_changed_record_updates_and_a_missing_one_is_reported(
    headrace: Run, export: Export, look: Look
) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    before = state(look)
    again = headrace("migrate", "quokkaq", export("again.json", **small(), seedVersion="v2"), "--json", "--bare").json
    assert [(each["inserted"], each["updated"]) for each in again["tables"]] == [(0, 0)] * 4
    assert state(look) == before

    changed = small()
    changed["conversationMessages"][0]["content"] = "Why not?"
    del changed["conversationMessages"][2]
    third = headrace("migrate", "quokkaq", export(**changed), "--json", "--bare").json
    messages = table(third, "messages")
    assert {key: messages[key] for key in ("inserted", "updated", "unchanged", "gone", "pruned")} == {
        "inserted": 0,
        "updated": 1,
        "unchanged": 1,
        "gone": 1,
        "pruned": 0,
    }
    assert messages["samples"] == {"updated": ["m1"], "gone": ["m3"]}
    assert count(look, "ai_messages") == 3

    fourth = headrace("migrate", "quokkaq", export(**changed), "--prune", "--json", "--bare").json
    assert table(fourth, "messages")["pruned"] == 1
    assert [row["id"] for row in look("SELECT id FROM ai_messages ORDER BY id")] == ["m1", "m2"]


def test_runs_are_taken_back_one_after_the_other_to_exactly_what_was_there(
    headrace: Run, export: Export, look: Look
) -> None:
    empty = state(look)
    first = headrace("migrate", "quokkaq", export(**small()), "--json", "--bare").json["run_id"]
    loaded = state(look)
    changed = small()
    changed["conversationMessages"][0]["content"] = "Why not?"
    del changed["conversationMessages"][2]
    changed["users"].append({"id": "bob", "name": "Bob", "role": "ta"})
    changed["aiConversations"][1]["userId"] = "bob"
    second = headrace("migrate", "quokkaq", export(**changed), "--prune", "--json", "--bare").json["run_id"]
    assert state(look) != loaded

    refused = headrace("rollback", first, "--json", "--bare")
    assert (refused.code, refused.json["error"]["code"]) == (1, "stands_on")
    assert f"run {second} changed" in refused.json["error"]["message"]
    assert "goes on with it" not in refused.err
    assert state(look) != loaded

    back = headrace("rollback", second, "--json", "--bare")
    assert back.code == 0, back.err
    assert {each["target"]: (each["deleted"], each["restored"]) for each in back.json["tables"]} == {
        "users": (1, 0),
        "ai_conversations": (0, 1),
        "ai_messages": (0, 2),
    }
    assert state(look) == loaded
    assert headrace("rollback", first, "--bare").code == 0
    assert state(look) == empty
    assert "changed nothing that is still here" in headrace("rollback", first, "--bare").reason


def test_a_rollback_is_refused_where_a_person_changed_a_row_or_refers_to_one(
    headrace: Run, export: Export, look: Look
) -> None:
    run = headrace("migrate", "quokkaq", export(**small()), "--json", "--bare").json["run_id"]
    look("UPDATE ai_messages SET content = 'edited' WHERE id = 'm1'")
    look("INSERT INTO enrollments (id, user_id, course_id, role) VALUES ('e', 'ada', 'cs', 'student')")
    refused = headrace("rollback", run, "--bare")
    assert refused.code == 1
    assert "somebody changed ai_messages m1" in refused.reason
    assert "enrollments refers to users ada" in refused.reason
    look("UPDATE ai_messages SET content = 'Why?' WHERE id = 'm1'")
    look("DELETE FROM enrollments")
    assert headrace("rollback", run, "--bare").code == 0
    assert count(look, "users") == 0


def test_a_row_that_a_person_changed_is_left_as_it_is(headrace: Run, export: Export, look: Look) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    look("UPDATE ai_messages SET content = 'edited' WHERE id = 'm1'")
    changed = small()
    changed["conversationMessages"][0]["content"] = "Why not?"
    report = headrace("migrate", "quokkaq", export(**changed), "--json", "--bare").json
    assert [(rule["rule"], rule["samples"]) for rule in report["rules"]] == [("messages.changed here", ["m1"])]
    assert table(report, "messages")["gone"] == 0
    assert look("SELECT content FROM ai_messages WHERE id = 'm1'") == [{"content": "edited"}]


def test_rows_of_another_source_or_of_an_application_are_never_changed(
    headrace: Run, export: Export, look: Look
) -> None:
    look("INSERT INTO users (id, name) VALUES ('ada', 'our own Ada')")
    headrace("migrate", "quokkaq", export(**small()), "--name", "north", "--bare")
    other = headrace("migrate", "quokkaq", export(**small()), "--name", "south", "--json", "--bare").json
    assert [(rule["rule"], rule["count"]) for rule in other["rules"]] == [
        ("users.taken", 1),
        ("courses.taken", 1),
        ("conversations.taken", 2),
        ("messages.taken", 3),
    ]
    assert look("SELECT name FROM users") == [{"name": "our own Ada"}]
    assert look("SELECT DISTINCT source FROM ai_messages") == [{"source": "north"}]


def test_a_dry_run_shows_the_same_counts_and_loads_nothing(headrace: Run, export: Export, look: Look) -> None:
    dry = headrace("migrate", "quokkaq", export(**small()), "--dry-run", "--json", "--bare").json
    assert [count(look, name) for name in ("users", "ai_messages", "migration_chunks")] == [0, 0, 0]
    real = headrace("migrate", "quokkaq", export(**small()), "--json", "--bare").json
    for each, loaded in zip(dry["tables"], real["tables"], strict=True):
        keys = ("table", "read", "rejected", "accepted", "inserted", "updated", "unchanged", "gone", "source_checksum")
        assert {key: each[key] for key in keys} == {key: loaded[key] for key in keys}
    assert table(dry, "messages")["samples"] == {"inserted": ["m1", "m2", "m3"]}
    refused = headrace("rollback", dry["run_id"], "--bare")
    assert (refused.code, "was a dry run" in refused.reason) == (2, True)


def test_of_two_records_with_one_id_the_first_counts(headrace: Run, export: Export, look: Look) -> None:
    tables = small()
    tables["conversationMessages"].append({**tables["conversationMessages"][0], "content": "later"})
    report = headrace("migrate", "quokkaq", export(**tables), "--json", "--bare").json
    assert [(rule["rule"], rule["count"]) for rule in report["rules"]] == [("messages.duplicate", 1)]
    assert look("SELECT content FROM ai_messages WHERE id = 'm1'") == [{"content": "Why?"}]
    assert look("SELECT place FROM migration_rejects") == [{"place": "conversationMessages[3]"}]


def test_too_many_rejects_end_the_run(headrace: Run, export: Export, look: Look) -> None:
    tables = small(users=[{"id": f"u{number}"} for number in range(4)])
    done = headrace("migrate", "quokkaq", export(**tables), "--max-rejects", "3", "--bare")
    assert done.code == 1
    assert "4 records were rejected, more than the 3 that may be" in done.reason
    assert count(look, "migration_rejects") == 4
    assert count(look, "courses") == 0


def test_a_source_with_none_of_the_tables_is_refused(headrace: Run, export: Export) -> None:
    done = headrace("migrate", "quokkaq", export(planets=[]), "--bare")
    assert done.code == 2
    assert "has none of the tables of quokkaq: users, courses" in done.reason
    unknown = headrace("migrate", "myspace", export(**small()), "--bare")
    assert (unknown.code, unknown.reason.startswith("headrace: there is no kind of source 'myspace'; there are")) == (
        2,
        True,
    )


def test_a_source_at_work_is_not_worked_on_by_a_second_run(headrace: Run, export: Export, database: Engine) -> None:
    with database.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended('migration of quokkaq', 0))"))
        busy = headrace("migrate", "quokkaq", export(**small()), "--bare")
        other = headrace("migrate", "quokkaq", export(**small()), "--name", "other", "--bare")
    assert (busy.code, "another run is at work on the source quokkaq" in busy.reason) == (2, True)
    assert other.code == 0


def test_the_terminal_shows_tables_and_remarks(headrace: Run, export: Export) -> None:
    done = headrace("migrate", "quokkaq", export(**small()), "--bare")
    assert done.code == 0
    assert "users.password: 1 value refused as secret" in done.out
    assert "headrace rollback" in done.out
    _, found, conversions = done.out.partition("Conversions:\n")
    told = " ".join(conversions.split())
    assert found
    assert "a time without a zone is read as UTC" in told
    assert "• messages: timestamp is kept as created_at" in told
    again = headrace("migrate", "quokkaq", export(**small()), "--bare")
    assert (again.code, "Conversions" in again.out) == (0, False)


def test_names_of_the_source_are_shown_as_they_are_and_command_no_terminal(headrace: Run, export: Export) -> None:
    odd = {"[/bold]": [{"id": "[red]"}], "a|b\x1b[2J\n": [{}], "\N{BLACK HEART SUIT}": [{"name": "x"}]}
    users = [{"id": "\x1b]0;title\x07", "name": "Ada"}] * 2
    done = headrace("migrate", "quokkaq", export(**small(users=users), **odd), "--bare")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    for shown in ("[/bold]", "a|b\\x1b[2J\\n", "\\x1b]0;title\\x07", "\N{BLACK HEART SUIT}"):
        assert shown in done.out


def test_a_dry_run_says_what_would_become_of_which_rows(headrace: Run, export: Export) -> None:
    done = headrace("migrate", "quokkaq", export(**small(users=[{"id": "ada"}])), "--dry-run", "--bare")
    told = " ".join(done.out.split())
    assert "courses: to be inserted cs" in told
    assert "rejected: 6 records; `headrace rejects " in told
    assert "Nothing was loaded: a dry run" in told


def test_a_source_that_is_all_there_is_not_read_again_unless_a_row_was_touched(
    headrace: Run, export: Export, look: Look
) -> None:
    path = export(**small())
    headrace("migrate", "quokkaq", path, "--bare")
    again = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert again["already_done"]
    assert [(each["inserted"], each["unchanged"]) for each in again["tables"]] == [(0, 1), (0, 1), (0, 2), (0, 3)]
    look("DELETE FROM ai_messages WHERE id = 'm1'")
    mended = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert (mended["already_done"], table(mended, "messages")["inserted"]) == (False, 1)
    assert headrace("rollback", mended["run_id"], "--bare").code == 0
    assert count(look, "ai_messages") == 2


def test_a_source_that_changed_is_not_gone_on_with(headrace: Run, export: Export, look: Look) -> None:
    failed = headrace("migrate", "quokkaq", export(**small(users=[{}])), "--max-rejects", "0", "--json", "--bare").json
    export(**small())
    resumed = headrace("resume", failed["run_id"], "--bare")
    assert (resumed.code, "has changed since this run began: start a new one" in resumed.reason) == (2, True)


def test_wrong_counts_and_times_are_reported_or_what_the_policy_says(headrace: Run, export: Export, look: Look) -> None:
    tables = small()
    tables["aiConversations"][0] |= {"messageCount": 3, "updatedAt": "2025-09-15T10:00:01Z"}
    tables["aiConversations"][1] |= {"messageCount": 1, "updatedAt": "2025-09-15T09:59:59Z"}
    report = headrace("migrate", "quokkaq", export(**tables), "--json", "--bare").json
    assert [(rule["rule"], rule["policy"], rule["samples"]) for rule in report["rules"]] == [
        ("conversations.messageCount", "report", ["c1"]),
        ("conversations.updatedAt", "report", ["c2"]),
    ]
    assert count(look, "ai_conversations") == 2
    strict = headrace(
        "migrate", "quokkaq", export(**tables), "--policy", "aiConversations.updated_at=abort", "--dry-run", "--bare"
    )
    assert (strict.code, "updatedAt is before createdAt" in strict.reason) == (1, True)


@pytest.mark.parametrize("name", ["50% off: o'clock", 'a "quoted" :name'])
def test_a_source_may_be_called_anything(headrace: Run, export: Export, look: Look, name: str) -> None:
    done = headrace("migrate", "quokkaq", export(**small(planets=[{"id": "mars"}])), "--name", name, "--json", "--bare")
    assert done.code == 0, done.err
    assert look("SELECT DISTINCT source FROM ai_messages") == [{"source": name}]
    assert look("SELECT id FROM source_records") == [{"id": f"{name}/planets/mars"}]


def test_a_source_with_rejects_is_not_read_again_unless_they_might_fare_otherwise(
    headrace: Run, export: Export, look: Look
) -> None:
    tables = small()
    tables["aiConversations"].append({**tables["aiConversations"][0], "id": "c3", "courseId": "later"})
    tables["aiConversations"].append({**tables["aiConversations"][0], "id": "c4", "createdAt": "never"})
    path = export(**tables)
    first = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    again = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert (again["already_done"], again["loaded_by"]) == (True, first["run_id"])
    assert (again["rules"], table(again, "conversations")["rejected"]) == (first["rules"], 2)
    third = headrace("migrate", "quokkaq", path, "--bare")
    assert f"run {first['run_id']} loaded this very source" in " ".join(third.out.split())
    strict = headrace("migrate", "quokkaq", path, "--max-rejects", "1", "--bare")
    assert (strict.code, "more than the 1 that may be" in strict.reason) == (1, True)
    look("INSERT INTO courses (id, name) VALUES ('later', 'founded since')")
    mended = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert (mended["already_done"], table(mended, "conversations")["inserted"]) == (False, 1)


def test_a_source_with_rows_that_are_gone_or_changed_here_is_not_read_again(
    headrace: Run, export: Export, look: Look
) -> None:
    tables = small()
    headrace("migrate", "quokkaq", export(**tables), "--bare")
    look("UPDATE ai_messages SET content = 'edited' WHERE id = 'm1'")
    tables["conversationMessages"][0]["content"] = "Why not?"
    del tables["conversationMessages"][2]
    path = export(**tables)
    first = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert (table(first, "messages")["gone"], first["rules"][0]["rule"]) == (1, "messages.changed here")
    assert headrace("migrate", "quokkaq", path, "--json", "--bare").json["already_done"]
    look("UPDATE ai_messages SET content = 'edited again' WHERE id = 'm1'")
    assert not headrace("migrate", "quokkaq", path, "--json", "--bare").json["already_done"]


def test_a_value_stored_under_the_name_of_a_secret_is_refused_whole(
    headrace: Run, export: Export, database: Engine
) -> None:
    path = export(**small(authToken={"value": "hunter2"}), apiKey="hunter2")
    report = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert "hunter2" not in everything_stored(database) + json.dumps(report)
    assert [note for note in report["notes"] if "refused whole" in note] == [
        "authToken is refused whole: by its name it holds secrets",
        "apiKey is refused whole: by its name it holds secrets",
    ]


def test_a_folder_of_json_files_is_read_like_an_export(headrace: Run, look: Look) -> None:
    folder = shared_data("origin/quokkaq")
    done = headrace("migrate", "quokkaq", folder, "--policy", "conversations.courseId=null", "--json", "--bare")
    assert done.code == 0, done.err
    assert (count(look, "ai_messages"), count(look, "course_materials"), count(look, "users")) == (80, 25, 20)
    assert "rankingBaseline is no table and was left out" in done.json["notes"]
    assert count(look, "source_records WHERE source_table = 'rankingBaseline'") == 0


def run_in(told: str) -> str:
    """The first id of a run in what was told."""
    found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", told)
    assert found is not None
    return found.group()


def test_what_was_rejected_is_shown_counted_and_written_to_a_file(
    headrace: Run, export: Export, tmp_path: Path
) -> None:
    source = export(
        **small(courses=[{"id": "cs", "name": "A", "status": "odd"}, {"id": "ma", "name": "B\x1b[2J", "status": 3}])
    )
    done = headrace("migrate", "quokkaq", source, "--max-rejects", "0", "--bare")
    run = run_in(done.err)
    assert done.code == 1

    shown = headrace("rejects", run)
    assert shown.code == 0
    assert "\x1b" not in shown.out
    reason = "status: Input should be 'active' or 'archived'"
    assert shown.out.splitlines()[-2:] == [f"courses[0]: {reason}", f"courses[1]: {reason}"]
    one = headrace("rejects", run, "--limit", "1")
    assert "… 1 of 2; " in one.out
    assert "--csv FILE writes all" in one.out

    found = json.loads(headrace("rejects", run, "--json").out)
    assert found["rules"] == {"courses.status": 2}
    assert len(found["rejects"]) == 2
    written = tmp_path / "rejects.csv"
    assert headrace("rejects", run, "--csv", str(written)).code == 0
    rows = list(csv.DictReader(written.open()))
    assert [(row["place"], row["reason"]) for row in rows] == [
        (row["place"], row["reason"]) for row in found["rejects"]
    ]
    assert [json.loads(row["record"]) for row in rows] == [row["record"] for row in found["rejects"]]
    assert headrace("rejects", run, "--csv", "-").out == written.read_text()


def test_rejects_are_asked_of_a_migration_that_exists_and_a_table_that_has_some(headrace: Run, export: Export) -> None:
    odd = export(**small(courses=[{"id": "cs", "name": "A", "status": "odd"}]))
    run = run_in(headrace("migrate", "quokkaq", odd, "--bare").out)
    missing = headrace("rejects", run, "--table", "nix")
    assert missing.code == 2
    assert "the run rejected nothing of 'nix', but of " in missing.err
    assert headrace("rejects", "01900000-0000-7000-8000-000000000000").code == 2
    back = json.loads(headrace("rollback", run, "--bare", "--json").out)["run_id"]
    assert "the run is of rollback-migration; only a migration rejects records" in headrace("rejects", back).err
    refused = headrace("rejects", run, "--csv", "-", "--json")
    assert refused.code == 2
    assert "both want standard output" in refused.out + refused.err
    assert headrace("rejects", run, "--csv", "/nowhere/x.csv").code == 2
    clean = headrace("migrate", "quokkaq", export(**small()), "--bare", "--name", "clean").out
    done = headrace("rejects", run_in(clean))
    assert done.out.strip() == "Nothing was rejected."
