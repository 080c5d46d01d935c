"""Hostile input through a whole migration: a clean load or a named reject, never a traceback or half a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.migration import migrate_data
from schemas.errors import BadInput, HeadraceError
from schemas.migration import MigrationReport
from tasks.ledger.session import Ledger
from tests.conftest import shared_data
from tests.flows.conftest import Look

WHEN = "2025-09-15T10:00:00Z"
Ended = MigrationReport | HeadraceError


def suite() -> list[Path]:
    """Every file of the JSON test suite."""
    return sorted(shared_data("weird/JSONTestSuite").glob("*/*.json"))


def user(identity: str, raw: bytes | None = None) -> bytes:
    """A user's record, with `raw` as the value of one field."""
    weird = b"" if raw is None else b', "weird": ' + raw
    return b'{"id": ' + json.dumps(identity).encode() + b', "name": "N"' + weird + b"}"


def message(identity: str, **changes: Any) -> dict[str, Any]:
    """A message of the only conversation."""
    return {
        "id": identity, "conversationId": "c", "role": "user", "content": "Hi", "timestamp": WHEN, **changes,
    }  # fmt: skip


def with_messages(*messages: Any, **more: Any) -> dict[str, Any]:
    """The tables of a forum with these messages."""
    return {
        "users": [{"id": "ada", "name": "Ada"}],
        "aiConversations": [{"id": "c", "userId": "ada", "courseId": None, "title": "T", "createdAt": WHEN}],
        "conversationMessages": list(messages),
        **more,
    }


@pytest.fixture
def export(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """Writes a localStorage export; a value of bytes stands there as it is."""

    def write(tables: Mapping[str, Any]) -> Path:
        path = tmp_path / "export.json"
        members = (
            json.dumps(f"quokkaq.{key}").encode()
            + b": "
            + (value if isinstance(value, bytes) else json.dumps(json.dumps(value)).encode())
            for key, value in tables.items()
        )
        path.write_bytes(b"{" + b", ".join(members) + b"}")
        return path

    return write


Export = Callable[[Mapping[str, Any]], Path]


async def migrated(source: Path, name: str = "") -> Ended:
    """How the migration of `source` ends, which is a report or an error of ours in one sentence."""
    try:
        report = await migrate_data.fn(kind="quokkaq", source=str(source), source_name=name)
    except HeadraceError as error:
        return error
    for table in report.tables:
        assert table.reconciled
        assert table.read + table.placeholders == table.accepted + table.rejected
    return report


async def loaded(source: Path, name: str = "") -> MigrationReport:
    """The report of a migration that must not fail."""
    report = await migrated(source, name)
    assert isinstance(report, MigrationReport), report
    return report


def rejects(look: Look, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of all rejects, in the order in which they were found."""
    return [tuple(row.values()) for row in look(f"SELECT {', '.join(columns)} FROM migration_rejects ORDER BY id")]


async def test_no_file_of_the_json_test_suite_is_a_source_and_each_is_refused_in_a_sentence(
    ledger: Ledger, look: Look
) -> None:
    for path in suite():
        ended = await migrated(path)
        assert isinstance(ended, BadInput), path.name
        assert "\n" not in str(ended)
    assert look("SELECT FROM users") == []
    assert look("SELECT status FROM runs WHERE status NOT IN ('failed', 'completed')") == []


async def test_every_file_of_the_json_test_suite_may_be_one_table_of_a_folder(
    ledger: Ledger, look: Look, tmp_path: Path
) -> None:
    for number, path in enumerate(suite()):
        (tmp_path / f"weird-{number}.json").write_bytes(path.read_bytes())
    (tmp_path / "users.json").write_bytes(b"[" + user("ada") + b"]")
    (tmp_path / "threads.json").write_bytes(b"[" * 100_000)
    await loaded(tmp_path)
    assert look("SELECT id FROM users") == [{"id": "ada"}]
    assert ("threads.readable", "threads.json[0]") in rejects(look, "rule", "place")


async def test_every_value_that_a_json_parser_may_take_comes_in_with_its_record(
    ledger: Ledger, look: Look, export: Export
) -> None:
    taken = [path for path in suite() if not path.name.startswith(("n_", "i_"))]
    users = [user(f"u{number}", path.read_bytes()) for number, path in enumerate(taken)]
    report = await loaded(export({"users": b"[" + b", ".join(users) + b"]"}))
    assert rejects(look, "source_id", "reason") == []
    assert report.rows == len(taken) == len(look("SELECT FROM users WHERE attributes ? 'weird'"))


async def test_a_value_that_no_json_parser_takes_costs_what_stands_beside_it_in_its_table_and_nothing_else(
    ledger: Ledger, look: Look, export: Export
) -> None:
    damaging = [path for path in suite() if path.name.startswith(("n_", "i_"))]
    tables: dict[str, Any] = {"users": b"[" + user("ada") + b"]"}
    for number, path in enumerate(damaging):
        array = b"[" + b", ".join([user("a"), user("b", path.read_bytes()), user("c")]) + b"]"
        stored = json.dumps(array.decode(errors="surrogateescape"), ensure_ascii=False)
        tables[f"weird{number}"] = stored.encode(errors="surrogateescape")
    await loaded(export(tables))
    assert look("SELECT id FROM users") == [{"id": "ada"}]
    before = look("SELECT source_table FROM source_records WHERE source_id = 'a'")
    assert len(before) == len(damaging)
    came_in = {row["source_table"] for row in look("SELECT source_table FROM source_records WHERE source_id = 'b'")}
    names = {f"weird{number}" for number in range(len(damaging))}
    assert names - came_in <= {table for (table,) in rejects(look, "source_table")}


async def test_every_naughty_string_is_kept_as_the_text_it_is(ledger: Ledger, look: Look, export: Export) -> None:
    strings = json.loads(shared_data("weird/blns.json").read_text())
    threads = [
        {"id": f"t{number}", "courseId": "k", "authorId": "ada", "title": naughty, "content": naughty, "status": "open",
         "createdAt": WHEN, "tags": [naughty], naughty or "empty": naughty}
        for number, naughty in enumerate(strings)
    ]  # fmt: skip
    courses = [{"id": "k", "name": "K"}]
    await loaded(export({"users": [{"id": "ada", "name": "A"}], "courses": courses, "threads": threads}))
    kept = {row["id"]: row for row in look("SELECT id, title, content, tags, attributes FROM threads")}
    assert rejects(look, "reason") == []
    for number, naughty in enumerate(strings):
        row = kept[f"t{number}"]
        assert (row["title"], row["content"], row["tags"]) == (naughty, naughty, [naughty])
        assert row["attributes"] == {naughty or "empty": naughty}


async def test_every_naughty_string_may_be_an_id_a_reference_a_time_or_the_name_of_a_table(
    ledger: Ledger, look: Look, export: Export
) -> None:
    strings = json.loads(shared_data("weird/blns.json").read_text())
    messages = [message(naughty, conversationId=naughty) for naughty in strings]
    messages += [message(f"m{number}", timestamp=naughty) for number, naughty in enumerate(strings)]
    messages += [message(f"r{number}", role=naughty) for number, naughty in enumerate(strings)]
    tables = with_messages(*messages, message("good"), **{strings[50]: [{"id": 1}], 'x"; DROP TABLE users; --': [{}]})
    await loaded(export(tables))
    assert look("SELECT id FROM ai_messages WHERE id = 'good'") == [{"id": "good"}]
    by_rule = Counter(rule for (rule,) in rejects(look, "rule"))
    assert by_rule["messages.role"] == len(strings)
    assert by_rule["messages.id"] == len([each for each in strings if not 1 <= len(each) <= 255])
    assert len(look("SELECT FROM source_records")) == 2


async def test_nul_bytes_and_half_characters_are_taken_out_and_counted(
    ledger: Ledger, look: Look, export: Export
) -> None:
    stored = json.dumps(with_messages(message("m1"), message("m2"))["conversationMessages"])
    stored = stored.replace('"Hi"', '"H\\u0000i"', 1).replace('"Hi"', '"H\\ud800i"', 1)
    tables = with_messages()
    tables["conversationMessages"] = json.dumps(stored).encode()
    report = await loaded(export(tables))
    texts = look("SELECT id, content FROM ai_messages ORDER BY id")
    assert [row["id"] for row in texts] == ["m1", "m2"]
    assert all("\x00" not in row["content"] for row in texts)
    (counted,) = [table.repairs for table in report.tables if table.table == "messages"]
    assert counted == 2


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1e999", "123456789012345678901234567890"])
async def test_a_number_that_no_column_holds_is_a_reject_and_as_an_attribute_its_text(
    ledger: Ledger, look: Look, export: Export, number: str
) -> None:
    records = ", ".join(
        json.dumps(message(name, **{field: "NUMBER"})).replace('"NUMBER"', number)
        for name, field in (("m1", "mood"), ("m2", "timestamp"), ("m3", "content"))
    )
    tables = with_messages(courses=[{"id": "k", "name": "K"}])
    tables["conversationMessages"] = json.dumps(f"[{records}]").encode()
    await loaded(export(tables))
    (row,) = look("SELECT id, attributes ->> 'mood' AS mood FROM ai_messages WHERE id = 'm1'")
    assert row["mood"] == number
    assert {"messages.timestamp"} <= {rule for (rule,) in rejects(look, "rule")}


async def test_byte_order_marks_around_and_inside_are_read_over(ledger: Ledger, look: Look, export: Export) -> None:
    path = export(with_messages(message("m1", content="\ufeffHi")))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    await loaded(path)
    assert look("SELECT content FROM ai_messages") == [{"content": "\ufeffHi"}]
    path.write_bytes(path.read_bytes().decode("utf-8-sig").encode("utf-16"))
    again = await loaded(path)
    assert [table.unchanged for table in again.tables] == [table.read for table in again.tables]


async def test_of_keys_that_stand_twice_the_last_counts_of_ids_the_first_and_both_are_told(
    ledger: Ledger, look: Look, export: Export
) -> None:
    first = json.dumps(message("m1", content="first id"))
    twice = first.replace('"content"', '"content": "first key", "content"')
    tables = with_messages()
    tables["conversationMessages"] = json.dumps(f"[{twice}, {json.dumps(message('m1', content='second id'))}]").encode()
    report = await loaded(export(tables))
    assert look("SELECT content FROM ai_messages") == [{"content": "first id"}]
    assert rejects(look, "rule", "place") == [("messages.duplicate", "conversationMessages[1]")]
    assert [table.repairs for table in report.tables if table.table == "messages"] == [1]


async def test_a_table_that_stands_twice_in_an_export_is_told(ledger: Ledger, look: Look, export: Export) -> None:
    path = export({"users": [{"id": "ada", "name": "A"}]})
    path.write_bytes(b'{"quokkaq.users": "[]", ' + path.read_bytes()[1:])
    report = await loaded(path)
    assert any("users" in note and "twice" in note for note in report.notes)
    assert look("SELECT id FROM users") == [{"id": "ada"}]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("2025-09-15T10:00:00", "2025-09-15 10:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999"),
        ("0001-01-01T00:00:00+14:00", "0001-12-31 10:00:00 BC"),
        ("9999-12-31T23:59:59-14:00", "10000-01-01 13:59:59"),
        ("10000-01-01T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2025-02-30T00:00:00Z", None),
    ],
)
async def test_times_at_the_ends_of_the_calendar_are_kept_or_rejected_by_name(
    ledger: Ledger, look: Look, export: Export, told: str, kept: str | None
) -> None:
    await loaded(export(with_messages(message("m1", timestamp=told), message("m2"))))
    found = look("SELECT (created_at AT TIME ZONE 'UTC')::text AS moment FROM ai_messages WHERE id = 'm1'")
    assert found == ([] if kept is None else [{"moment": kept}])
    assert [rule for (rule,) in rejects(look, "rule")] == (["messages.timestamp"] if kept is None else [])
    assert len(look("SELECT FROM ai_messages WHERE id = 'm2'")) == 1


async def test_ten_megabytes_in_one_field_come_in_whole_and_in_a_reject_are_kept_too(
    ledger: Ledger, look: Look, export: Export
) -> None:
    long = "ab\u00e9\n" * 2_500_000
    await loaded(export(with_messages(message("m1", content=long), message("m2", role="robot", content=long))))
    whole = "= repeat(E'ab\u00e9\\n', 2500000) AS whole"
    assert look(f"SELECT content {whole} FROM ai_messages") == [{"whole": True}]
    assert look(f"SELECT source_id, record ->> 'content' {whole} FROM migration_rejects") == [
        {"source_id": "m2", "whole": True}
    ]
