"""The finance assistant's messages become conversations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Look, Run
from tests.flows.older import Records, as_csv, as_json, counts, dump, fill, rows_of

DDL = """
CREATE TABLE conversations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL,
    role varchar(20) NOT NULL CHECK (role IN ('user', 'assistant', 'system')), content text NOT NULL,
    timestamp timestamp NOT NULL DEFAULT now(), page varchar(100));
CREATE TABLE unrelated (id int PRIMARY KEY)
"""
ANN = "11111111-1111-4111-8111-111111111111"
BEN = "22222222-2222-4222-8222-222222222222"
TABLES = ("users", "ai_conversations", "ai_messages")


def message(number: int, user: str, page: str | None, role: str, content: str) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "user_id": user,
        "role": role,
        "content": content,
        "timestamp": f"2025-11-0{number}T09:30:00",
        "page": page,
    }


MESSAGES = [
    message(3, ANN, "portfolio", "assistant", "Mostly bonds."),
    message(1, ANN, "portfolio", "system", "The user looks at their portfolio."),
    message(2, ANN, "portfolio", "user", "What do I hold?"),
    message(4, ANN, "tax_planning", "user", "What do I owe?"),
    message(5, BEN, "portfolio", "user", "And I?"),
    message(6, BEN, None, "user", "Hello"),
]


def source_in(form: str, folder: Path, url: str, messages: list[dict[str, Any]]) -> Path | str:
    """The messages in one of the forms in which they may come."""
    records: Records = {"conversations": messages}
    if form in ("url", "dump"):
        filled = fill(url, DDL, records)
        return filled if form == "url" else dump(url, folder / "dump.sql")
    return as_csv(folder / "csv", records) if form == "csv" else as_json(folder / "json", records)


@pytest.mark.parametrize("form", ["csv", "json", "dump", "url"])
def test_the_messages_of_a_user_about_a_page_are_one_conversation(
    headrace: Run, look: Look, tmp_path: Path, empty_database_url: str, form: str
) -> None:
    source = source_in(form, tmp_path, empty_database_url, MESSAGES)
    before = rows_of(look, *TABLES)
    done = headrace("migrate", "prime-radiant", source, "--json", "--bare")
    assert done.code == 0, done.err
    assert counts(done.json, "read", "rejected", "placeholders", "inserted") == {
        "users": (0, 0, 2, 2),
        "conversations": (4, 0, 0, 4),
        "messages": (6, 0, 0, 6),
        **({"unrelated": (0, 0, 0, 0)} if form == "dump" else {}),  # of a database, only its own tables are opened
    }
    conversations = look("SELECT * FROM ai_conversations ORDER BY id")
    assert [(row["id"], row["title"], row["message_count"], row["attributes"]) for row in conversations] == [
        (f"{ANN}/portfolio", "portfolio", 3, {"page": "portfolio"}),
        (f"{ANN}/tax_planning", "tax_planning", 1, {"page": "tax_planning"}),
        (f"{BEN}/", "(no page)", 1, {"page": None}),
        (f"{BEN}/portfolio", "portfolio", 1, {"page": "portfolio"}),
    ]
    first = conversations[0]
    assert [first[name].isoformat() for name in ("created_at", "updated_at")] == [
        "2025-11-01T09:30:00+00:00",
        "2025-11-03T09:30:00+00:00",
    ]
    assert look('SELECT user_id, page, "timestamp" FROM conversations WHERE content = :said', said="And I?") == [
        {"user_id": BEN, "page": "portfolio", "timestamp": datetime(2025, 11, 5, 9, 30, tzinfo=UTC)}
    ]
    said = look("SELECT role, content FROM ai_messages WHERE conversation_id = :id ORDER BY created_at", id=first["id"])
    assert [row["role"] for row in said] == ["system", "user", "assistant"]
    assert any("USER/page" in told for told in done.json["tables"][1]["conversions"])

    loaded = rows_of(look, *TABLES)
    again = headrace("migrate", "prime-radiant", source, "--json", "--bare")
    assert again.code == 0, again.err
    assert set(counts(again.json, "inserted", "updated", "gone").values()) == {(0, 0, 0)}
    assert rows_of(look, *TABLES) == loaded

    assert headrace("rollback", done.json["run_id"], "--bare").code == 0
    assert rows_of(look, *TABLES) == before


def test_a_message_without_a_user_or_with_another_role_is_rejected_by_name(
    headrace: Run, look: Look, tmp_path: Path
) -> None:
    wrong = [
        {**message(7, ANN, "portfolio", "tool", "?")},
        {**message(8, "nobody", "portfolio", "user", "?")},
        {**message(9, ANN, "portfolio", "user", "?"), "timestamp": "soon"},
    ]
    done = headrace(
        "migrate",
        "prime-radiant",
        as_json(tmp_path / "json", {"conversations": [*MESSAGES, *wrong]}),
        "--json",
        "--bare",
    )
    assert done.code == 0, done.err
    rejected = look("SELECT source_table, rule, reason FROM migration_rejects ORDER BY id")
    assert [(row["source_table"], row["rule"], row["reason"]) for row in rejected] == [
        ("conversations", "conversations.record", "record: Value error, user_id is no UUID"),
        ("messages", "messages.role", "role: Input should be 'user', 'assistant' or 'system'"),
        ("messages", "messages.record", "record: Value error, user_id is no UUID"),
        (
            "messages",
            "messages.timestamp",
            "timestamp: Input should be a valid datetime or date, input is too short",
        ),
    ]
    assert [(rule["rule"], rule["policy"], rule["count"]) for rule in done.json["rules"]] == [
        ("conversations.user_id", "create-placeholder", 4),
        ("conversations.count", "report", 1),
    ]


def test_the_conversations_of_an_application_user_join_them(headrace: Run, look: Look, tmp_path: Path) -> None:
    look("INSERT INTO users (id, name) VALUES (:id, 'Ann')", id=ANN)
    done = headrace(
        "migrate", "prime-radiant", as_json(tmp_path / "json", {"advisor_messages": MESSAGES[:3]}), "--json", "--bare"
    )
    assert done.code == 0, done.err
    assert done.json["rules"] == []
    assert look("SELECT name FROM users") == [{"name": "Ann"}]
