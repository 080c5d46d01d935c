"""What the source no longer has is pruned where nothing stands on it; of what stays, the reason is told."""

from __future__ import annotations

from typing import Any

from tests.flows.conftest import Look, Run, Start
from tests.flows.test_migration import Export, export, small, state, table
from tests.flows.test_migration_killed import Held, held, wait_until_held

__all__ = ["export", "held"]

PRUNE = ("--prune", "--bare")
ENROLL = "INSERT INTO enrollments (id, user_id, course_id, role) VALUES ('e', 'ada', 'cs', 'student')"


def earlier() -> dict[str, Any]:
    """A forum of two courses."""
    tables = small()
    tables["courses"].append({"id": "art", "code": "ART 1", "name": "Drawing", "status": "active"})
    return tables


def without_cs(course: str | None = None) -> dict[str, Any]:
    """The forum without its course cs and its message m3; the conversation about cs is about `course`."""
    tables = earlier()
    del tables["courses"][0], tables["conversationMessages"][2]
    tables["aiConversations"][0]["courseId"] = course
    return tables


def fates(report: dict[str, Any], name: str) -> tuple[int, int, list[dict[str, Any]]]:
    """How many rows of a table are gone, how many of them were pruned, and what stays."""
    found = table(report, name)
    return found["gone"], found["pruned"], found["staying"]


def stays(*samples: str, by: str = "", referring: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"count": len(samples), "samples": list(samples), "referred_by": by, "referring": list(referring)}


def test_a_row_that_an_application_refers_to_stays_and_the_rest_is_pruned(
    headrace: Run, export: Export, look: Look
) -> None:
    headrace("migrate", "quokkaq", export(**earlier()), "--bare")
    look(ENROLL)
    before = state(look)
    path = export("later.json", **without_cs())
    foreseen = headrace("migrate", "quokkaq", path, "--dry-run", "--json", *PRUNE)
    shown = headrace("migrate", "quokkaq", path, "--dry-run", *PRUNE)
    assert state(look) == before
    done = headrace("migrate", "quokkaq", path, "--json", *PRUNE)
    assert done.code == 0, done.err
    for report in (foreseen.json, done.json):
        assert fates(report, "courses") == (1, 0, [stays("cs", by="enrollments", referring=("e",))])
        assert fates(report, "messages") == (1, 1, [])
    told = " ".join(shown.out.split())
    assert "courses: 1 row that the source no longer has stays, referred to by enrollments e: cs" in told
    assert "messages: 1 row to be pruned" in told
    assert [row["id"] for row in look("SELECT id FROM courses ORDER BY id")] == ["art", "cs"]
    assert [row["id"] for row in look("SELECT id FROM ai_messages ORDER BY id")] == ["m1", "m2"]

    look("DELETE FROM enrollments")
    again = headrace("migrate", "quokkaq", path, "--json", *PRUNE).json
    assert fates(again, "courses") == (1, 1, [])
    for report in (again, done.json):
        assert headrace("rollback", report["run_id"], "--bare").code == 0
    look(ENROLL)
    assert state(look) == before


def test_a_row_of_the_source_that_still_refers_to_one_that_is_gone_keeps_it(headrace: Run, export: Export) -> None:
    headrace("migrate", "quokkaq", export(**earlier()), "--bare")
    path = export("later.json", **without_cs("cs"))
    for options in (("--dry-run",), ()):
        report = headrace("migrate", "quokkaq", path, "--json", *options, *PRUNE).json
        assert fates(report, "courses") == (1, 0, [stays("cs", by="ai_conversations", referring=("c1",))])


def test_a_dry_run_knows_that_what_refers_to_a_row_will_no_longer_do_so(headrace: Run, export: Export) -> None:
    headrace("migrate", "quokkaq", export(**earlier()), "--bare")
    path = export("later.json", **without_cs("art"))
    for options in (("--dry-run",), ()):
        report = headrace("migrate", "quokkaq", path, "--json", *options, *PRUNE).json
        assert fates(report, "courses") == (1, 1, [])


def test_what_a_row_refers_to_that_a_person_changed_stays_with_it(headrace: Run, export: Export, look: Look) -> None:
    headrace("migrate", "quokkaq", export(**small()), "--bare")
    look("UPDATE ai_messages SET content = 'edited' WHERE id = 'm3'")
    fewer = small()
    del fewer["aiConversations"][1], fewer["conversationMessages"][1:]
    done = headrace("migrate", "quokkaq", export("later.json", **fewer), "--json", *PRUNE)
    assert done.code == 0, done.err
    assert fates(done.json, "conversations") == (1, 0, [stays("c2", by="ai_messages", referring=("m3",))])
    assert fates(done.json, "messages") == (2, 1, [stays("m3")])
    shown = " ".join(headrace("migrate", "quokkaq", export("later.json", **fewer), *PRUNE).out.split())
    assert "messages: 1 row that the source no longer has stays, changed here after loading: m3" in shown
    assert [row["id"] for row in look("SELECT id FROM ai_messages ORDER BY id")] == ["m1", "m3"]


def test_what_was_pruned_before_a_run_was_killed_is_counted_when_it_goes_on(
    headrace: Run, start: Start, export: Export, look: Look, held: Held
) -> None:
    headrace("migrate", "quokkaq", export(**earlier()), "--bare")
    path = export("later.json", **without_cs())
    with held("steps", "NEW.name = 'reconcile'"):
        command = start("migrate", "quokkaq", path, *PRUNE)
        wait_until_held(look)
        command.kill()
    assert [row["id"] for row in look("SELECT id FROM courses")] == ["art"]
    look("UPDATE workers SET lease_until = clock_timestamp() - interval '1 minute'")
    (run,) = look("SELECT id FROM runs WHERE status = 'running'")
    resumed = headrace("resume", run["id"], "--json", "--bare")
    assert resumed.code == 0, resumed.err
    assert [fates(resumed.json, name) for name in ("courses", "messages")] == [(1, 1, []), (1, 1, [])]


def test_what_was_pruned_is_not_said_to_be_gone_when_the_source_comes_again(headrace: Run, export: Export) -> None:
    headrace("migrate", "quokkaq", export(**earlier()), "--bare")
    path = export("later.json", **without_cs())
    headrace("migrate", "quokkaq", path, *PRUNE)
    again = headrace("migrate", "quokkaq", path, "--json", "--bare").json
    assert (again["already_done"], fates(again, "courses")) == (True, (0, 0, []))
