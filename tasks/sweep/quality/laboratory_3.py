"""The third generation of the prompt laboratory's metrics, `llm-lab-3`, 0 to 1.

Each metric is a sum of weighted parts, every part held to 0 to 1. Where the formula is handed down in words only, our
reading of it is marked (r).

- *coherence*: 0 without a sentence, 0.8 for one; else 0.3 max(0, 1 − variance / mean²) of the sentences' characters
  + 0.2 min(1, transitions / (0.3 · sentences)) + 0.2 min(1, 1.5 · distinct words / words) + 0.3 structure: 0.5, 0.3
  more for a conclusion, 0.2 more for an enumeration.
- *completeness*: 0.4 share of the prompt's keywords that the answer holds, be it within a word (0.7 without keywords)
  + 0.3 min(1, characters / (50 · complexity)) + 0.3 question: 1, but 0.6 where the prompt asks one and the answer holds
  no keyword of it (r). Keywords have four letters or more (r).
- *readability*: 0.5 Flesch's reading ease / 100 + 0.2 max(0, 1 − |v − m/2| / (m/2)), m the mean and v the variance of
  words a sentence (r) + 0.2 share of words of at most six letters + 0.1 punctuation: a mark for every ten words (r).
- *length*: characters by those expected (100, 200, 400 at a complexity of at most 1, at most 2, above): 0.5–2 1; 0.3–3
  1 − d/2; else max(0, 0.5 − d/5), d the distance from 1; this 0.8 + 0.2 words a sentence as `llm-lab-2` rates them (r).
- *creativity*: 0.25 distinct words / words + 0.2 share of words above seven letters + 0.25 patterns found / 3 + 0.15
  distinct first words / sentences + 0.15 (1 − 0.2 · clichés).
- *specificity*: 0.3 (1 − vague words / words) + 0.3 share of words above six letters (r) + 0.2 sentences with a figure,
  per cent or currency sign / sentences (r) + 0.2 examples / 3.

Complexity of the prompt: 1, and 0.5 each for more than one question mark, more than two sentences, 50 words and 100
words; 3 at most. It had no *overall*: ours weighs its metrics as `llm-lab-2` did. Where the laboratory divided by no
sentence or no word, the metric is 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import fmean, pvariance

from tasks.sweep.quality.laboratory_texts import (
    CLICHES,
    CONCLUSIONS,
    CONCRETE,
    CREATIVE_PATTERNS,
    ENUMERATIONS,
    EXAMPLES,
    TRANSITIONS_3,
    VAGUE,
    LaboratoryText,
    band,
    laboratory_prompt,
)

KEYWORD_LETTERS = 4
_MARK = re.compile(r"[.,;:!?()]")


def measure(prompt: str, answer: str) -> Mapping[str, float]:
    """The six metrics."""
    asked, said = laboratory_prompt(prompt), LaboratoryText(answer)
    measurable = bool(said.sentences and said.words)
    return {
        "coherence": _coherence(said),
        "completeness": _completeness(asked, said),
        "readability": _readability(said) if measurable else 0.0,
        "length_appropriateness": _length(asked, said) if measurable else 0.0,
        "creativity": _creativity(said) if measurable else 0.0,
        "specificity": _specificity(said) if measurable else 0.0,
    }


def _coherence(answer: LaboratoryText) -> float:
    count, words = len(answer.sentences), len(answer.words)
    if count < 2 or not words:
        return 0.8 * (count == 1)
    lengths = [len(sentence) for sentence in answer.sentences]
    even = max(0.0, 1 - pvariance(lengths) / fmean(lengths) ** 2)
    structure = 0.5 + 0.3 * (answer.count(CONCLUSIONS) > 0) + 0.2 * (answer.count(ENUMERATIONS) > 0)
    return (
        0.3 * even
        + 0.2 * min(1, answer.count(TRANSITIONS_3) / (0.3 * count))
        + 0.2 * min(1, 1.5 * len(answer.kinds) / words)
        + 0.3 * structure
    )


def _completeness(prompt: LaboratoryText, answer: LaboratoryText) -> float:
    keywords = [word for word in prompt.kinds if len(word) >= KEYWORD_LETTERS]
    whole = "\n".join(answer.kinds)
    held = sum(word in answer.kinds or word in whole for word in keywords)
    coverage = held / len(keywords) if keywords else 0.7
    question = 0.6 if "?" in prompt.written and keywords and not held else 1.0
    return 0.4 * coverage + 0.3 * min(1, len(answer.written) / (50 * complexity(prompt))) + 0.3 * question


def _readability(answer: LaboratoryText) -> float:
    words = len(answer.words)
    counts = [len(each) for each in answer.words_by_sentence]
    wanted = 0.5 * fmean(counts)
    closeness = max(0.0, 1 - abs(pvariance(counts) - wanted) / wanted)
    marks = answer.count(_MARK)
    return (
        0.5 * min(100.0, max(0.0, answer.ease)) / 100
        + 0.2 * closeness
        + 0.2 * (1 - answer.share(7))
        + 0.1 * min(1, marks / (words / 10))
    )


def _length(prompt: LaboratoryText, answer: LaboratoryText) -> float:
    asks = complexity(prompt)
    ratio = len(answer.written) / (100 if asks <= 1 else 200 if asks <= 2 else 400)
    distance = abs(ratio - 1)
    beyond = 1 - 0.5 * distance if 0.3 <= ratio <= 3 else max(0.0, 0.5 - 0.2 * distance)
    fitting = 1.0 if 0.5 <= ratio <= 2 else beyond
    a_sentence = len(answer.words) / len(answer.sentences)
    return 0.8 * fitting + 0.2 * band(a_sentence, (15, 20, 1.0), (10, 25, 0.8), (5, 30, 0.6), otherwise=0.4)


def complexity(prompt: LaboratoryText) -> float:
    """How much the prompt asks for, 1 to 3."""
    words = len(prompt.words)
    signs = (prompt.written.count("?") > 1, len(prompt.sentences) > 2, words > 50, words > 100)
    return min(3.0, 1 + 0.5 * sum(signs))


def _creativity(answer: LaboratoryText) -> float:
    words = len(answer.words)
    starters = {each[0] for each in answer.words_by_sentence if each}
    return (
        0.25 * len(answer.kinds) / words
        + 0.2 * answer.share(8)
        + 0.25 * min(1, sum(map(answer.count, CREATIVE_PATTERNS)) / 3)
        + 0.15 * len(starters) / len(answer.sentences)
        + 0.15 * max(0.0, 1 - 0.2 * answer.count(CLICHES))
    )


def _specificity(answer: LaboratoryText) -> float:
    words = len(answer.words)
    concrete = sum(CONCRETE.search(each) is not None for each in answer.sentences) / len(answer.sentences)
    return (
        0.3 * (1 - answer.count(VAGUE) / words)
        + 0.3 * answer.share(7)
        + 0.2 * concrete
        + 0.2 * min(1, answer.count(EXAMPLES) / 3)
    )
