"""Any of our tables can be filled by a mapping, whose values come out as the column needs them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import CheckConstraint, MetaData, Table

from schemas.errors import BadInput, ConfigurationError
from schemas.tables import Base
from tasks.migration.emptiness import EITHER
from tasks.migration.kinds.table import declare
from tasks.migration.mapping import BOOKKEEPING, Limits, limits, read_mapping, targets
from tasks.migration.reading import RecordValidator
from tasks.migration.refusing import Refusal


def values(target: str, given: dict[str, Any], *records: dict[str, Any]) -> list[dict[str, Any]]:
    """What the records come to, by column, or the reason why they are rejected."""
    main = declare({"target": target, "key": "nr", "columns": given}).tables[-1]
    validator = RecordValidator(main, Refusal())
    result = validator.validate(range(len(records)), [{"nr": 1, **record} for record in records])
    found = [dict(zip(validator.names, row, strict=True)) for row in result.rows]
    return [*found, *({"reason": reject.reason} for reject in result.rejects)]


@pytest.mark.parametrize("name", sorted(targets()))
def test_every_target_can_be_declared_and_its_checks_are_foreseen(name: str) -> None:
    table = Base.metadata.tables[name]
    columns = {column: "x" for column in table.columns.keys() if column not in BOOKKEEPING}  # noqa: SIM118 - no dict
    kind = declare({"target": name, "key": "nr", "columns": columns})
    assert kind.tables[-1].column_names[0] == "id"
    assert {column.name for column in kind.tables[-1].columns} >= set(columns)
    checks = [str(each.sqltext) for each in table.constraints if isinstance(each, CheckConstraint)]
    assert len(limits(table)) == len([check for check in checks if not EITHER.match(check)])


def test_checks_of_ranges_are_understood_as_they_are_written() -> None:
    written = ("a BETWEEN 0 AND 1", "b >= 0 AND b <= 100", "c >= -1", "d IN ('x', 'y')")
    found = limits(Table("even", MetaData(), *map(CheckConstraint, written)))
    assert found == {"a": Limits(None, 0, 1), "b": Limits(None, 0, 100), "c": Limits(None, -1), "d": Limits(("x", "y"))}


def test_a_check_that_no_mapping_can_foresee_is_said() -> None:
    with pytest.raises(ConfigurationError, match="odd has a check that no mapping can foresee: a < b"):
        limits(Table("odd", MetaData(), CheckConstraint("a < b")))


def test_a_column_that_is_not_mapped_has_its_default() -> None:
    (row,) = values("threads", dict.fromkeys(["course_id", "author_id", "title", "content"], "x") | {
        "status": {"value": "open"}, "created_at": {"value": "2025-01-01"}}, {"x": "y"})  # fmt: skip
    assert (row["views"], row["tags"], row["updated_at"]) == (0, [], None)
    (post,) = values("posts", dict.fromkeys(["thread_id", "author_id", "content"], "x") | {
        "created_at": {"value": "2025-01-01"}}, {"x": "y"})  # fmt: skip
    assert (post["endorsed"], post["flagged"]) == (False, False)


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        ({"format": "unix_ms"}, "1757325600500", 810_640_800_500_000),
        ({"format": "unix"}, 1757325600, 810_640_800_000_000),
        ({"zone": "Europe/Berlin"}, "2025-09-08T12:00", 810_640_800_000_000),
        ({"zone": "Europe/Berlin"}, "2025-09-08T12:00+00:00", 810_648_000_000_000),
        ({"format": "%d/%m/%y %H"}, "08/09/25 10", 810_640_800_000_000),
        ({}, None, None),
        ({}, "", None),
        ({}, 1757325600, "created_at: Input should be a valid datetime"),
        ({"format": "unix"}, "1e999", "created_at: Input should be a valid datetime"),
        ({"format": "unix"}, "soon", "created_at: Input should be a valid datetime"),
        ({"zone": "Europe/Berlin"}, "0001-01-01T00:00", "created_at: Input should be a valid datetime"),
    ],
)
def test_times_are_read_as_the_mapping_says(given: dict[str, Any], value: Any, expected: Any) -> None:
    (row,) = values("users", {"name": "nr", "created_at": {"from": "at", **given}}, {"at": value})
    if isinstance(expected, str):
        assert row["reason"].startswith(expected)
    else:
        assert row["created_at"] == expected


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        ({"scale": 100}, "0.5", 50),
        ({"scale": 100}, "0.505", "confidence_score: Input should be a valid integer"),
        ({"scale": 100}, "1e999999999", "confidence_score: Input should be a valid integer"),
        ({"scale": 100}, "1.01", "confidence_score: Input should be less than or equal to 100"),
        ({"map": {"1": 10, "true": 20}}, 1, 10),
        ({"map": {"1": 10, "true": 20}}, True, 20),
        ({"default": 7}, "", 7),
        ({}, "12", 12),
    ],
)
def test_numbers_are_what_the_mapping_makes_of_them(given: dict[str, Any], value: Any, expected: Any) -> None:
    columns: dict[str, Any] = {"thread_id": "nr", "content": "nr", "generated_at": {"value": "2025-01-01"}}
    columns |= {"confidence_score": {"from": "n", **given}}
    (row,) = values("ai_answers", columns, {"n": value})
    assert (row.get("confidence_score"), row.get("reason", "").partition(",")[0]) == (
        (None, expected) if isinstance(expected, str) else (expected, "")
    )


def test_lists_are_texts_of_json_or_split() -> None:
    records: list[dict[str, Any]] = [{"l": '["a"]'}, {"l": ["a", "b"]}, {"l": None}, {"l": "a"}]
    rows = values("courses", {"name": "nr", "instructor_ids": "l"}, *records)
    assert [row.get("instructor_ids") for row in rows] == [["a"], ["a", "b"], [], None]
    assert rows[3]["reason"] == "instructor_ids: Input should be a valid list"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        read_mapping({"target": "users", "key": "a", "columns": {"nam": "x", "email": {"scale": 1}}})
    assert str(refused.value).split("; ")[0] == "the mapping does not fit: columns: users needs name"
    assert "columns.nam: users has no such column" in str(refused.value)
    assert "columns.email: it needs either from" in str(refused.value)
    assert "columns.email: only numbers have a scale" in str(refused.value)
    with pytest.raises(BadInput, match="target: it is needed; columns: input should be a valid dictionary"):
        read_mapping({"key": "a", "columns": ["x"]})


def test_of_two_columns_one_of_which_is_wanted_a_mapping_fills_the_first() -> None:
    columns = {"content": {"from": "a"}, "generated_at": {"from": "b"}, "question": {"from": "c"}}
    with pytest.raises(BadInput, match=r"columns: ai_answers needs thread_id"):
        read_mapping({"target": "ai_answers", "key": ["id"], "columns": columns})
