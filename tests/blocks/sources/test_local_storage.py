"""localStorage exports: double-encoded, null, plain, damaged, odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.sources import json_strings
from blocks.sources.json_record import RAW_CONTROLS, SWAPPED
from blocks.sources.local_storage import LocalStorage, open_local_storage
from schemas.errors import BadInput
from tests.blocks.sources.exports import Delivered, delivered, js, write_export
from tests.conftest import shared_data

THREADS = [{"id": f"thread-{n}", "title": f'"{n}" — \\ ü 😀\n', "tags": [{"id": "t"}, {"id": "u"}]} for n in range(7)]


def read(path: Path, table: str = "threads", size: int = 100) -> Delivered:
    return delivered(open_local_storage(path).tables()[table], size)


def damaged(tmp_path: Path, inner: str, **options: Any) -> Delivered:
    return read(write_export(tmp_path / "export.json", {}, texts={"threads": inner}), **options)


def test_records_come_out_as_they_went_in_with_or_without_the_prefix(tmp_path: Path) -> None:
    path = write_export(tmp_path / "export.json", {"quokkaq.threads": THREADS, "posts": THREADS[:2]})
    source = open_local_storage(path)
    assert list(source.tables()) == ["threads", "posts"]
    found = delivered(source.tables()["threads"], size=3)
    assert found.records == THREADS
    assert found.indexes == list(range(7))
    assert found.positions == [3, 6, 7]
    assert (found.unreadable, found.notes, source.problems) == ([], [], [])
    assert delivered(source.tables()["posts"]).records == THREADS[:2]
    assert source.tables()["threads"].place(12) == "threads[12]"


def test_null_and_an_empty_array_have_no_records_and_nothing_unreadable(tmp_path: Path) -> None:
    path = write_export(tmp_path / "export.json", {"threads": None, "posts": []}, texts={"users": " [ ] "})
    tables = open_local_storage(path).tables()
    assert [delivered(tables[name]) for name in ("threads", "posts", "users")] == [Delivered()] * 3


def test_an_object_is_one_record_and_plain_text_is_named(tmp_path: Path) -> None:
    session = {"userId": "u1", "roles": ["student"]}
    path = write_export(
        tmp_path / "e.json", {"authSession": session}, texts={"seedVersion": "v2.1.0", "initialized": ""}
    )
    tables = open_local_storage(path).tables()
    assert delivered(tables["authSession"]).records == [session]
    (version,) = delivered(tables["seedVersion"]).unreadable
    assert (version.index, version.raw) == (0, "v2.1.0")
    assert version.reason == "the value is plain text, not an array of records"
    assert delivered(tables["initialized"]).unreadable[0].reason == "the value is empty"


def test_values_given_as_plain_json_are_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(
        json.dumps({"threads": THREADS, "authSession": {"a": "}]"}, "n": 5, "posts": THREADS[:1]}, indent=1)
    )
    tables = open_local_storage(path).tables()
    assert delivered(tables["threads"]).records == THREADS
    assert delivered(tables["authSession"]).records == [{"a": "}]"}]
    assert delivered(tables["posts"]).records == THREADS[:1]
    assert delivered(tables["n"]).unreadable[0].raw == "5"


def test_an_array_wrapped_under_its_own_name_is_that_array(tmp_path: Path) -> None:
    path = write_export(tmp_path / "export.json", {"assignments": {"assignments": THREADS}})
    assert read(path, "assignments").records == THREADS


def test_reading_goes_on_at_any_place_and_remembers_places_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_strings, "BLOCK_BYTES", 200)
    table = open_local_storage(write_export(tmp_path / "export.json", {"threads": THREADS})).tables()["threads"]
    for _ in range(2):
        for start in range(9):
            found = delivered(table, size=2, start=start)
            assert found.records == THREADS[start:]
            assert found.indexes == list(range(start, 7))


@pytest.mark.parametrize("block", [16, 64, 333])
def test_a_record_longer_than_a_block_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(json_strings, "BLOCK_BYTES", block)
    records = [{"id": "a", "text": '\\"\n}' * 100}, {"id": "b", "text": "ü" * 500}, {"id": "c", "text": "0" * 900}]
    assert read(write_export(tmp_path / "export.json", {"threads": records})).records == records


def test_ten_megabytes_in_one_field_are_read(tmp_path: Path) -> None:
    records = [{"id": "a", "text": 'x"' * 5_000_000}, {"id": "b", "text": ""}]
    assert read(write_export(tmp_path / "export.json", {"threads": records})).records == records


def test_one_bad_record_is_named_and_its_neighbours_are_read(tmp_path: Path) -> None:
    found = damaged(tmp_path, '[{"id":1},{"id":2,"a":},{"id":3},7,"x",null,[],{"id":4}]')
    assert found.records == [{"id": 1}, {"id": 3}, {"id": 4}]
    assert found.indexes == [0, 2, 7]
    assert [piece.index for piece in found.unreadable] == [1, 3, 4, 5, 6]
    assert found.unreadable[0].reason == "not valid JSON: Expecting value at character 13"
    assert found.unreadable[0].raw == '{"id":2,"a":}'
    assert found.unreadable[1].reason == "a number stands where a record (an object) should be"
    assert found.positions == [8]


@pytest.mark.parametrize(
    "bad",
    ['{"id":"2","title":"no end}', '{"id":"2","title":"x"', '{"id":"2","title":{"a":1}', '{"id":"2,"title":"x"}'],
)
def test_a_record_without_its_end_does_not_swallow_those_after_it(tmp_path: Path, bad: str) -> None:
    good = [{"id": str(n), "title": "x, {y}", "tags": [{"id": "a", "n": 1}]} for n in range(6)]
    inner = "[" + ",".join([*map(js, good[:2]), bad, *map(js, good[3:])]) + "]"
    found = damaged(tmp_path, inner)
    assert found.records == [*good[:2], *good[3:]]
    assert [piece.index for piece in found.unreadable] == [2]
    assert found.unreadable[0].raw.startswith('{"id":"2')


def test_an_object_inside_a_bad_record_is_not_taken_for_a_record(tmp_path: Path) -> None:
    found = damaged(
        tmp_path, '[{"id":1,"title":"a"},{"id":2,"title":"b","tags":[{"id":8},{"id":9,"x":1}],"bad":NaNs},{"id":3}]'
    )
    assert found.records == [{"id": 1, "title": "a"}, {"id": 3}]
    assert [piece.index for piece in found.unreadable] == [1]


@pytest.mark.parametrize("cut", range(1, 60))
def test_an_export_cut_anywhere_delivers_whole_records_and_names_the_rest(tmp_path: Path, cut: int) -> None:
    records = [{"id": "a", "t": "x"}, {"id": "b", "t": 'y"'}]
    whole = write_export(tmp_path / "export.json", {"threads": records, "posts": []}).read_bytes()
    path = tmp_path / "cut.json"
    path.write_bytes(whole[: len(whole) - cut])
    source = open_local_storage(path)
    assert source.problems != []
    found = delivered(source.tables()["threads"]) if "threads" in source.tables() else Delivered()
    assert found.records == records[: len(found.records)]
    if len(found.records) < 2 and "threads" in source.tables():
        assert found.unreadable != []


def test_an_array_that_does_not_close_is_named_even_after_its_last_whole_record(tmp_path: Path) -> None:
    found = damaged(tmp_path, '[{"id":1},{"id":2}')
    assert found.records == [{"id": 1}, {"id": 2}]
    assert [(piece.index, piece.reason) for piece in found.unreadable] == [(2, "the source ends before the array does")]


@pytest.mark.parametrize(("inner", "index"), [('[{"id":1},]', 1), ('[,{"id":1}]', 0), ('[{"id":1}] x', 1)])
def test_stray_commas_and_text_after_the_array_are_named(tmp_path: Path, inner: str, index: int) -> None:
    found = damaged(tmp_path, inner)
    assert found.records == [{"id": 1}]
    assert [piece.index for piece in found.unreadable] == [index]


@pytest.mark.parametrize(
    ("inner", "record", "note"),
    [
        (r'{"a":"x\u0000y"}', {"a": "x\ufffdy"}, SWAPPED),
        (r'{"a\u0000":"\ud83d"}', {"a\ufffd": "\ufffd"}, SWAPPED),
        ('{"a":NaN}', {"a": "NaN"}, "the number NaN cannot be stored as one; it is kept as text"),
        ('{"a":-1e999}', {"a": "-1e999"}, "the number -1e999 cannot be stored as one; it is kept as text"),
        ('{"a":-Infinity}', {"a": "-Infinity"}, "the number -Infinity cannot be stored as one; it is kept as text"),
        (
            '{"a":' + "9" * 30 + "}",
            {"a": "9" * 30},
            f"the number {'9' * 30} cannot be stored as one; it is kept as text",
        ),
        (
            '{"a":' + "9" * 5000 + "}",
            {"a": "9" * 5000},
            f"the number {'9' * 40} cannot be stored as one; it is kept as text",
        ),
        ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}, "the key 'a' stands 2 times; the last value is kept"),
        ('{"a":{"k":1,"k":2}}', {"a": {"k": 2}}, "the key 'k' stands 2 times; the last value is kept"),
        ('{"a":"x\ny"}', {"a": "x\ny"}, RAW_CONTROLS),
        ('{"a":"x\x00y"}', {"a": "x\ufffdy"}, RAW_CONTROLS),
        ('{"a":"\ud800"}', {"a": "\ufffd"}, SWAPPED),
    ],
)
def test_oddities_are_repaired_and_noted_with_their_record(
    tmp_path: Path, inner: str, record: dict[str, Any], note: str
) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"threads": '[{"id":1},' + inner + ',{"id":2}]'}))
    found = read(path)
    assert found.records == [{"id": 1}, record, {"id": 2}]
    assert found.notes[0] == (1, note)
    assert found.unreadable == []


def test_integers_up_to_64_bits_stay_numbers(tmp_path: Path) -> None:
    found = damaged(
        tmp_path,
        '[{"a":9223372036854775807},{"a":-9223372036854775808},{"a":18446744073709551615},{"a":18446744073709551616}]',
    )
    assert [record["a"] for record in found.records] == [2**63 - 1, -(2**63), 2**64 - 1, str(2**64)]


def test_a_record_nested_beyond_what_can_be_written_again_is_named(tmp_path: Path) -> None:
    for depth in (300, 2_000, 100_000):
        found = damaged(tmp_path, '[{"id":1},{"a":' + "[" * depth + "]" * depth + '},{"id":2}]')
        assert found.records == [{"id": 1}, {"id": 2}]
        assert [piece.index for piece in found.unreadable] == [1]


def test_bytes_that_are_no_utf8_and_stray_backslashes_are_replaced_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(rb'{"threads":"[{\"id\":1},{\"a\":\"' + b"\xff" + rb'\q\"},{\"id\":2}]"}')
    found = read(path)
    assert found.records == [{"id": 1}, {"a": "\ufffd\ufffdq"}, {"id": 2}]
    assert found.notes == [(1, SWAPPED)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_byte_order_marks_and_wide_encodings_are_read_and_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(js({"threads": js(THREADS)}), encoding=encoding)
    source = open_local_storage(path)
    assert delivered(source.tables()["threads"]).records == THREADS
    assert len(source.problems) == 1


def test_of_a_key_that_stands_twice_the_later_value_is_read_but_null_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(r'{"threads":"[{\"id\":1}]","quokkaq.threads":"[{\"id\":2}]","threads":null}')
    source = open_local_storage(path)
    assert delivered(source.tables()["threads"]).records == [{"id": 2}]
    assert source.problems == ["the key 'threads' stands twice; the later value is read"]


@pytest.mark.parametrize("text", ['{"a":"[]"} x', '{"a":"[]" 5', '{"a":"[]","b"', '{"a":"[]","b":', '{"a":"[]",5:1}'])
def test_what_is_wrong_around_the_values_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(text)
    source = open_local_storage(path)
    assert list(source.tables()) == ["a"]
    assert len(source.problems) == 1


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    paths = [write_export(tmp_path / f"{n}.json", {"threads": THREADS[: n or None]}) for n in (0, 0, 3)]
    (tmp_path / "copy.json").write_bytes(paths[0].read_bytes())
    first, copy, third = (open_local_storage(path).fingerprint for path in (paths[0], tmp_path / "copy.json", paths[2]))
    assert first == copy != third


@pytest.mark.parametrize("content", [b"", b"[1]", b"null", b"\x00\x01", b"\xff\xfe"])
def test_what_is_no_object_is_bad_input(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"export\.json"):
        open_local_storage(path)


def test_a_folder_and_a_missing_file_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Is a directory"):
        open_local_storage(tmp_path)
    with pytest.raises(BadInput, match="No such file"):
        open_local_storage(tmp_path / "absent.json")


def quokkaq_export(folder: Path) -> tuple[LocalStorage, dict[str, Any]]:
    records = {path.stem: json.loads(path.read_text()) for path in shared_data("origin/quokkaq").glob("*.json")}
    return open_local_storage(write_export(folder / "export.json", records)), records


def test_the_course_forums_own_records_are_read_whole(tmp_path: Path) -> None:
    source, records = quokkaq_export(tmp_path)
    for name in ("threads", "posts", "users", "ai-answers", "ai-messages", "course-materials"):
        assert delivered(source.tables()[name], size=7).records == records[name]
    assert len(delivered(source.tables()["ai-messages"]).records) == 80
