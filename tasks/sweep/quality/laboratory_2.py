"""The second generation of the prompt laboratory's metrics, `llm-lab-2`, 0 to 1, rounded to two decimals as it did.

Each metric is a sum of weighted parts, every part from 0 to 1; counts for each sentence are held to 1.

- *coherence*: 0.5 below two sentences; else 0.3 transitions a sentence + 0.2 · 0.5 + 0.3 mean Jaccard index of the
  words of neighbouring sentences + 0.2 min(1, standard deviation of words a sentence / 10).
- *completeness*: 0.4 share of the prompt's words in the answer + 0.3 depth (2 to 10 times the prompt's words 1, 1 to 15
  times 0.7, else 0.4) + 0.3 paragraphs (three 0.9, two 0.7, else 0.5). Without a prompt: 0.3 below 20 words, 0.8 above
  100 words and 5 sentences, else 0.6.
- *readability*: 0.3 words a sentence (15–20 1, 10–25 0.8, 5–30 0.6, else 0.4) + 0.2 min(1, 2 · distinct words / words)
  + 0.2 words a paragraph (50–150 1, 30–200 0.8, else 0.6) + 0.3 share of complex words (0.1–0.3 1, 0.05–0.4 0.8, else
  0.6). A complex word has three syllables or more (our reading).
- *length*: words by those expected, 100 + 150 · complexity of the prompt: 0.7–1.3 1, 0.5–1.8 0.7, else 0.4. Without a
  prompt: 0.3 below 20 words, 0.6 above 500, else 0.8. Complexity: 0.3 for more than 20 words, 0.3 for more than one
  question mark, 0.4 for more than three words of eight letters or more; 0.3 at least.
- *creativity*: 0.3 figures of speech a sentence + 0.25 distinct words / words + 0.25 share of words above five letters
  + 0.2 marks of narration a sentence.
- *specificity*: 0.3 numbers a sentence + 0.4 min(1, 2 · share of words above six letters) + 0.3 examples a sentence.
- *overall*: 0.25 coherence + 0.25 completeness + 0.2 readability + 0.1 of each other.

Where the laboratory divided by no sentence or no word, the metric is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from statistics import fmean, pstdev

from tasks.sweep.quality.laboratory_texts import (
    EXAMPLES,
    FIGURES_OF_SPEECH,
    NARRATION,
    NUMBER,
    TRANSITIONS_2,
    LaboratoryText,
    band,
    laboratory_prompt,
    syllables,
)

WEIGHTS: Mapping[str, float] = {
    "coherence": 0.25, "completeness": 0.25, "readability": 0.2, "length_appropriateness": 0.1, "creativity": 0.1,
    "specificity": 0.1,
}  # fmt: skip
DECIMALS = 2
COMPLEX_SYLLABLES = 3


def measure(prompt: str, answer: str) -> Mapping[str, float]:
    """The six metrics, not rounded."""
    asked, said = laboratory_prompt(prompt), LaboratoryText(answer)
    measurable = bool(said.sentences and said.words)
    return {
        "coherence": _coherence(said),
        "completeness": _completeness(asked, said),
        "readability": _readability(said) if measurable else 0.0,
        "length_appropriateness": _length(asked, said),
        "creativity": _creativity(said) if measurable else 0.0,
        "specificity": _specificity(said) if measurable else 0.0,
    }


def _coherence(answer: LaboratoryText) -> float:
    count = len(answer.sentences)
    if count < 2:
        return 0.5
    sets = [frozenset(words) for words in answer.words_by_sentence]
    alike = fmean([len(one & next_) / max(1, len(one | next_)) for one, next_ in pairwise(sets)])
    spread = pstdev([len(words) for words in answer.words_by_sentence])
    return 0.3 * min(1, answer.count(TRANSITIONS_2) / count) + 0.2 * 0.5 + 0.3 * alike + 0.2 * min(1, spread / 10)


def _completeness(prompt: LaboratoryText, answer: LaboratoryText) -> float:
    words = len(answer.words)
    if not prompt.words:
        return 0.3 if words < 20 else 0.8 if words > 100 and len(answer.sentences) > 5 else 0.6
    coverage = len(prompt.kinds & answer.kinds) / len(prompt.kinds)
    depth = band(words / len(prompt.words), (2, 10, 1.0), (1, 15, 0.7), otherwise=0.4)
    paragraphs = 0.9 if answer.paragraphs >= 3 else 0.7 if answer.paragraphs == 2 else 0.5
    return 0.4 * coverage + 0.3 * depth + 0.3 * paragraphs


def _readability(answer: LaboratoryText) -> float:
    words = len(answer.words)
    sentence = band(words / len(answer.sentences), (15, 20, 1.0), (10, 25, 0.8), (5, 30, 0.6), otherwise=0.4)
    paragraph = band(words / answer.paragraphs, (50, 150, 1.0), (30, 200, 0.8), otherwise=0.6)
    complex_ = sum(syllables(word) >= COMPLEX_SYLLABLES for word in answer.words) / words
    hard = band(complex_, (0.1, 0.3, 1.0), (0.05, 0.4, 0.8), otherwise=0.6)
    return 0.3 * sentence + 0.2 * min(1, 2 * len(answer.kinds) / words) + 0.2 * paragraph + 0.3 * hard


def _length(prompt: LaboratoryText, answer: LaboratoryText) -> float:
    words = len(answer.words)
    if not prompt.words:
        return 0.3 if words < 20 else 0.6 if words > 500 else 0.8
    return band(words / (100 + 150 * complexity(prompt)), (0.7, 1.3, 1.0), (0.5, 1.8, 0.7), otherwise=0.4)


def complexity(prompt: LaboratoryText) -> float:
    """How much the prompt asks for, 0.3 to 1."""
    long = sum(len(word) >= 8 for word in prompt.words)
    said = 0.3 * (len(prompt.words) > 20) + 0.3 * (prompt.written.count("?") > 1) + 0.4 * (long > 3)
    return min(1.0, max(0.3, said))


def _creativity(answer: LaboratoryText) -> float:
    sentences, words = len(answer.sentences), len(answer.words)
    return (
        0.3 * min(1, answer.count(FIGURES_OF_SPEECH) / sentences)
        + 0.25 * len(answer.kinds) / words
        + 0.25 * answer.share(6)
        + 0.2 * min(1, answer.count(NARRATION) / sentences)
    )


def _specificity(answer: LaboratoryText) -> float:
    sentences = len(answer.sentences)
    return (
        0.3 * min(1, answer.count(NUMBER) / sentences)
        + 0.4 * min(1, 2 * answer.share(7))
        + 0.3 * min(1, answer.count(EXAMPLES) / sentences)
    )
