"""What a call sent and got, deflated as `llm_bodies` keeps it: both bodies as they were, and the reply read from them.

Vectors are kept once: where they cannot be read from the answer's body again, the reply is JSON that tells the type
and length of each, a line feed, and the numbers of all. Likewise many texts.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from isal import isal_zlib

from blocks.providers.openai_answers import read_texts_again, read_vectors_again
from schemas.calls import ProviderReply

FAST = 1
"""Level of ISA-L: the bytes of zlib's own first level, in a fifth of its time for text and a seventh for vectors."""

LARGE = 64 * 1024
"""Bytes of the bodies of one call, as they were, beyond which those of an answer go ahead of its outcome."""

LONG = 16 * 1024
"""Characters of all texts of a call."""

_RAW = {"request_bytes", "response_bytes"}
_LINE_FEED = b"\n"
_TEXTS = "texts"
_FORMS = "forms_of_vectors"


class PackedBodies(NamedTuple):
    """Columns of `llm_bodies`, deflated."""

    request: bytes
    response: bytes | None
    reply: bytes | None


@dataclass(frozen=True)
class Bodies:
    """What a call sent and got, as it was.

    Attributes:
        reply: what was read from the answer; None of a failure.
        texts: what was embedded, where the row of the request leaves it out.
    """

    request: bytes
    response: bytes | None
    reply: ProviderReply | None = None
    texts: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return len(self.request) + len(self.response or b"")

    def packed(self) -> PackedBodies:
        """As they are stored; of a hundred vectors this takes milliseconds, for the most part outside the interpreter's
        lock."""
        return PackedBodies(
            deflate(self.request),
            None if self.response is None else deflate(self.response),
            None if self.reply is None else pack_reply(self.reply, self.texts),
        )


def deflate(body: bytes) -> bytes:
    """The body of a request or an answer, smaller; in the format of zlib (RFC 1950)."""
    return isal_zlib.compress(body, FAST)


def are_long(texts: Sequence[str]) -> bool:
    """Whether texts to embed are kept with the reply to them, deflated, and not in the row of the request."""
    return sum(map(len, texts)) > LONG


def pack_reply(reply: ProviderReply, texts: Sequence[str] = ()) -> bytes:
    """The reply without its raw bodies; in ASCII, which can hold whatever a model says, lone surrogates included.

    Args:
        texts: what was embedded, to be kept with it where the body of the request cannot be read again.
    """
    said: dict[str, Any] = reply.model_dump(mode="json", exclude={*_RAW, "vectors"})
    if texts and not reply.in_openai_form:
        said[_TEXTS] = texts
    if reply.vectors is None or reply.in_openai_form:
        return deflate(json.dumps(said).encode("ascii"))
    said[_FORMS] = [(vector.typecode, len(vector)) for vector in reply.vectors]
    numbers = b"".join(_little_endian(vector).tobytes() for vector in reply.vectors)
    return deflate(json.dumps(said).encode("ascii") + _LINE_FEED + numbers)


def unpack_reply(packed: bytes, response: bytes | None) -> ProviderReply:
    """The reply that `pack_reply` packed, now or before vectors had a form of their own.

    Args:
        response: the answer's body, deflated; needed for vectors only.
    """
    head, _, numbers = zlib.decompress(packed).partition(_LINE_FEED)
    said = json.loads(head)
    said.pop(_TEXTS, None)
    if _FORMS in said:
        said["vectors"] = _vectors(said.pop(_FORMS), numbers)
    elif said.get("in_openai_form") and response is not None:
        said["vectors"] = read_vectors_again(zlib.decompress(response))
    elif said.get("vectors") is not None:
        said["vectors"] = tuple(array("d", vector) for vector in said["vectors"])
    return ProviderReply(**said, request_bytes=b"", response_bytes=b"")


def unpack_texts(packed: bytes, request: bytes) -> tuple[str, ...]:
    """The texts that `pack_reply` was given.

    Args:
        packed, request: the reply and the body of the request, as they are stored.
    """
    head, _, _ = zlib.decompress(packed).partition(_LINE_FEED)
    said = json.loads(head)
    return read_texts_again(zlib.decompress(request)) if said["in_openai_form"] else tuple(said[_TEXTS])


def _vectors(forms: Sequence[tuple[Literal["f", "d"], int]], stored: bytes) -> tuple[array[float], ...]:
    vectors, begin = [], 0
    for typecode, length in forms:
        vector = array(typecode)
        end = begin + length * vector.itemsize
        vector.frombytes(stored[begin:end])
        vectors.append(_little_endian(vector))
        begin = end
    return tuple(vectors)


def _little_endian(numbers: array[float]) -> array[float]:
    """The numbers for a machine that stores the other end first, and back."""
    if sys.byteorder == "big":  # pragma: no cover - depends on the machine
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
