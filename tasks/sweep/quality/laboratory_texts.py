"""What the prompt laboratory's metrics saw of a text, and the words they looked for.

Sentences are what stands between runs of `.`, `!` and `?`, words are runs of letters and figures, syllables are groups
of vowels, one at least. The laboratory's lists of words are not handed down: these are lists of our own, so that scores
of the metrics that use them come near the old ones and are not the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

_SENTENCE_END = re.compile(r"[.!?]+")
_PARAGRAPH = re.compile(r"\n\s*\n")
_WORD = re.compile(r"\w+")
_VOWELS = re.compile(r"[aeiouy]+")
EASE_WITHOUT_WORDS = 206.835


@dataclass(frozen=True)
class LaboratoryText:
    """A text, looked at once."""

    written: str

    @cached_property
    def lowered(self) -> str:
        """The text in lower case."""
        return self.written.lower()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """In lower case, in order."""
        return tuple(_WORD.findall(self.lowered))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Distinct words."""
        return frozenset(self.words)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Without white space around; those that are more than that."""
        return tuple([each.strip() for each in _SENTENCE_END.split(self.written) if each.strip()])

    @cached_property
    def words_by_sentence(self) -> tuple[tuple[str, ...], ...]:
        """Words of each sentence."""
        return tuple([tuple(_WORD.findall(each.lower())) for each in self.sentences])

    @cached_property
    def paragraphs(self) -> int:
        """How many, parted by empty lines."""
        return sum(bool(each.strip()) for each in _PARAGRAPH.split(self.written))

    @property
    def ease(self) -> float:
        """Flesch's reading ease; words and sentences must be there."""
        words = len(self.words)
        return EASE_WITHOUT_WORDS - 1.015 * words / len(self.sentences) - 84.6 * self.syllables / words

    @cached_property
    def syllables(self) -> int:
        """Of all words."""
        return sum([syllables(word) for word in self.words])

    def count(self, phrases: re.Pattern[str]) -> int:
        """How often one of `phrases` occurs."""
        return sum(1 for _ in phrases.finditer(self.lowered))

    def share(self, letters: int) -> float:
        """Share of the words with at least so many letters; words must be there."""
        return sum(len(word) >= letters for word in self.words) / len(self.words)


def syllables(word: str) -> int:
    """Groups of vowels, one at least."""
    return max(1, len(_VOWELS.findall(word)))


@lru_cache(maxsize=16)
def laboratory_prompt(prompt: str) -> LaboratoryText:
    """The prompt, looked at once for all the answers to it that are scored together."""
    return LaboratoryText(prompt)


def band(value: float, *bands: tuple[float, float, float], otherwise: float) -> float:
    """The score of the first of `bands` (from, to, score) that holds `value`, both ends in it."""
    return next((score for least, most, score in bands if least <= value <= most), otherwise)


def phrases(said: Iterable[str]) -> re.Pattern[str]:
    """Finds any of the comma-separated words and phrases, whole."""
    listed = sorted((each.strip() for line in said for each in line.split(",") if each.strip()), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, listed))})\b")


TRANSITIONS_2 = phrases([
    "however, therefore, moreover, furthermore, additionally, consequently, meanwhile, nevertheless, thus, hence",
    "first, second, finally, in addition, for example, as a result",
])  # fmt: skip
TRANSITIONS_3 = phrases([
    "however, therefore, moreover, furthermore, additionally, consequently, meanwhile, nevertheless, thus, hence",
    "first, second, third, finally, in addition, for example, as a result, in contrast, on the other hand",
])  # fmt: skip
CONCLUSIONS = phrases(["in conclusion, to conclude, in summary, to summarize, to sum up, overall, in short, finally"])
ENUMERATIONS = re.compile(r"(?:^|\n)\s*(?:\d+[.)]|[-*•])\s|\b(?:first|firstly|second|secondly|third|thirdly)\b")
FIGURES_OF_SPEECH = phrases(["like a, like an, as if, as though, imagine, metaphor, resembles, akin to"])
NARRATION = phrases(["once, suddenly, then, story, imagine, journey, meanwhile, eventually, one day, long ago"])
EXAMPLES = phrases(["for example, for instance, such as, e.g, including, namely, to illustrate, in particular"])
CREATIVE_PATTERNS = (
    phrases(["like a, like an, as if, as though, akin to"]),
    phrases(["imagine, picture this, what if, suppose, envision"]),
    phrases(["unlike, in contrast, paradoxically, ironically, surprisingly"]),
)
CLICHES = phrases([
    "at the end of the day, think outside the box, needless to say, last but not least, in this day and age",
    "when all is said and done, the fact of the matter, only time will tell, a game changer, in today's world",
])  # fmt: skip
VAGUE = phrases(["thing, things, stuff, something, somehow, various, several, many, some, very, really, quite, maybe"])
CONCRETE = re.compile(r"\d|%|\$|€|£")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
