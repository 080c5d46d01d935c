"""Six metrics of an answer, each from 0 to 1, computed from the texts alone: no model, no network, no chance.

They are defined on every input; a text without a word has 0 in all of them.

- *coherence* `(1 − r)·(0.6 + 0.4·l)`: `r` is the share of word trigrams that stood there before (degenerate sampling
  repeats itself), `l` the share of neighbouring sentences with a content word in common (lexical cohesion, Halliday and
  Hasan 1976).
- *completeness* `0.7·s(n, 40) + 0.3·e`: `n` are distinct content words that the prompt does not have, `s(n, k)` is
  `1 − exp(−n/k)`, `e` is 1 where the last sentence ends.
- *readability*: Flesch's reading ease (1948), `206.835 − 1.015·words/sentences − 84.6·syllables/words`, held to 0–100.
- *length*: 1 from 30 to 400 words, less by the logarithm of the distance outside.
- *creativity* `t·(0.5 + 0.5·s(n, 40))`: `t` is the moving-average type-token ratio over 50 words (Covington and McFall
  2010), of a shorter text times the root of its share of 50 words.
- *specificity* `s(d, 15)`: `d` are distinct words of seven letters or more, or with a digit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise

from tasks.sweep.quality.texts import LONG_WORD, Text, prompt_text, saturating

NEW_WORDS = 40
DETAILS = 15
FEWEST_WORDS, MOST_WORDS = 30, 400
WINDOW = 50
_FIGURE = re.compile(r"\d")

Metric = Callable[[Text, Text], float]
"""Score of an answer to a prompt: `metric(prompt, answer)`."""


def coherence(_: Text, answer: Text) -> float:
    """See the module."""
    return (1 - _repeated(answer)) * (0.6 + 0.4 * _linked(answer))


def completeness(prompt: Text, answer: Text) -> float:
    """See the module."""
    return 0.7 * saturating(_news(prompt, answer), NEW_WORDS) + 0.3 * answer.is_ended


def readability(_: Text, answer: Text) -> float:
    """See the module."""
    words = len(answer.words)
    ease = 206.835 - 1.015 * words / max(1, len(answer.sentences)) - 84.6 * answer.syllables / words
    return min(1.0, max(0.0, ease / 100))


def length_appropriateness(_: Text, answer: Text) -> float:
    """See the module."""
    words = len(answer.words)
    if words < FEWEST_WORDS:
        return 1 - math.log(FEWEST_WORDS / words) / math.log(FEWEST_WORDS)
    return max(0.0, 1 - math.log10(max(1.0, words / MOST_WORDS)))


def creativity(prompt: Text, answer: Text) -> float:
    """See the module."""
    return _variety(answer) * (0.5 + 0.5 * saturating(_news(prompt, answer), NEW_WORDS))


def specificity(_: Text, answer: Text) -> float:
    """See the module."""
    details = [word for word in set(answer.words) if len(word) >= LONG_WORD or _FIGURE.search(word)]
    return saturating(len(details), DETAILS)


METRICS: Mapping[str, Metric] = {
    "coherence": coherence,
    "completeness": completeness,
    "readability": readability,
    "length_appropriateness": length_appropriateness,
    "creativity": creativity,
    "specificity": specificity,
}


def measure(prompt: str, answer: Text) -> Mapping[str, float]:
    """All metrics of `answer`; 0 where it has no word."""
    asked = prompt_text(prompt)
    return {name: metric(asked, answer) if answer.words else 0.0 for name, metric in METRICS.items()}


def _news(prompt: Text, answer: Text) -> int:
    return len(answer.content_words - prompt.content_words)


def _repeated(answer: Text) -> float:
    words = answer.words
    distinct = set(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(distinct) / (len(words) - 2) if distinct else 0.0


def _linked(answer: Text) -> float:
    pairs = list(pairwise(answer.content_by_sentence))
    return sum([not one.isdisjoint(next_) for one, next_ in pairs]) / len(pairs) if pairs else 1.0


def _variety(answer: Text) -> float:
    words = answer.words
    count = len(words)
    if count <= WINDOW:
        return len(set(words)) / count * math.sqrt(count / WINDOW)
    kinds, last = 0, count - WINDOW
    before: dict[str, int] = {}
    for place, word in enumerate(words):  # counted in every window in which it stands for the first time
        first = before.get(word, -1)
        if first < place - WINDOW:
            first = place - WINDOW
        until = place if place < last else last
        if until > first:
            kinds += until - first
        before[word] = place
    return kinds / (last + 1) / WINDOW
