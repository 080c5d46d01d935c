"""Splitting and unescaping by properties: any values, any block, any chunk give what json.loads gives."""

from __future__ import annotations

import json
import tempfile
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.sources import json_strings
from blocks.sources.json_array import JsonArray, Mark, array_chunks
from blocks.sources.json_splitting import NestingScanner, elements, last_comma
from blocks.sources.json_strings import safe_cut, unescape
from tests.blocks.sources.exports import cleaned

TRICKY = st.text(alphabet=st.sampled_from('"\\{}[],: \n\ud7ffüa0\U0001f600/u'), max_size=12)
TEXTS = st.one_of(TRICKY, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=12)
WRITINGS = st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 1}, {"ensure_ascii": False}])


@settings(deadline=None, max_examples=300)
@given(
    records=RECORDS,
    writing=WRITINGS,
    outer=WRITINGS,
    block=st.integers(12, 90),
    size=st.integers(1, 5),
    start=st.integers(0, 6),
)
def test_any_array_in_a_string_gives_the_same_records(
    records: list[Any], writing: dict[str, Any], outer: dict[str, Any], block: int, size: int, start: int
) -> None:
    text = json.dumps(json.dumps(records, **writing), **outer).encode()
    with tempfile.TemporaryFile() as file, mock.patch.object(json_strings, "BLOCK_BYTES", block):
        file.write(text)
        file.flush()
        begin = unescape(text[1:-1]).index(b"[") + 2
        array = JsonArray(
            lambda offset: json_strings.unescaped_pieces(file, offset, len(text) - 1), Mark(0, begin, b"")
        )
        for _ in range(2):
            chunks = list(array_chunks("t", array.batches(start), size, start))
            assert [record for chunk in chunks for record in chunk.records] == cleaned(records)[start:]
            assert [index for chunk in chunks for index in chunk.indexes] == list(range(start, len(records)))
            assert all(len(chunk.records) <= size and not chunk.unreadable for chunk in chunks)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 30), st.booleans())
def test_a_string_unescaped_in_blocks_is_the_string(text: str, size: int, ascii_only: bool) -> None:
    raw = json.dumps(text, ensure_ascii=ascii_only).encode()[1:-1]
    pieces, at = [], 0
    while at < len(raw):
        block = raw[at : at + max(size, 12)]
        cut = safe_cut(block) if at + len(block) < len(raw) else len(block)
        pieces.append(unescape(block[:cut]))
        at += cut
    assert b"".join(pieces).decode() == text


@given(st.lists(VALUES, min_size=1, max_size=5), WRITINGS)
def test_elements_and_the_last_comma_are_those_of_the_array(values: list[Any], writing: dict[str, Any]) -> None:
    text = json.dumps(values, **writing).encode()[1:]
    spans = list(elements(text))
    assert [json.loads(text[begin:end]) for begin, end, stop in spans if stop] == values
    cut = last_comma(text[:-1])
    assert (cut == -1) == (len(values) == 1)
    assert json.loads(b"[" + text[: max(cut, 0)] + b"]") == values[:-1]


@given(st.lists(VALUES, max_size=5), st.integers(1, 40), st.text(']}[{"\\ ', max_size=9))
def test_the_end_of_an_array_is_found_in_blocks_of_any_size(values: list[Any], size: int, rest: str) -> None:
    text = json.dumps(values).encode()
    scanner, at = NestingScanner(), 1
    while (end := scanner.feed((text + rest.encode())[at : at + size])) < 0:
        at += size
    assert at + end == len(text)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(12, 60))
def test_any_bytes_in_place_of_an_array_end_without_a_traceback(junk: bytes, block: int) -> None:
    with tempfile.TemporaryFile() as file, mock.patch.object(json_strings, "BLOCK_BYTES", block):
        file.write(junk)
        file.flush()
        for read in (json_strings.unescaped_pieces, json_strings.plain_pieces):
            escaped = junk.replace(b'"', b"'") if read is json_strings.unescaped_pieces else junk
            file.seek(0)
            file.write(escaped)
            file.flush()
            array = JsonArray(lambda offset, read=read: read(file, offset, len(junk)), Mark(0, 0, b'{"id":1},'))
            (first, *_) = array_chunks("t", array.batches(), 1000, 0)
            assert first.records[0] == {"id": 1}
