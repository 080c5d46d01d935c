"""A migration that is killed at any moment, and two at once: the tables are those of one that ran alone to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.flows.conftest import Look, Run, Start
from tests.flows.test_migration import Export, count, everything_stored, export, small, state

__all__ = ["export"]

Held = Callable[[str, str], Any]


def forum() -> dict[str, Any]:
    """A forum in which every step finds something to refuse."""
    tables = small()
    (ada,) = tables["users"]
    (first, *_) = tables["conversationMessages"]
    tables["users"] = [ada, {**ada, "id": "eve", "role": "spy"}]
    tables["aiConversations"].append({**tables["aiConversations"][0], "id": "c3", "courseId": "gone"})
    tables["conversationMessages"] = [{**first, "id": f"m{number}", "content": f"text {number}"} for number in range(9)]
    return tables


def rejects(look: Look) -> list[dict[str, Any]]:
    """What was rejected, and why."""
    return look("SELECT source_table, place, source_id, record, rule, reason FROM migration_rejects ORDER BY 1, 2")


@pytest.fixture
def held(database: Engine, look: Look) -> Held:
    """Inside, whoever writes such a row waits; `table` and `such`, a condition on `NEW`, say which."""

    @contextmanager
    def hold(table: str, such: str) -> Iterator[None]:
        look("""
            CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$
        """)
        look(
            f"CREATE TRIGGER held BEFORE INSERT ON {table} FOR EACH ROW WHEN ({such}) "
            "EXECUTE FUNCTION wait_for_the_test()"
        )
        with database.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(4711)"))
            yield
            connection.execute(text("SELECT pg_advisory_unlock(4711)"))
        look("DROP FUNCTION wait_for_the_test CASCADE")

    return hold


def wait_until_held(look: Look) -> None:
    """Somebody waits for the test."""
    while not look("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 4711"):
        look("SELECT pg_sleep(0.05)")


def alone(headrace: Run, path: Path, look: Look) -> tuple[object, object]:
    """The tables and rejects of a migration that runs alone to its end; afterwards it is taken back."""
    done = headrace("migrate", "quokkaq", path, "--json", "--bare")
    assert done.code == 0, done.err
    found = state(look), rejects(look)
    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    look("TRUNCATE migration_rejects")
    return found


@pytest.mark.parametrize(
    ("table", "such", "loaded"),
    [
        ("migration_rejects", "NEW.rule = 'users.role'", 0),
        ("migration_rejects", "NEW.rule = 'conversations.courseId'", 0),
        ("migration_chunks", "NEW.target = 'messages'", 2),
        ("steps", "NEW.name = 'reconcile'", 2),
    ],
    ids=["staging", "checking", "loading", "reconciling"],
)
def test_a_run_that_is_killed_goes_on_to_the_tables_of_one_that_was_not(
    headrace: Run, start: Start, export: Export, look: Look, database: Engine, held: Held, table: str, such: str,
    loaded: int,
) -> None:  # fmt: skip
    path = export(**forum())
    whole = alone(headrace, path, look)
    with held(table, such):
        command = start("migrate", "quokkaq", path, "--bare")
        wait_until_held(look)
        killed = command.kill()
    assert "hunter2" not in everything_stored(database) + killed.out + killed.err
    (run,) = [row["id"] for row in look("SELECT id FROM runs WHERE status = 'running'")]
    assert (count(look, "ai_conversations"), count(look, "ai_messages") in {0, 9}) == (loaded, True)
    look("UPDATE workers SET lease_until = clock_timestamp() - interval '1 minute'")
    resumed = headrace("resume", run, "--json", "--bare")
    assert resumed.code == 0, resumed.err
    assert resumed.json["run_id"] == str(run)
    assert (state(look), rejects(look)) == whole
    assert [each["inserted"] for each in resumed.json["tables"]] == [1, 1, 2, 9]
    assert look("SELECT FROM pg_tables WHERE schemaname = 'headrace_staging'") == []


def test_of_two_runs_at_once_the_second_is_refused_and_the_first_undisturbed(
    headrace: Run, start: Start, export: Export, look: Look, held: Held
) -> None:
    path = export(**forum())
    whole = alone(headrace, path, look)
    with held("migration_chunks", "NEW.target = 'messages'"):
        command = start("migrate", "quokkaq", path, "--bare")
        wait_until_held(look)
        busy = headrace("migrate", "quokkaq", path, "--bare")
        run = str(look("SELECT id FROM runs WHERE status = 'running'")[0]["id"])
        unfinished = headrace("rollback", run, "--bare")
    done = command.wait()
    assert (busy.code, "another run is at work on the source quokkaq" in busy.reason) == (2, True)
    assert (unfinished.code, "still at work" in unfinished.reason) == (2, True)
    assert done.code == 0, done.err
    assert (state(look), rejects(look)) == whole
