from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bills import Section, SectionPart
from tasks.analysis.grouping import estimate_tokens, group_sections
from tasks.analysis.sections import split_sections
from tests.tasks.analysis.real_bills import EXAMPLES, each_bill, text_of


def assert_covered_once(text: str, groups: list[list[SectionPart]], budget: int) -> None:
    parts = [part for group in groups for part in group]
    assert "".join(part.span.of(text) for part in parts) == text
    assert [part.section for part in parts] == sorted(part.section for part in parts)
    assert all(group for group in groups)
    for group in groups:
        assert sum(part.tokens for part in group) <= budget or len(group) == 1


@each_bill
def test_every_character_of_a_real_bill_is_in_one_part(name: str) -> None:
    text = text_of(name)
    groups = group_sections(text, split_sections(text), 1_500)
    assert_covered_once(text, groups, 1_500)
    assert max(sum(part.tokens for part in group) for group in groups) <= 1_500
    assert max(estimate_tokens("".join(part.span.of(text) for part in group)) for group in groups) <= 1_500


def test_sections_that_fit_together_go_together() -> None:
    text = (EXAMPLES / "housing-bill.txt").read_text(encoding="utf-8")
    sections = split_sections(text)
    (group,) = group_sections(text, sections, 4_000)
    assert [part.section for part in group] == [section.ordinal for section in sections]
    assert all((part.part, part.parts) == (1, 1) for part in group)


def words(text: str) -> int:
    return len(text.split())


def test_groups_are_filled_in_order_by_the_callers_counter() -> None:
    text = "§ 1. A b c d.\n§ 2. A b c d.\n§ 3. A b c d e f g h i j.\n"
    groups = group_sections(text, split_sections(text), 12, words)
    assert [[(part.section, part.tokens) for part in group] for group in groups] == [[(0, 6), (1, 6)], [(2, 12)]]


def test_a_long_section_is_split_between_sentences() -> None:
    sentence = "The owner of a dwelling shall pay the fee.\n"
    text = f"§ 1. Fees are due now and then in the year.\n{sentence * 10}"
    groups = group_sections(text, split_sections(text), 20, words)
    parts = [part for group in groups for part in group]
    assert [(part.part, part.parts) for part in parts] == [(number, len(parts)) for number in range(1, len(parts) + 1)]
    assert all(part.span.of(text).endswith(".\n") for part in parts)
    assert_covered_once(text, groups, 20)


def test_a_sentence_over_the_budget_is_cut_at_spaces() -> None:
    text = "rent " * 100
    groups = group_sections(text, split_sections(text), 7, words)
    assert all(part.span.of(text).endswith(" ") for group in groups for part in group)
    assert_covered_once(text, groups, 7)


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive, not 0"):
        group_sections("x", [], 0)


@given(st.text(max_size=300), st.integers(1, 40))
def test_parts_cover_any_text_within_any_budget(text: str, budget: int) -> None:
    sections: list[Section] = split_sections(text)
    assert_covered_once(text, group_sections(text, sections, budget), budget)
    assert_covered_once(text, group_sections(text, sections, budget, len), budget)


@given(st.text(), st.text())
def test_the_estimate_of_two_texts_is_at_least_that_of_both_joined(one: str, other: str) -> None:
    assert estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("the owner shall pay", 5),  # 16 small letters: 4, and one for the remainder
        ("THE OWNER SHALL PAY", 7),  # 16 capitals: 6.4
        ("$2,000", 7),  # every mark and digit
        ("租金上限", 7),  # 12 bytes: 6.7
        ("\n\n\n\n", 3),
    ],
)
def test_the_estimate_counts_kinds_of_characters(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
