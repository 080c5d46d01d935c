"""What the metrics see of a text: its words and sentences, in any language.

Sentences are split by `sentencex` (Wikimedia's, which knows abbreviations), syllables are counted by the hyphenation
patterns of `pyphen`. A Chinese, Japanese or Korean sign counts as a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0003ffff"
_FIRST_SIGN = "\u3040"
_WORD = re.compile(rf"[{_SIGN}]|[^\W_{_SIGN}]+(?:['’-][^\W_{_SIGN}]+)*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENDS = tuple('.!?…。！？"”’»)]}`|')
_STOP = re.compile(r"[\n。！？]|[.!?]\s|\s")
LONG_WORD = 7
"""Letters of a word that says something particular more often than not."""
CONTENT_WORD = 4
"""Letters of a word that is seldom only grammar."""
BLOCK = 2000
"""Characters split into sentences at once: the splitter takes time by the square of the signs of a paragraph."""
LONGEST_HYPHENATED = 40
"""Letters; no language has longer words in use, and hyphenating takes time by the square of them. Of longer ones every
third letter is taken for a syllable."""


@dataclass(frozen=True)
class Text:
    """A text, looked at once; everything is defined on every text, the empty one too."""

    written: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """In lower case, in order."""
        return tuple([word.lower() for word in _WORD.findall(self.written)])

    @cached_property
    def content_words(self) -> frozenset[str]:
        """Distinct words that are not mere grammar."""
        return _content(self.words)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Those that have a word; what is no Unicode (half of a pair of surrogates) is replaced in them."""
        import sentencex

        found = (each for block in _blocks(as_unicode(self.written)) for each in sentencex.segment("en", block))
        return tuple([each for each in found if _WORD.search(each)])

    @cached_property
    def content_by_sentence(self) -> tuple[frozenset[str], ...]:
        """Content words of each sentence."""
        return tuple([_content([word.lower() for word in _WORD.findall(each)]) for each in self.sentences])

    @cached_property
    def syllables(self) -> int:
        """Of all words; one at least of each."""
        return sum([_syllables(word) if len(word) <= LONGEST_HYPHENATED else len(word) // 3 for word in self.words])

    @property
    def is_ended(self) -> bool:
        """Whether it ends as a text ends that was not cut off."""
        return self.written.rstrip().endswith(_ENDS)


@lru_cache(maxsize=16)
def prompt_text(prompt: str) -> Text:
    """The prompt, looked at once for all the answers to it that are scored together."""
    return Text(prompt)


def as_unicode(text: str) -> str:
    """`text` in which half of a pair of surrogates, which nobody can be sent, is a replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def saturating(amount: float, scale: float) -> float:
    """0 for nothing, 0.63 at `scale`, towards 1 from there on."""
    return 1.0 - math.exp(-amount / scale)


def _content(words: tuple[str, ...] | list[str]) -> frozenset[str]:
    return frozenset([word for word in words if len(word) >= CONTENT_WORD or word[0] >= _FIRST_SIGN])


def _blocks(text: str) -> Iterator[str]:
    """`text` in pieces of at most `BLOCK` characters, cut after a sentence or at least between words if that can be."""
    start = 0
    while len(text) - start > BLOCK:
        cuts: dict[int, int] = {}
        for found in _STOP.finditer(text, start, start + BLOCK):
            cuts[_rank(found[0])] = found.end()
        end = cuts[max(cuts)] if cuts else start + BLOCK
        yield text[start:end]
        start = end
    yield text[start:]


def _rank(stop: str) -> int:
    """How good a place for a cut is after `stop`: a line's end, a sentence's, a word's."""
    if stop == "\n":
        return 3
    return 2 if stop.strip() else 1


@lru_cache(maxsize=20_000)
def _syllables(word: str) -> int:
    patterns = _hyphenation()
    count = len(patterns.positions(word)) + 1
    patterns.hd.cache.clear()  # which would keep every word ever met
    return count


@lru_cache(maxsize=1)
def _hyphenation() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US", cache=False)
