"""Tables that a source does not have as they are needed: grouped, joined, from a folder of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from blocks.sources.chosen import open_tables
from blocks.sources.grouping import GroupedSource
from blocks.sources.joining import Join, JoinedSource
from blocks.sources.records import Source
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered

Open = Callable[..., Source]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Open]:
    """Opens a folder with a JSON file for each table given."""
    with ExitStack() as opened:

        def make(**tables: list[dict[str, Any]]) -> Source:
            for name, records in tables.items():
                (tmp_path / f"{name}.json").write_text(json.dumps(records))
            source = open_tables(str(tmp_path), frozenset())
            opened.callback(source.close)
            return source

        yield make


def grouped(source: Source) -> GroupedSource:
    return GroupedSource(source, ("talk",), "messages", "talks", ("user", "page"), ("user",), "at")


def test_records_that_agree_are_a_group_from_the_first_to_the_last(folder: Open) -> None:
    talk = [
        {"user": 1, "page": "a", "at": "2025-01-02 00:00:00+00"},
        {"user": "1", "page": "a", "at": "2025-01-01T23:30:00-01:00"},
        {"user": 1, "page": "", "at": "2025-01-03"},
        {"user": 1, "at": 0},
        {"user": None, "page": "a", "at": "2025-01-03"},
        {"user": 2, "page": "a", "at": "soon"},
        {"user": 2, "page": "a"},
    ]
    tables = grouped(folder(Talk=talk, other=[{"id": 1}])).tables()
    assert list(tables) == ["talks", "messages", "other"]
    assert delivered(tables["talks"], size=1).records == [
        {
            "user": "1",
            "page": "a",
            "first": "2025-01-02T00:00:00+00:00",
            "last": "2025-01-01T23:30:00-01:00",
            "count": 2,
        },
        {
            "user": "1",
            "page": None,
            "first": "1970-01-01T00:00:00+00:00",
            "last": "2025-01-03T00:00:00+00:00",
            "count": 2,
        },
    ]
    assert [chunk.indexes for chunk in tables["talks"].chunks(5, start=1)] == [[1]]
    assert tables["talks"].place(1).endswith("group 1 by user, page")


def test_a_source_without_the_table_has_nothing_to_group(folder: Open) -> None:
    assert list(grouped(folder(other=[{"id": 1}])).tables()) == ["other"]


def test_a_record_is_joined_to_the_first_or_the_last_that_matches(folder: Open) -> None:
    source = folder(
        asked=[{"id": 1}, {"id": 2}, {"id": None}],
        said=[
            {"id": "x", "of": 1, "at": "2025-01-01T10:00:00Z"},
            {"id": "y", "of": "1", "at": "2025-01-01T10:00:00.5Z"},
            {"id": "z", "of": None, "at": "never"},
        ],
    )
    joins = {
        "asked": (
            Join("first", "said", by=("id",), match=("of",), keep=("id",)),
            Join("last", "said", by=("id",), match=("of",), last_by="at"),
            Join("again", "asked", by=("last.of",), match=("id",)),
            Join("nowhere", "missing", by=("id",), match=("id",)),
        )
    }
    named = {"asked": "asked", "said": "said"}
    joined = JoinedSource(source, named.get, joins, {"asked": lambda record: record["id"] != 2})
    found = delivered(joined.tables()["asked"], size=2)
    assert found.records == [
        {
            "id": 1,
            "first": {"id": "x"},
            "last": {"id": "y", "of": "1", "at": "2025-01-01T10:00:00.5Z"},
            "again": {"id": 1},
            "nowhere": None,
        },
        {"id": None, "first": None, "last": None, "again": None, "nowhere": None},
    ]
    assert delivered(joined.tables()["said"], size=2).records[0]["id"] == "x"
    assert (joined.fingerprint, joined.description) == (source.fingerprint, source.description)
    kept = Path(joined._folder.name) if joined._folder else None
    assert kept is not None
    assert kept.is_dir()
    joined.close()
    assert not kept.exists()


def test_a_folder_says_which_of_its_files_it_could_not_read(folder: Open, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / ".hidden").write_text("x")
    source = folder(a=[{"id": 2}], b=[{"id": 3}])
    assert sorted(source.tables()) == ["a", "b"]
    assert [each for each in source.problems if "second time" in each] == [
        "a.json has the table 'a' a second time; it was not read"
    ]
    assert any("broken.parquet" in each for each in source.problems)
    assert delivered(source.tables()["a"], size=5).records == [{"id": "1"}]


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no files that can be read"):
        open_tables(str(tmp_path), frozenset())


def test_the_fingerprint_of_a_folder_is_that_of_its_files(folder: Open, tmp_path: Path) -> None:
    first = folder(a=[{"id": 2}]).fingerprint
    assert folder(a=[{"id": 2}]).fingerprint == first
    assert folder(a=[{"id": 3}]).fingerprint != first
