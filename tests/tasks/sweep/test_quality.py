"""Quality metrics: by hand where that can be done, and defined on everything."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInput
from tasks.sweep.quality.metrics import METRICS, coherence, length_appropriateness, readability, specificity
from tasks.sweep.quality.scoring import score
from tasks.sweep.quality.texts import Text

NAUGHTY = Path(__file__).parents[3] / "../shared/data/weird"
NOTHING = Text("")


def test_words_of_any_script_are_counted() -> None:
    assert Text("It's 3.5 m — naïve, isn't it?").words == ("it's", "3", "5", "m", "naïve", "isn't", "it")
    assert Text("水位 high").words == ("水", "位", "high")


def test_sentences_are_not_ended_by_abbreviations() -> None:
    assert len(Text("Dr. Lee left at 5 p.m. today. She was tired.").sentences) == 2
    assert len(Text("水位很高。闸门关了。").sentences) == 2


def test_coherence_falls_by_what_is_repeated_and_by_sentences_without_a_common_word() -> None:
    linked, unlinked = (
        Text("The lock lifts boats. A lock is a chamber."),
        Text("The lock lifts boats. Rain fell on hills."),
    )
    assert (coherence(NOTHING, linked), coherence(NOTHING, unlinked)) == (1.0, pytest.approx(0.6))
    looped = Text("the lock lifts boats " * 10)
    trigrams, distinct = 38, 4
    assert coherence(NOTHING, looped) == pytest.approx(distinct / trigrams)


def test_readability_is_fleschs_ease() -> None:
    text = Text("The cat sat on the mat.")  # 6 words, 1 sentence, 6 syllables
    assert readability(NOTHING, text) == min(1.0, (206.835 - 1.015 * 6 - 84.6) / 100)


def test_length_is_right_from_thirty_to_four_hundred_words() -> None:
    def of(count: int) -> float:
        return length_appropriateness(NOTHING, Text("word " * count))

    assert (of(30), of(400), of(1)) == (1.0, 1.0, 0.0)
    assert of(4000) == pytest.approx(0.0)
    assert of(10) == pytest.approx(1 - math.log(3) / math.log(30))


def test_specificity_counts_long_words_and_figures_once() -> None:
    assert specificity(NOTHING, Text("turbine turbine 42 is on")) == pytest.approx(1 - math.exp(-2 / 15))


def test_overall_is_the_weighted_mean() -> None:
    scores = score("Explain locks.", "A lock lifts boats between two levels of water.", {"readability": 3.0}).values
    weights = {name: 3.0 if name == "readability" else 1.0 for name in METRICS}
    assert scores["overall"] == pytest.approx(sum(weights[name] * scores[name] for name in METRICS) / 8)


@pytest.mark.parametrize("weights", [{"charm": 1.0}, {"coherence": -1.0}, dict.fromkeys(METRICS, 0.0)])
def test_weights_that_cannot_weigh_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="weights"):
        score("p", "a", weights)


@given(st.text(), st.text())
def test_every_text_has_every_score_between_nought_and_one(prompt: str, answer: str) -> None:
    values = score(prompt, answer).values
    assert set(values) == {*METRICS, "overall"}
    assert all(0.0 <= value <= 1.0 for value in values.values())


@pytest.mark.parametrize(
    "answer", ["", "word", "no end", "水位很高", "for i in range(3):\n    print(i)\n", "w " * 50_000]
)
def test_strange_answers_are_scored_twice_alike(answer: str) -> None:
    assert score("p", answer) == score("p", answer)


def test_naughty_strings_are_scored() -> None:
    path = next(iter(sorted(NAUGHTY.glob("**/*naughty*.json"))), None) or next(
        iter(sorted(NAUGHTY.glob("**/blns*"))), None
    )
    if path is None:
        pytest.skip("needs ../shared/data/weird with the list of naughty strings")
    strings = json.loads(path.read_text()) if path.suffix == ".json" else path.read_text().splitlines()
    assert len(strings) > 400
    for string in strings:
        assert all(0.0 <= value <= 1.0 for value in score("p", str(string)).values.values())
