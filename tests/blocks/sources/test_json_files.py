"""Plain JSON files, folders of them, and JSON lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from blocks.sources.json_files import open_json_files
from blocks.sources.json_lines import open_json_lines
from blocks.sources.json_record import SWAPPED
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered
from tests.conftest import shared_data

RECORDS = [{"id": n, "text": f"{n}, {{ü}}"} for n in range(9)]


def test_a_folder_has_a_table_for_each_file_named_as_the_browser_named_it(tmp_path: Path) -> None:
    (tmp_path / "ai-messages.json").write_text(json.dumps(RECORDS, indent=2))
    (tmp_path / "assignments.json").write_text(json.dumps({"assignments": RECORDS[:2]}))
    (tmp_path / "threads.jsonl").write_text("\n".join(map(json.dumps, RECORDS[:3])))
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "notes.txt").write_text("no JSON")
    source = open_json_files(tmp_path)
    assert list(source.tables()) == ["aiMessages", "assignments", "threads"]
    found = [delivered(table, size=4).records for table in source.tables().values()]
    assert found == [RECORDS, RECORDS[:2], RECORDS[:3]]
    assert source.problems == [f"{tmp_path / 'empty.json'} is empty"]
    assert source.tables()["aiMessages"].place(3) == "ai-messages.json[3]"
    source.close()


def test_the_fingerprint_of_a_folder_follows_its_content_and_names(tmp_path: Path) -> None:
    prints = []
    for folder, name in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.json").write_text("[]")
        prints.append(open_json_files(tmp_path / folder).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_folder_without_json_and_an_unreadable_one_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no JSON files"):
        open_json_files(tmp_path)
    (tmp_path / "a.json").mkdir()
    with pytest.raises(BadInput, match=r"a\.json cannot be read: Is a directory"):
        open_json_files(tmp_path)


def test_two_files_of_one_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "ai-answers.json").write_text('[{"id":1}]')
    (tmp_path / "ai_answers.json").write_text('[{"id":2}]')
    source = open_json_files(tmp_path)
    assert delivered(source.tables()["aiAnswers"]).records == [{"id": 1}]
    assert source.problems == ["ai_answers.json names the table 'aiAnswers' a second time; it was not read"]


def test_a_file_that_wraps_other_things_beside_its_array_names_them(tmp_path: Path) -> None:
    path = tmp_path / "threads.json"
    path.write_text('{"threads": [{"id": 1}], "total": 1}')
    found = delivered(open_json_files(path).tables()["threads"])
    assert found.records == [{"id": 1}]
    assert [(piece.index, piece.raw) for piece in found.unreadable] == [(1, ', "total": 1}')]


def test_the_course_forums_folder_is_read_whole() -> None:
    folder = shared_data("origin/quokkaq")
    source = open_json_files(folder)
    assert len(delivered(source.tables()["aiMessages"]).records) == 80
    assert len(delivered(source.tables()["assignments"]).records) == 5
    assert delivered(source.tables()["posts"]).records == json.loads((folder / "posts.json").read_text())
    assert source.problems == []


def test_lines_are_records_and_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "threads.ndjson"
    path.write_bytes(b'{"id":1}\r\n\n{"id":2,}\n[3]\n{"id":"\\u0000"}\n  {"id":5}')
    source = open_json_lines(path)
    found = delivered(source.tables()["threads"], size=2)
    assert found.records == [{"id": 1}, {"id": "\ufffd"}, {"id": 5}]
    assert found.indexes == [1, 5, 6]
    assert [piece.index for piece in found.unreadable] == [3, 4]
    assert found.notes == [(5, SWAPPED)]
    assert source.place(3) == "threads.ndjson, line 3"


def test_lines_go_on_at_any_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    source = open_json_lines(path)
    for start in range(1, 11):
        found = delivered(source, size=4, start=start)
        assert found.indexes == list(range(start, 10))
        assert found.records == RECORDS[start - 1 :]


def test_two_lines_that_only_together_are_json_are_two_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a":[1\n2]}\n{"b":1}\n')
    found = delivered(open_json_lines(path))
    assert found.records == [{"b": 1}]
    assert [piece.index for piece in found.unreadable] == [1, 2]


def test_packed_lines_are_read_from_an_unpacked_copy(tmp_path: Path) -> None:
    path = tmp_path / "threads.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id":1}\n'))
    source = open_json_lines(path)
    assert delivered(source.tables()["threads"]).records == [{"id": 1}]
    assert source.problems == ["the file is gzip; an unpacked copy was read"]
    path.write_bytes(gzip.compress(b'{"id":1}\n')[:-4])
    with pytest.raises(BadInput, match="damaged gzip"):
        open_json_lines(path)


def test_a_line_without_end_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.sources.json_lines.LONGEST_RECORD", 10)
    path = tmp_path / "x.jsonl"
    path.write_text('{"id":"' + "x" * 40)
    with pytest.raises(BadInput, match="longer than 32 MB"):
        delivered(open_json_lines(path))
