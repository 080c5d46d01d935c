from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.documents.normalization import mask_page_furniture
from tasks.analysis.sections import split_sections
from tasks.analysis.sentences import (
    MAX_SENTENCE_CHARACTERS,
    MAX_SENTENCE_WORDS,
    sentence_spans,
    split_sentences,
)
from tests.tasks.analysis.real_bills import each_bill, text_of


def sentences_of(text: str) -> list[str]:
    return [" ".join(span.of(text).split()) for span in sentence_spans(text)]


@pytest.mark.parametrize(
    "whole",
    [
        "Section 8 of the Housing Act of 1937 (42 U.S.C. 1437f et seq. and Pub. L. 103-325) is amended.",
        "The rule of U.S. Postal practice in No. 5 and Sec. 9 of subsec. (b) applies, e.g. to Dr. Wu of St. Paul.",
        "A fee of $1,250.50 is due by 5 p.m. on Jan. 3 at Acme Co. or its agents in the city.",
        "The board of M. of A. L. ROSENTHAL shall meet in the capitol of the state each year.",
        "An owner shall not, under subsection \n        (b)(1) or paragraphs (2) and\n(3) of section 4, raise a rent.",
        "A member of class A. L. Brown and others may vote in the election of the whole board.",
    ],
)
def test_abbreviations_and_references_end_no_sentence(whole: str) -> None:
    assert sentences_of(whole) == [" ".join(whole.split())]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        (
            "The board shall meet in the city once each year. A member may attend by telephone or by mail.",
            ["The board shall meet in the city once each year.", "A member may attend by telephone or by mail."],
        ),
        (
            "The hearing begins at the hour of 9 a.m. The board shall keep a record of it.",
            ["The hearing begins at the hour of 9 a.m.", "The board shall keep a record of it."],
        ),
        (
            'The owner shall post the sign "No Vacancy Here." The tenant may take it down again.',
            ['The owner shall post the sign "No Vacancy Here."', "The tenant may take it down again."],
        ),
        (
            "1. The owner shall give notice in writing.\n  2. The tenant shall answer it within ten days.",
            ["1. The owner shall give notice in writing.", "2. The tenant shall answer it within ten days."],
        ),
        (
            "The Director of the office shall— (1) carry out the new program; and (2) report on it to the board.",
            [
                "The Director of the office shall—",
                "(1) carry out the new program; and",
                "(2) report on it to the board.",
            ],
        ),
        (
            "Each owner who rents rooms shall:\n  (a) post the fee in the lobby; and\n  (b) give each tenant a copy.",
            [
                "Each owner who rents rooms shall:",
                "(a) post the fee in the lobby; and",
                "(b) give each tenant a copy.",
            ],
        ),
        (
            "STATE OF LAKEMONT IN SENATE HERE\n\nMay 1, 2024 at the first session\n\nAn act relating to rent of homes",
            [
                "STATE OF LAKEMONT IN SENATE HERE",
                "May 1, 2024 at the first session",
                "An act relating to rent of homes",
            ],
        ),
    ],
)
def test_sentences_and_list_items_are_split(text: str, split: list[str]) -> None:
    assert sentences_of(text) == split


def test_fragments_too_short_to_quote_join_what_they_belong_to() -> None:
    text = "The board may inspect:\n (1) a house that is let;\n (2) an inn; or\n (3) any shed or barn that is let."
    assert sentences_of(text) == [
        "The board may inspect: (1) a house that is let; (2) an inn; or",
        "(3) any shed or barn that is let.",
    ]


def test_a_sentence_runs_on_over_a_page_break() -> None:
    text = (
        "  (A) THE OWNER SHALL GIVE THE TENANT WRITTEN NOTICE OF EACH\n \n"
        "  EXPLANATION--Matter in ITALICS (underscored) is new; matter in brackets\n"
        "  [ ] is old law to be omitted.\n  LBD01585-01-3\n A. 564  2\n \n"
        " RAISE IN RENT BEFORE IT BEGINS TO RUN.\n"
    )
    (span,) = sentence_spans(text)
    assert span.of(text).startswith("(A) THE OWNER")
    assert span.of(text).endswith("TO RUN.")


def test_a_long_sentence_is_cut_at_semicolons_first() -> None:
    clause = "the sum of one hundred dollars for the repair of the road that leads to the town of Arden"
    text = f"There is appropriated {'; '.join([clause] * 20)}."
    pieces = sentences_of(text)
    assert len(pieces) > 2
    assert all(piece.endswith((";", ".")) for piece in pieces)
    assert all(len(piece.split()) <= MAX_SENTENCE_WORDS for piece in pieces)


def test_text_without_spaces_is_cut_too() -> None:
    pieces = sentence_spans("地" * 5_000)
    assert [span.end - span.start for span in pieces] == [1200, 1200, 1200, 1200, 200]


def test_a_caption_is_a_sentence_of_its_own_and_numbers_run_through_the_bill() -> None:
    text = (
        "SEC. 1. RENT.\n\nThe owner shall not raise the rent.\n\nSEC. 2. This act takes effect on the first of May.\n"
    )
    sections = split_sections(text)
    sentences = split_sentences(text, sections)
    assert [(s.number, s.section, s.span.of(text)) for s in sentences] == [
        (1, 0, "SEC. 1. RENT."),
        (2, 0, "The owner shall not raise the rent."),
        (3, 1, "SEC. 2. This act takes effect on the first of May."),
    ]


def assert_sentences_hold_everything(text: str) -> None:
    masked = mask_page_furniture(text)
    sentences = split_sentences(text, split_sections(text))
    assert [sentence.number for sentence in sentences] == list(range(1, len(sentences) + 1))
    spans = [sentence.span for sentence in sentences]
    assert all(a.end <= b.start for a, b in pairwise(spans))
    between = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    assert not any(masked[a:b].strip() for a, b in zip(between[::2], between[1::2], strict=True))
    assert all(span.of(masked).strip() for span in spans)


@each_bill
def test_sentences_of_a_real_bill_hold_everything_but_page_furniture(name: str) -> None:
    assert_sentences_hold_everything(text_of(name))


@each_bill
def test_sentences_of_a_real_bill_are_of_usable_length(name: str) -> None:
    text = text_of(name)
    masked = mask_page_furniture(text)
    sentences = split_sentences(text, split_sections(text))
    assert max(len(sentence.span.of(masked).split()) for sentence in sentences) <= MAX_SENTENCE_WORDS
    assert max(sentence.span.end - sentence.span.start for sentence in sentences) <= MAX_SENTENCE_CHARACTERS
    short = [sentence for sentence in sentences if len(sentence.span.of(masked).split()) < 6]
    assert len(short) <= 2 * len(split_sections(text))


@given(
    st.lists(
        st.sampled_from(
            ["The owner pays. ", "(a) ", "; and\n(2) x", "\n\n", " ", "SEC. 1. RENT.\n", "U.S.C. 5 ", "1. "]
        )
        | st.text(max_size=8),
        max_size=40,
    ).map("".join)
)
def test_sentences_hold_everything_of_any_text(text: str) -> None:
    assert_sentences_hold_everything(text)
