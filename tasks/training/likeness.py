"""Which texts are nearly equal: MinHash over runs of three words, and buckets of those that agree in a band of it.

Of each text are kept 128 bytes of its signature (the lowest byte of each of 128 minima, as in Li and König, "b-bit
minwise hashing", 2010) and four bytes a band: about 210 bytes, 65 MB for 300,000 texts. One band more is the whole
signature, so that texts of the same words always meet, however many that are half like them are in their buckets.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Any

MINIMA = 128
WORDS = 3
RECALL = 0.99
"""Of pairs that are just as alike as is asked for, this share at least meets in a bucket."""
BLOCK = 4096
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
"""A word, or a sign of a script that puts no space between words."""
_CHANCE = 1 / 256
"""That the lowest bytes of two minima are the same where these are not."""


def words_of(text: str) -> list[str]:
    """Its words, whatever their case and the signs between them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Likeness:
    """Takes texts, one after the other, and tells which of them are alike.

    Args:
        threshold: Jaccard similarity of the runs of words, above 0 and below 1, from which on two texts are alike.
    """

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash

        self._threshold = threshold
        self._rows = next(rows for rows in range(MINIMA // 4, 0, -1) if _recall(threshold, rows) >= RECALL or rows == 1)
        self._bands = MINIMA // self._rows
        self._minima = MinHash(num_perm=MINIMA, seed=1, hashfunc=zlib.crc32)
        self._signatures: list[Any] = []
        self._buckets: list[Any] = []
        self._filled = BLOCK

    def add(self, text: str) -> None:
        """The text is the next."""
        import numpy

        if self._filled == BLOCK:
            self._signatures.append(numpy.empty((BLOCK, MINIMA), numpy.uint8))
            self._buckets.append(numpy.empty((BLOCK, self._bands + 1), numpy.uint32))
            self._filled = 0
        minima = self._minima
        minima.clear()
        minima.update_batch(_runs(text))
        values = minima.hashvalues.astype("<u4")
        self._signatures[-1][self._filled] = values & 0xFF
        step = self._rows
        for band in range(self._bands):
            self._buckets[-1][self._filled, band] = zlib.crc32(values[band * step : (band + 1) * step].tobytes())
        self._buckets[-1][self._filled, self._bands] = zlib.crc32(values.tobytes())
        self._filled += 1

    def groups(self) -> list[int]:
        """For each text the number of the first one, from 0, that it is alike to, perhaps by way of others."""
        import numpy

        if not self._signatures:
            return []
        texts = (len(self._signatures) - 1) * BLOCK + self._filled
        first = list(range(texts))
        for band in range(self._bands + 1):
            bucket, following = (self._band(place)[:texts] for place in (band, (band + 1) % self._bands))
            order = numpy.lexsort((following, bucket))  # in a bucket, those that agree in a second band are neighbours
            beside = numpy.flatnonzero(bucket[order[1:]] == bucket[order[:-1]])
            for one, other in self._alike(order[beside], order[beside + 1]):
                _join(first, one, other)
        return [_root(first, text) for text in range(texts)]

    def _band(self, band: int) -> Any:
        import numpy

        return numpy.concatenate([block[:, band] for block in self._buckets])

    def _alike(self, ones: Any, others: Any) -> Iterator[tuple[int, int]]:
        """The pairs that agree in enough of their signatures, and not in a bucket alone."""
        enough = MINIMA * (self._threshold + (1 - self._threshold) * _CHANCE)
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            if (self._signature(one) == self._signature(other)).sum() >= enough:
                yield one, other

    def _signature(self, text: int) -> Any:
        return self._signatures[text // BLOCK][text % BLOCK]


def _recall(threshold: float, rows: int) -> float:
    bands = MINIMA // rows
    return float(1 - (1 - threshold**rows) ** bands)


def _runs(text: str) -> set[bytes]:
    words = words_of(text) or [text]
    runs = range(max(1, len(words) - WORDS + 1))
    return {" ".join(words[begin : begin + WORDS]).encode("utf-8", "surrogatepass") for begin in runs}


def _root(first: list[int], text: int) -> int:
    while first[text] != text:
        first[text] = first[first[text]]
        text = first[text]
    return text


def _join(first: list[int], one: int, other: int) -> None:
    one, other = _root(first, one), _root(first, other)
    first[max(one, other)] = min(one, other)
