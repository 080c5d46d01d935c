"""What a call sent and got is stored small, and read again as it was."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from array import array
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import ProviderReply, Usage
from tasks.ledger.bodies import LONG, are_long, deflate, pack_reply, unpack_reply, unpack_texts

doubles = st.floats(allow_nan=False)
singles = st.floats(allow_nan=False, width=32)


def reply(**said: object) -> ProviderReply:
    return ProviderReply(model="m", request_bytes=b"", response_bytes=b"", **said)


def embeddings(*rows: object) -> bytes:
    """The body of an answer of the OpenAI API, its rows in the reverse order."""
    shown = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
    return json.dumps({"model": "m", "data": shown[::-1]}).encode()


@given(
    st.lists(
        st.one_of(
            st.lists(singles, max_size=5).map(lambda numbers: array("f", numbers)),
            st.lists(doubles, max_size=5).map(lambda numbers: array("d", numbers)),
        ),
        max_size=4,
    )
)
def test_vectors_come_back_in_the_precision_they_came_in(vectors: list[array[float]]) -> None:
    packed = pack_reply(reply(vectors=tuple(vectors), usage=Usage(input_tokens=3, output_tokens=0)))
    read = unpack_reply(packed, None)
    assert read.vectors == tuple(vectors)
    assert read.vectors is not None
    assert [vector.typecode for vector in read.vectors] == [vector.typecode for vector in vectors]
    assert (read.model, read.usage) == ("m", Usage(input_tokens=3, output_tokens=0))


def test_what_is_no_number_is_still_none_when_it_comes_back() -> None:
    read = unpack_reply(pack_reply(reply(vectors=(array("d", (float("nan"), float("-inf"))),))), None)
    assert read.vectors is not None
    assert isnan(read.vectors[0][0])
    assert read.vectors[0][1] == float("-inf")


def test_a_reply_that_was_packed_as_json_is_read_as_before() -> None:
    old = {"text": "", "vectors": [[0.25, -1.5], [3.0, 4.0]], "model": "m", "usage": None}
    read = unpack_reply(zlib.compress(json.dumps(old).encode("ascii"), 1), deflate(b"another form"))
    assert read.vectors == (array("d", (0.25, -1.5)), array("d", (3.0, 4.0)))
    assert read.model == "m"


@pytest.mark.parametrize("as_base64", [True, False])
def test_vectors_that_stand_in_the_answer_are_kept_there_alone(as_base64: bool) -> None:
    rows = [(0.5, -0.25), (1.0, 2.0)]
    shown = [base64.b64encode(struct.pack("<2f", *row)).decode() if as_base64 else list(row) for row in rows]
    answer = deflate(embeddings(*shown))
    vectors = tuple(array("f", row) for row in rows)
    packed = pack_reply(reply(vectors=vectors, in_openai_form=True), ("asked",))
    assert struct.pack("<2f", *rows[0]) not in zlib.decompress(packed)
    assert b"asked" not in zlib.decompress(packed)
    assert unpack_reply(packed, answer).vectors == vectors


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_texts_are_read_from_the_request_or_from_what_is_kept_with_the_reply(texts: list[str]) -> None:
    vectors = tuple(array("d", (1.0,)) for _ in texts)
    request = deflate(json.dumps({"model": "m", "input": texts}).encode())
    sent = pack_reply(reply(vectors=vectors, in_openai_form=True), texts)
    assert unpack_texts(sent, request) == tuple(texts)
    kept = pack_reply(reply(vectors=vectors), texts)
    assert unpack_texts(kept, deflate(b"a form of their own")) == tuple(texts)
    assert unpack_reply(kept, None).vectors == vectors


def test_a_lone_surrogate_and_a_line_feed_in_what_is_kept_break_nothing() -> None:
    texts = ("one\ntwo", "half \ud83d of it")
    packed = pack_reply(reply(vectors=(array("f", (1.0,)), array("f", (2.0,)))), texts)
    assert unpack_texts(packed, deflate(b"")) == texts
    assert unpack_reply(packed, None).vectors == (array("f", (1.0,)), array("f", (2.0,)))
    assert unpack_reply(pack_reply(reply(text="half \ud83d of it")), None).text == "half \ud83d of it"


@given(st.binary())
def test_bodies_are_kept_as_zlib_reads_them(body: bytes) -> None:
    assert zlib.decompress(deflate(body)) == body


def test_texts_are_long_by_all_their_characters() -> None:
    assert not are_long(["a" * (LONG // 2)] * 2)
    assert are_long(["a" * (LONG // 2), "a" * (LONG // 2), "a"])
