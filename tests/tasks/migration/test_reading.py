"""Records become rows, or rejects that say what is wrong and where."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInput
from tasks.migration.encoding import jsonb, kept_json
from tasks.migration.fields import EPOCH, microseconds
from tasks.migration.kinds import find_kind, kind_names
from tasks.migration.kinds.quokkaq import KIND
from tasks.migration.loading import Extent
from tasks.migration.reading import NESTED_BITS, RecordValidator, ValidRows
from tasks.migration.refusing import REFUSED, Refusal, names_a_secret
from tasks.migration.rest import as_rest

WHEN = "2025-09-15T10:00:00Z"


def read(table: str, *records: dict[str, Any], indexes: Any = None) -> tuple[ValidRows, Refusal, RecordValidator]:
    """What comes of the records of one table of the forum."""
    found = KIND.table(table)
    assert found is not None
    refusal = Refusal()
    validator = RecordValidator(found, refusal)
    return validator.validate(indexes or range(len(records)), list(records)), refusal, validator


def message(**changes: Any) -> dict[str, Any]:
    return {"id": "m", "conversationId": "c", "role": "user", "content": "Hi", "timestamp": WHEN, **changes}


def column(rows: ValidRows, validator: RecordValidator, name: str) -> list[Any]:
    return [row[validator.names.index(name)] for row in rows.rows]


def test_a_record_becomes_its_columns_and_the_rest_attributes() -> None:
    rows, _, validator = read("messages", message(mood="calm"), message(id=7))
    assert column(rows, validator, "_seq") == [0, 1]
    assert column(rows, validator, "id") == ["m", "7"]
    assert column(rows, validator, "attributes") == [b'\x01{"mood":"calm"}', b"\x01{}"]
    assert column(rows, validator, "created_at") == [811_245_600_000_000] * 2  # 9,389 days and ten hours after 2000


def test_only_the_records_at_fault_are_rejected() -> None:
    rows, _, validator = read(
        "messages", message(), message(role="robot"), message(id=""), message(timestamp="soon"), message(id="n")
    )
    assert column(rows, validator, "id") == ["m", "n"]
    assert [(each.index, each.rule, each.source_id) for each in rows.rejects] == [
        (1, "messages.role", "m"),
        (2, "messages.id", ""),
        (3, "messages.timestamp", "m"),
    ]
    assert rows.rejects[0].reason == "role: Input should be 'user', 'assistant' or 'system'"
    assert json.loads(rows.rejects[0].record)["role"] == "robot"


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2025-09-15T10:00:00.250Z", datetime(2025, 9, 15, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("2025-09-15T10:00:00", datetime(2025, 9, 15, 10, tzinfo=UTC)),
        ("2025-09-15T10:00:00+02:00", datetime(2025, 9, 15, 8, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_microseconds_in_utc(told: str, moment: datetime) -> None:
    rows, _, validator = read("messages", message(timestamp=told))
    assert column(rows, validator, "created_at") == [(moment - EPOCH) // timedelta(microseconds=1)]


@given(st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=st.just(timezone(timedelta(hours=-5)))))
def test_no_microsecond_is_lost(moment: datetime) -> None:
    found = microseconds(moment)
    assert found is not None
    assert timedelta(microseconds=found) == moment - EPOCH


def test_nested_records_come_out_with_what_they_inherit() -> None:
    answer = {
        "id": "a",
        "threadId": "t",
        "courseId": "cs",
        "content": "So.",
        "generatedAt": WHEN,
        "citations": [{"id": "1", "source": "Notes"}, "page 3", {"source": "Slides", "sourceType": "slides"}],
    }
    rows, _, _ = read("answers", answer, indexes=[5])
    (first, one), (second, two) = rows.nested["citations"]
    assert (first, second) == (5 << NESTED_BITS, (5 << NESTED_BITS) + 2)
    assert one == {"id": "a/1", "source": "Notes", "answerId": "a", "courseId": "cs", "ordinal": 1}
    assert (two["id"], two["ordinal"]) == ("a/3", 3)
    assert [each.reason for each in rows.rejects] == ["citations[1] is no record of citations"]
    inner, _, validator = read("citations", two)
    assert column(inner, validator, "source_type") == ["slide"]


def test_views_are_read_under_their_later_name() -> None:
    thread = {"id": "t", "courseId": "c", "authorId": "a", "title": "T", "content": "", "status": "open"}
    rows, _, validator = read("threads", {**thread, "createdAt": WHEN, "viewCount": 7, "tags": None})
    assert (column(rows, validator, "views"), column(rows, validator, "tags")) == ([7], [[]])
    assert column(rows, validator, "attributes") == [b"\x01{}"]


@pytest.mark.parametrize("name", ["password", "API_KEY", "openai-api-key", "userPassword", "clientSecret", "token"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["keywords", "promptTokens", "tokens_used", "passage", "author", "secretary"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not names_a_secret(name)


def test_secrets_are_gone_from_rows_rejects_and_attributes() -> None:
    user = {"id": "u", "name": "U", "password": "hunter2", "profile": {"keys": [{"apiKey": "hunter2"}]}}
    rows, refusal, _ = read("users", user, {**user, "password": "hunter2", "role": "spy"})
    assert "hunter2" not in repr(rows)
    assert refusal.counts == {("users", "password"): 2, ("users", "apiKey"): 1}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"name": "x", "password": "hunter2"', '{"name": "x", "password' + REFUSED),
        ('{\\"token\\":\\"hunter2\\", \\"town\\": 1}', '{\\"token\\":' + REFUSED),
        ('{"profile": {"pass"word": "hunter2', '{"profile": {"pass"word' + REFUSED),
        ('{"pass"ord": "hunter2', '{"pass"ord' + REFUSED),
        ("api_key=hunter2; town=Oxford", f"api_key{REFUSED}"),
        ("name: hunter2", "name: hunter2"),
    ],
)
def test_what_is_no_record_is_redacted(text: str, kept: str) -> None:
    assert Refusal().redact(text) == kept


def test_json_of_any_depth_and_size_of_number_is_stored_as_it_is() -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    assert jsonb({"deep": deep, "wide": 2**80}) == b"\x01" + json.dumps({"deep": deep, "wide": 2**80}).encode()
    assert jsonb(None) is None
    assert json.loads(kept_json({"deep": deep})) is not None


def test_a_record_without_a_table_is_called_by_its_id_or_its_place() -> None:
    records = as_rest("forum", "planets", [3, 4], [{"id": "mars"}, {"name": "?"}])
    assert [record["id"] for record in records] == ["forum/planets/mars", "forum/planets/4"]
    assert orjson.dumps(records[1]["record"]) == b'{"name":"?"}'


def test_chunks_cover_every_place_once() -> None:
    chunks = Extent(10, 109, 100).chunks(30)
    assert chunks == [(10, 35), (35, 60), (60, 85), (85, 2**63 - 1)]
    assert Extent(0, 0, 0).chunks() == [(0, 2**63 - 1)]


def test_kinds_are_found_by_name() -> None:
    assert "quokkaq" in kind_names()
    assert find_kind("quokkaq") is KIND
    with pytest.raises(BadInput, match="there is no kind of source 'nothing'; there are"):
        find_kind("nothing")


MAPPINGS = {"table": {"target": "users", "key": "email", "columns": {"name": "name"}}}


@pytest.mark.parametrize("kind", kind_names())
def test_every_kind_is_declared_soundly(kind: str) -> None:
    declared = find_kind(kind, MAPPINGS.get(kind))
    placed: set[str] = set()
    for table in declared.tables:
        assert {column.name for column in table.columns} >= {"id"}
        required = {
            column.name
            for column in table.sql.columns
            if not column.nullable and column.server_default is None and not column.identity
        }
        assert required <= set(table.column_names), f"{table.name} leaves {required} empty"
        for link in table.links:
            parent = declared.table(link.to)
            assert parent is not None
            assert parent.name in placed, f"{table.name} is loaded before {link.to}, which it refers to"
        placed.add(table.name)
    assert declared.policies({}) == declared.default_policies
