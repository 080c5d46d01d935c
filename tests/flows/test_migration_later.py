"""What comes after a migration: rows of others in its place, a newer export, a resume, a rollback."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.conftest import Look, Run, Start
from tests.flows.test_migration import Export, count, export, small, state, table
from tests.flows.test_migration_killed import Held, held, wait_until_held

__all__ = ["export", "held"]

PLACEHOLDER = ("--policy", "conversations.courseId=create-placeholder")


def with_an_orphan(**changes: Any) -> dict[str, Any]:
    """A forum with a conversation about a course that is not there."""
    tables = small(**changes)
    tables["aiConversations"][1]["courseId"] = "lost"
    return tables


def edited() -> dict[str, Any]:
    """A later export of the forum."""
    tables = small()
    tables["conversationMessages"][0]["content"] = "Why not?"
    return tables


def killed(start: Start, look: Look, held: Held, *arguments: object) -> str:
    """The id of a migration whose process died when all but its messages were loaded."""
    with held("migration_chunks", "NEW.target = 'messages'"):
        command = start("migrate", "quokkaq", *arguments, "--bare")
        wait_until_held(look)
        command.kill()
    look("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
    return str(look("SELECT id FROM runs WHERE status = 'running'")[0]["id"])


def test_a_rollback_is_refused_where_an_application_took_the_place_of_a_row_that_was_pruned(
    headrace: Run, export: Export, look: Look
) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    fewer = small()
    del fewer["conversationMessages"][2]
    pruned = headrace("migrate", "quokkaq", export(**fewer), "--prune", "--json", "--bare").json["run_id"]
    look(
        "INSERT INTO ai_messages (id, conversation_id, role, content, created_at) "
        "VALUES ('m3', 'c2', 'user', 'an application wrote this', now())"
    )
    refused = headrace("rollback", pruned, "--bare")
    assert look("SELECT content FROM ai_messages WHERE id = 'm3'") == [{"content": "an application wrote this"}]
    assert refused.code == 1
    assert "what stands in place of ai_messages m3 is not of the run" in refused.reason
    look("DELETE FROM ai_messages WHERE id = 'm3'")
    assert headrace("rollback", pruned, "--bare").code == 0
    assert look("SELECT content FROM ai_messages WHERE id = 'm3'") == [{"content": "How?"}]


def test_placeholders_are_named_again_and_kept_when_the_source_comes_again(
    headrace: Run, export: Export, look: Look
) -> None:
    headrace("migrate", "quokkaq", export(**with_an_orphan()), *PLACEHOLDER, "--bare")
    before = state(look)
    path = export(**with_an_orphan(seedVersion="v2"))
    again = headrace("migrate", "quokkaq", path, *PLACEHOLDER, "--prune", "--json", "--bare")
    assert again.code == 0, again.err
    courses = table(again.json, "courses")
    assert [courses[key] for key in ("placeholders", "inserted", "updated", "unchanged", "gone")] == [1, 0, 0, 2, 0]
    assert [(rule["rule"], rule["samples"]) for rule in again.json["rules"]] == [("conversations.courseId", ["c2"])]
    assert state(look) == before

    nobodys = headrace("migrate", "quokkaq", export(**small()), *PLACEHOLDER, "--prune", "--json", "--bare").json
    assert table(nobodys, "courses")["pruned"] == 1
    assert [row["id"] for row in look("SELECT id FROM courses")] == ["cs"]


def test_a_placeholder_that_a_person_filled_in_is_a_course_and_stays(headrace: Run, export: Export, look: Look) -> None:
    headrace("migrate", "quokkaq", export(**with_an_orphan()), *PLACEHOLDER, "--bare")
    look("UPDATE courses SET name = 'Lost and found' WHERE id = 'lost'")
    again = headrace("migrate", "quokkaq", export(**with_an_orphan(seedVersion="v2")), "--prune", "--json", "--bare")
    assert again.code == 0, again.err
    assert again.json["rules"] == []
    assert look("SELECT name FROM courses WHERE id = 'lost'") == [{"name": "Lost and found"}]


def test_a_row_that_is_gone_is_not_pruned_where_a_person_changed_it(headrace: Run, export: Export, look: Look) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    look("UPDATE ai_messages SET content = 'edited' WHERE id = 'm3'")
    fewer = small()
    del fewer["conversationMessages"][1:]
    report = headrace("migrate", "quokkaq", export(**fewer), "--prune", "--json", "--bare").json
    assert [table(report, "messages")[key] for key in ("gone", "pruned")] == [2, 1]
    assert [row["id"] for row in look("SELECT id FROM ai_messages ORDER BY id")] == ["m1", "m3"]


def test_a_resume_of_a_run_that_is_done_shows_its_report_and_sets_nothing_back(
    headrace: Run, export: Export, look: Look
) -> None:
    first = headrace("migrate", "quokkaq", export(**small()), "--json", "--bare").json
    headrace("migrate", "quokkaq", export("later.json", **edited()), "--bare")
    before = state(look)
    assert headrace("resume", first["run_id"], "--json", "--bare").json == first
    assert state(look) == before
    assert {row["status"] for row in look("SELECT status FROM runs")} == {"completed"}


def test_a_run_that_was_taken_back_can_be_resumed_and_taken_back_again(
    headrace: Run, export: Export, look: Look
) -> None:
    first = headrace("migrate", "quokkaq", export(**small()), "--json", "--bare").json["run_id"]
    before = state(look)
    assert headrace("rollback", first, "--bare").code == 0
    assert headrace("resume", first, "--bare").code == 0
    assert state(look) == before
    assert headrace("rollback", first, "--bare").code == 0
    assert count(look, "users") == 0


def test_a_run_that_was_killed_does_not_set_back_what_a_later_one_loaded(
    headrace: Run, start: Start, export: Export, look: Look, held: Held
) -> None:
    run = killed(start, look, held, export(**small()))
    later = headrace("migrate", "quokkaq", export("later.json", **edited()), "--json", "--bare").json["run_id"]
    before = state(look)
    refused = headrace("resume", run, "--bare")
    assert refused.code == 2
    assert f"run {later} has loaded quokkaq since this run began" in refused.reason
    assert state(look) == before


def test_a_run_that_was_killed_is_taken_back_without_being_finished_first(
    headrace: Run, start: Start, export: Export, look: Look, held: Held
) -> None:
    empty = state(look)
    run = killed(start, look, held, export(**small()))
    assert state(look) != empty
    back = headrace("rollback", run, "--bare")
    assert back.code == 0, back.err
    assert state(look) == empty
    assert look("SELECT FROM pg_tables WHERE schemaname = 'headrace_staging'") == []
    assert look("SELECT status, attempt_id FROM runs WHERE flow = 'migrate-data'") == [
        {"status": "crashed", "attempt_id": None}
    ]


@pytest.mark.parametrize("option", ["--max-rejects=0", "--policy=conversations.courseId=abort"])
def test_a_run_that_the_source_ended_would_end_so_again_and_is_not_said_to_go_on(
    headrace: Run, export: Export, look: Look, option: str
) -> None:
    ended = headrace("migrate", "quokkaq", export(**with_an_orphan()), option, "--bare")
    assert ended.code == 1
    assert "headrace rejects" in ended.reason
    assert "goes on with it" not in ended.reason
    (run,) = look("SELECT id FROM runs")
    assert headrace("resume", run["id"], "--bare").code == 1
    assert [count(look, name) for name in ("users", "ai_messages", "migration_rejects")] == [0, 0, 1]


def test_a_run_that_found_everything_in_place_names_the_one_that_can_be_taken_back(
    headrace: Run, export: Export
) -> None:
    path = export(**small())
    first = headrace("migrate", "quokkaq", path, "--json", "--bare").json["run_id"]
    again = headrace("migrate", "quokkaq", path, "--bare")
    assert f"`headrace rollback {first}` takes it back" in " ".join(again.out.split())
    anew = headrace("migrate", "quokkaq", export(**small(seedVersion="v2")), "--bare")
    assert "Nothing was changed." in anew.out


def test_the_report_says_what_does_not_fit_by_rule_with_places(headrace: Run, export: Export) -> None:
    tables = small()
    tables["users"] += [{"id": f"u{number}", "name": "Eve", "role": "spy"} for number in range(60)] + [7]
    report = headrace("migrate", "quokkaq", export(**tables), "--dry-run", "--json", "--bare").json
    assert [(each["rule"], each["policy"], each["count"]) for each in report["unfit"]] == [
        ("users.readable", "reject", 1),
        ("users.role", "reject", 60),
    ]
    unreadable, spies = report["unfit"]
    assert unreadable["samples"] == ["users[61]"]
    assert spies["samples"] == [f"users[{place}]" for place in range(1, 51)]
    assert "'student'" in spies["sentence"]
    shown = " ".join(headrace("migrate", "quokkaq", export(**tables), "--dry-run", "--bare").out.split())
    assert f"users.role (reject): 60 rows: {spies['sentence']} (users[1], users[2]," in shown


def test_tables_without_a_counterpart_are_not_gone_where_the_source_does_not_have_them(
    headrace: Run, export: Export, look: Look
) -> None:
    notes, tasks = [{"id": "n1"}, {"id": "n2"}], [{"id": "t1"}, {"id": "t2"}]
    headrace("migrate", "quokkaq", export(**small(notifications=notes, assignments=tasks, drafts=tasks)), "--bare")
    fewer = export(**small(assignments=tasks[:1], drafts=[]))
    report = headrace("migrate", "quokkaq", fewer, "--prune", "--json", "--bare").json
    assert {each["table"]: each["pruned"] for each in report["tables"] if each["target"] == "source_records"} == {
        "assignments": 1,
        "drafts": 0,
    }
    kept = [row["id"] for row in look("SELECT source_id AS id FROM source_records")]
    assert sorted(kept) == ["n1", "n2", "t1", "t1", "t2"]


def test_a_row_that_was_changed_and_then_deleted_by_a_person_does_not_come_back(
    headrace: Run, export: Export, look: Look
) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    changing = headrace("migrate", "quokkaq", export(**edited()), "--json", "--bare").json["run_id"]
    (changed,) = look("SELECT row_id FROM migration_rows WHERE target = 'ai_messages'")
    look("DELETE FROM ai_messages WHERE id = :id", id=changed["row_id"])
    before = state(look)
    refused = headrace("rollback", changing, "--bare")
    assert refused.code == 1
    assert f"somebody deleted ai_messages {changed['row_id']}" in refused.reason
    assert state(look) == before
