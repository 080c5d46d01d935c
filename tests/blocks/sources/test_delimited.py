"""CSV: delimiters, quotes, fields that do not fit, encodings."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.sources.delimited import Delimited, open_delimited
from blocks.sources.json_record import SWAPPED
from schemas.errors import BadInput
from tests.blocks.sources.exports import delivered


def opened(tmp_path: Path, content: bytes | str, name: str = "requests.csv") -> Delimited:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_delimited(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    header = '"a,;\t|b"' if delimiter != "," else "a"
    text = f"{header}|b|c\n1|x|y\n".replace("|", delimiter) if delimiter == "," else None
    text = text or delimiter.join(["a", "b", "c"]) + "\n" + delimiter.join(["1", "x", "y"]) + "\n"
    assert delivered(opened(tmp_path, text)).records == [{"a": "1", "b": "x", "c": "y"}]


def test_quotes_and_line_breaks_in_fields_are_kept_and_places_are_first_lines(tmp_path: Path) -> None:
    source = opened(tmp_path, 'id,text\r\n1,"a ""b"",\r\nc"\r\n\r\n2,"x\ny"\r\n3,\r\n')
    found = delivered(source.tables()["requests"], size=2)
    assert found.records == [{"id": "1", "text": 'a "b",\r\nc'}, {"id": "2", "text": "x\ny"}, {"id": "3", "text": ""}]
    assert found.indexes == [2, 5, 7]
    assert source.place(5) == "requests.csv, line 5"
    assert delivered(source, start=3).indexes == [5, 7]


def test_a_row_with_too_few_or_too_many_fields_is_named(tmp_path: Path) -> None:
    found = delivered(opened(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n"))
    assert [record["a"] for record in found.records] == ["1", "7"]
    assert [(piece.index, piece.reason, piece.raw) for piece in found.unreadable] == [
        (3, "the row has 1 fields, the header 2", "3"),
        (4, "the row has 3 fields, the header 2", "4,5,6"),
    ]


def test_encodings_and_packing_are_told(tmp_path: Path) -> None:
    for number, (content, told) in enumerate(
        [
            ("a,b\nü,1\n".encode("cp1252"), "the file is not UTF-8; it was read as Windows-1252"),
            ("a,b\nü,1\n".encode("utf-8-sig"), "the file begins with a byte order mark, which was passed over"),
            ("a,b\nü,1\n".encode("utf-16"), "the file is UTF-16-LE; a copy in UTF-8 was read"),
            (gzip.compress("a,b\nü,1\n".encode()), "the file is gzip; an unpacked copy was read"),
        ]
    ):
        source = opened(tmp_path, content, f"{number}.csv")
        assert (delivered(source).records, source.problems) == ([{"a": "ü", "b": "1"}], [told])


def test_nul_is_replaced_and_noted(tmp_path: Path) -> None:
    found = delivered(opened(tmp_path, "a,b\nx\x00y,1\n"))
    assert (found.records, found.notes) == ([{"a": "x\ufffdy", "b": "1"}], [(2, SWAPPED)])


@pytest.mark.parametrize("content", ["\n\n", "a,a\n1,2\n", "a,,b\n", ",\n"])
def test_a_header_that_names_no_columns_or_one_twice_is_bad_input(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput, match=r"requests\.csv has no header that can be read"):
        opened(tmp_path, content)


def test_a_field_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.sources.delimited.LONGEST_FIELD", 100)
    found = delivered(opened(tmp_path, 'a,b\n1,2\n3,"' + "x" * 300))
    assert found.records == [{"a": "1", "b": "2"}]
    assert (found.unreadable[0].index, "field larger than" in found.unreadable[0].reason) == (3, True)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6))
def test_any_written_csv_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    found = delivered(opened(tmp_path_factory.mktemp("csv"), out.getvalue()))
    assert [tuple(record.values()) for record in found.records] == rows
