"""What the metrics see of a text: its words, sentences and paragraphs, in any language.

Sentences are split by `sentencex` (Wikimedia's, which knows abbreviations of many languages), syllables are counted
by the hyphenation patterns of `pyphen`. A Chinese, Japanese or Korean sign counts as a word.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

_IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|(?:(?![{_IDEOGRAPH}])[^\W_])+(?:['’-](?:(?![{_IDEOGRAPH}])[^\W_])+)*")
_PARAGRAPH = re.compile(r"\n\s*\n")
_ENDS = tuple('.!?…。！？"”’»)]}`|')
LONG_WORD = 7
"""Letters of a word that says something particular more often than not."""
CONTENT_WORD = 4
"""Letters of a word that is seldom only grammar."""


@dataclass(frozen=True)
class Text:
    """A text, looked at once; everything is defined on every text, the empty one too."""

    written: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """In lower case, in order."""
        return tuple(match.group().lower() for match in _WORD.finditer(self.written))

    @cached_property
    def content_words(self) -> frozenset[str]:
        """Distinct words that are not mere grammar."""
        return frozenset(word for word in self.words if len(word) >= CONTENT_WORD or _is_ideograph(word))

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Those that have a word."""
        import sentencex

        language = "zh" if any(map(_is_ideograph, self.words)) else "en"
        return tuple(each for each in sentencex.segment(language, self.written) if _WORD.search(each))

    @cached_property
    def paragraphs(self) -> tuple[str, ...]:
        """Parted by empty lines; those that have a word."""
        return tuple(each for each in _PARAGRAPH.split(self.written) if _WORD.search(each))

    @cached_property
    def syllables(self) -> int:
        """Of all words; one at least of each."""
        return sum(map(_syllables, self.words))

    @property
    def is_ended(self) -> bool:
        """Whether it ends as a text ends that was not cut off."""
        return self.written.rstrip().endswith(_ENDS)


def saturating(amount: float, scale: float) -> float:
    """0 for nothing, 0.63 at `scale`, towards 1 from there on."""
    return 1.0 - math.exp(-amount / scale)


def _is_ideograph(word: str) -> bool:
    return len(word) == 1 and ord(word) >= 0x3040 and _WORD.fullmatch(word) is not None


@lru_cache(maxsize=20_000)
def _syllables(word: str) -> int:
    return len(_hyphenation().positions(word)) + 1


@lru_cache(maxsize=1)
def _hyphenation() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US")
