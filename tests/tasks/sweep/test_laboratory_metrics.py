"""The prompt laboratory's own formulas, worked out by hand."""

from __future__ import annotations

import pytest

from tasks.sweep.quality import laboratory_2, laboratory_3
from tasks.sweep.quality.laboratory_texts import LaboratoryText, phrases, syllables
from tasks.sweep.quality.scoring import score_response

PROMPT = "Why do locks lift boats?"
ANSWER = "Locks lift boats by filling. However, locks need 3 gates."
"""Two sentences of 5 words and 27 characters; 9 distinct words, 14 syllables; `filling` and `however` are long."""


def test_the_second_generation_by_hand() -> None:
    assert laboratory_2.measure(PROMPT, ANSWER) == pytest.approx({
        "coherence": 0.3 * 1 / 2 + 0.2 * 0.5 + 0.3 * 1 / 9 + 0.2 * 0,
        "completeness": 0.4 * 3 / 5 + 0.3 * 1.0 + 0.3 * 0.5,
        "readability": 0.3 * 0.6 + 0.2 * 1 + 0.2 * 0.6 + 0.3 * 1.0,
        "length_appropriateness": 0.4,
        "creativity": 0.3 * 0 + 0.25 * 9 / 10 + 0.25 * 2 / 10 + 0.2 * 0,
        "specificity": 0.3 * 1 / 2 + 0.4 * 2 * 2 / 10 + 0.3 * 0,
    })  # fmt: skip


def test_the_second_generation_is_rounded_to_two_decimals() -> None:
    values = score_response(PROMPT, ANSWER, version="llm-lab-2").values
    assert (values["coherence"], values["completeness"], values["specificity"]) == (0.28, 0.69, 0.31)
    parts = 0.25 * 0.28333 + 0.25 * 0.69 + 0.2 * 0.80 + 0.1 * (0.4 + 0.275 + 0.31)
    assert values["overall"] == round(parts, 2)


def test_the_second_generation_without_a_prompt_goes_by_length() -> None:
    def of(count: int, sentences: int = 1) -> tuple[float, float]:
        values = laboratory_2.measure("", "word " * (count - sentences + 1) + ". word" * (sentences - 1) + ".")
        return values["completeness"], values["length_appropriateness"]

    assert [of(19), of(20), of(101), of(101, 6), of(501)] == [
        (0.3, 0.3),
        (0.6, 0.8),
        (0.6, 0.8),
        (0.8, 0.8),
        (0.6, 0.6),
    ]


def test_the_complexity_of_a_prompt_in_the_second_generation_is_between_three_tenths_and_one() -> None:
    long = "elaborate considerable dimensions thoroughly"
    cases = {"Hi": 0.3, "What? Why?": 0.3, long: 0.4, f"{long}? Why?": 0.7, f"{long}? Why? {'so ' * 20}": 1.0}
    assert {prompt: laboratory_2.complexity(LaboratoryText(prompt)) for prompt in cases} == pytest.approx(cases)


def test_the_third_generation_by_hand() -> None:
    assert laboratory_3.measure(PROMPT, ANSWER) == pytest.approx({
        "coherence": 0.3 * 1 + 0.2 * 1 + 0.2 * 1 + 0.3 * 0.5,
        "completeness": 0.4 * 1 + 0.3 * 1 + 0.3 * 1,
        "readability": 0.5 * (206.835 - 1.015 * 5 - 84.6 * 1.4) / 100 + 0.2 * 0 + 0.2 * 8 / 10 + 0.1 * 1,
        "length_appropriateness": 0.8 * 1 + 0.2 * 0.6,
        "creativity": 0.25 * 9 / 10 + 0.2 * 0 + 0.25 * 0 + 0.15 * 1 + 0.15 * 1,
        "specificity": 0.3 * 1 + 0.3 * 2 / 10 + 0.2 * 1 / 2 + 0.2 * 0,
    })  # fmt: skip


def test_the_third_generation_knows_one_sentence_none_and_a_question_not_answered() -> None:
    assert laboratory_3.measure("p", "A lock")["coherence"] == 0.8
    assert laboratory_3.measure("p", "...")["coherence"] == 0.0
    unanswered = laboratory_3.measure(PROMPT, "x" * 50)["completeness"]
    assert unanswered == pytest.approx(0.3 * 1 + 0.3 * 0.6)
    assert laboratory_3.measure("Go on!", "x" * 50)["completeness"] == pytest.approx(0.4 * 0.7 + 0.3 + 0.3)


@pytest.mark.parametrize(
    ("characters", "fitting"),
    [(50, 1.0), (200, 1.0), (40, 1 - 0.5 * 0.6), (250, 1 - 0.5 * 1.5), (20, 0.5 - 0.2 * 0.8), (900, 0.0)],
)
def test_the_third_generation_rates_characters_by_those_expected(characters: int, fitting: float) -> None:
    score = laboratory_3.measure("p", "x" * characters)["length_appropriateness"]
    assert score == pytest.approx(0.8 * fitting + 0.2 * 0.4)  # a sentence of one word is out of all bands


def test_the_complexity_of_a_prompt_in_the_third_generation_is_between_one_and_three() -> None:
    cases = {"Hi": 1.0, "What? Why?": 1.5, "What? Why? Now.": 2.0, f"What? Why? Now. {'so ' * 101}": 3.0}
    assert {prompt: laboratory_3.complexity(LaboratoryText(prompt)) for prompt in cases} == cases


def test_what_was_divided_by_nothing_is_nothing() -> None:
    second, third = laboratory_2.measure(PROMPT, ""), laboratory_3.measure(PROMPT, "")
    assert (second["readability"], second["creativity"], second["specificity"]) == (0.0, 0.0, 0.0)
    assert second["coherence"] == 0.5  # as it had it for fewer than two sentences
    assert {third[name] for name in third if name != "completeness"} == {0.0}


def test_phrases_are_found_whole_and_the_longer_ones_first() -> None:
    found = phrases(["in addition, in", "for example"]).findall("in addition to it, within, for examples")
    assert found == ["in addition"]


def test_syllables_are_groups_of_vowels() -> None:
    assert [syllables(word) for word in ("boats", "however", "gates", "3", "rhythm")] == [1, 3, 2, 1, 1]
