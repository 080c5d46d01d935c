"""Quality metrics: by hand where that can be done, and defined on everything."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadInput
from tasks.sweep.quality.metrics import (
    METRICS,
    coherence,
    completeness,
    creativity,
    length_appropriateness,
    readability,
    specificity,
)
from tasks.sweep.quality.scoring import GENERATIONS, VERSION, score_response
from tasks.sweep.quality.texts import BLOCK, Text

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
    assert [coherence(NOTHING, linked), coherence(NOTHING, unlinked)] == pytest.approx([1.0, 0.6])
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


def test_completeness_counts_words_that_the_prompt_does_not_have_and_the_end() -> None:
    prompt, answer = Text("Explain locks"), "locks raise heavy boats"  # raise, heavy, boats are new
    assert completeness(prompt, Text(answer)) == pytest.approx(0.7 * (1 - math.exp(-3 / 40)))
    assert completeness(prompt, Text(f"{answer}.")) == pytest.approx(0.7 * (1 - math.exp(-3 / 40)) + 0.3)


def test_creativity_is_the_mean_variety_of_windows_of_fifty_words() -> None:
    same = Text("word " * 60)
    assert creativity(NOTHING, same) == pytest.approx(1 / 50 * (0.5 + 0.5 * (1 - math.exp(-1 / 40))))
    short = Text("a b a b")  # two of four words, of a text of 4 in 50 words
    assert creativity(NOTHING, short) == pytest.approx(2 / 4 * math.sqrt(4 / 50) * 0.5)


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=51, max_size=150))
def test_the_variety_counted_in_one_pass_is_that_of_each_window(words: list[str]) -> None:
    windows = [words[start : start + 50] for start in range(len(words) - 49)]
    mean = sum(len(set(window)) / 50 for window in windows) / len(windows)
    assert creativity(NOTHING, Text(" ".join(words))) == pytest.approx(mean * 0.5)  # no word of four letters is new


def test_overall_is_the_weighted_mean() -> None:
    prompt, answer = "Explain locks.", "A lock lifts boats between two levels of water."
    scores = score_response(prompt, answer, weights={"readability": 3.0}).values
    weights = {name: 3.0 if name == "readability" else 1.0 for name in METRICS}
    assert scores["overall"] == pytest.approx(sum(weights[name] * scores[name] for name in METRICS) / 8)


@pytest.mark.parametrize(
    "weights",
    [
        {"charm": 1.0},
        {"coherence": -1.0},
        dict.fromkeys(METRICS, 0.0),
        {"coherence": math.nan},
        {"coherence": math.inf},
    ],
)
def test_weights_that_cannot_weigh_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="weights"):
        score_response("p", "a", weights=weights)


def test_words_and_sentences_are_counted_whatever_the_version() -> None:
    for version in GENERATIONS:
        scores = score_response("p", "Dr. Lee left. She was tired.", version=version)
        assert (scores.version, scores.words, scores.sentences) == (version, 6, 2)


def test_a_version_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadInput, match=f"no llm-lab-9; there are {VERSION}, llm-lab-2, llm-lab-3"):
        score_response("p", "a", version="llm-lab-9")


SURROGATES = st.text(st.characters(categories=["Cs", "Cc", "Lu", "Lo", "Nd", "Po", "Zs"]), max_size=60)


@pytest.mark.parametrize("version", GENERATIONS)
@given(prompt=st.text() | SURROGATES, answer=st.text() | SURROGATES)
def test_every_text_has_every_score_between_nought_and_one(version: str, prompt: str, answer: str) -> None:
    scores = score_response(prompt, answer, version=version)
    assert set(scores.values) == {*METRICS, "overall"}
    assert all(0.0 <= value <= 1.0 for value in scores.values.values())
    assert scores == score_response(prompt, answer, version=version)


STRANGE = {
    "nothing": "",
    "one word": "word",
    "no end": "no end",
    "Chinese": "水位很高。闸门关了",
    "Arabic": "ارتفع منسوب المياه.",
    "code": "for i in range(3):\n    print(i)\n",
    "surrogates": "a \ud800 lock. \udfff",
    "NUL": "a\0b",
    "marks alone": "?!… ---",
    "100 kB of words": "w " * 50_000,
    "100 kB in one word": "w" * 100_000,
    "100 kB of Chinese": "水位很高。" * 20_000,
    "100 kB of quotes": '"A b. C d." ' * 9_000,
}


@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
def test_strange_answers_are_scored(version: str, answer: str) -> None:
    for prompt in ("", "Explain locks."):
        values = score_response(prompt, answer, version=version).values
        assert len(values) == 7
        assert all(0.0 <= value <= 1.0 for value in values.values())


def test_a_text_without_a_word_scores_nothing() -> None:
    assert set(score_response("p", "?!…").values.values()) == {0.0}


def test_long_texts_are_split_into_sentences_as_short_ones() -> None:
    sentence = "The lock lifts boats between two levels of water. "
    count = 3 * BLOCK // len(sentence)
    assert Text(sentence * count).sentences == (sentence,) * count
    assert len(Text("水位很高。" * BLOCK).sentences) == BLOCK
    lines = "- a line of a list without any stop\n"
    assert len(Text(lines * BLOCK).sentences) == BLOCK
    assert Text("word " * BLOCK).content_by_sentence == (frozenset({"word"}),) * 5  # 5 pieces of 2,000 characters


@pytest.mark.parametrize("version", GENERATIONS)
def test_naughty_strings_are_scored(version: str) -> None:
    path = next(iter(sorted(NAUGHTY.glob("**/*naughty*.json"))), None) or next(
        iter(sorted(NAUGHTY.glob("**/blns*"))), None
    )
    if path is None:
        pytest.skip("needs ../shared/data/weird with the list of naughty strings")
    strings = json.loads(path.read_text()) if path.suffix == ".json" else path.read_text().splitlines()
    assert len(strings) > 400
    for string in strings:
        assert all(0.0 <= value <= 1.0 for value in score_response("p", str(string), version=version).values.values())
