from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.documents.evidence import NEAR, NormalizedBill, locate
from schemas.bills import ADDED_OPEN, MARK_CLOSE, MIN_QUOTE_WORDS, STRUCK_OPEN, Sentence, Span
from tasks.analysis.sections import split_sections
from tasks.analysis.sentences import split_sentences
from tests.tasks.analysis.real_bills import each_bill, text_of

BILL = """SECTION 1. RENTS.

    (a) No owner of a dwelling shall raise the rent of it by more than six
percent in any year, unless the board of the county agrees in writ-
ing.
    (b) The board shall not agree to a raise of more than $5,000,000 in
all, and shall give its reasons to the tenant.
    (c) The tenant may appeal within thirty days.

SECTION 2. FEES.

    The owner shall pay the fee of forty dollars to the clerk. The tenant
may appeal within thirty days.
"""


def bill_of(text: str) -> NormalizedBill:
    return NormalizedBill.of(text, split_sections(text))


def sample(name: str, count: int) -> tuple[NormalizedBill, list[Sentence]]:
    text = text_of(name)
    bill = bill_of(text)
    sentences = [
        sentence
        for sentence in split_sentences(text, bill.sections)
        if len(bill.reading(sentence.span).split()) >= MIN_QUOTE_WORDS + 2
    ]
    return bill, random.Random(name).sample(sentences, min(count, len(sentences)))


def as_a_model_writes(text: str, source: random.Random) -> str:
    """`text` with the spelling of quotes, dashes and line ends that models use."""
    text = re.sub(r"(?<=[A-Za-z])- (?=[A-Za-z])", "", text)  # words broken at a line's end
    text = text.replace("``", "“").replace("''", "”").replace("--", "—")
    words = text.split(" ")
    return "".join(word + source.choice([" ", " ", "\n", "\u00a0"]) for word in words).strip()


@each_bill
def test_sentences_that_a_model_copied_are_found_where_they_stand(name: str) -> None:
    bill, sentences = sample(name, 25)
    source = random.Random(1)
    for sentence in sentences:
        quote = as_a_model_writes(bill.reading(sentence.span), source)
        located = locate(quote, bill, near=sentence.span)
        assert (located.status, located.supports, located.similarity) == ("exact", True, 1.0), quote
        assert located.start is not None
        assert located.end is not None
        assert not any(map(str.isalnum, bill.text[sentence.span.start : located.start]))
        assert not any(map(str.isalnum, bill.text[located.end : sentence.span.end]))
        assert located.text == bill.text[located.start : located.end]


@each_bill
def test_quotes_with_an_added_not_or_another_figure_are_never_exact(name: str) -> None:
    bill, sentences = sample(name, 12)
    source = random.Random(2)
    for sentence in sentences:
        words = bill.reading(sentence.span).split()
        place = source.randrange(2, len(words) - 1)
        denied = " ".join([*words[:place], "not", *words[place:]])
        if locate(denied, bill, near=sentence.span).status == "exact":  # "may not not"
            pytest.fail(denied)
        figures = [i for i, word in enumerate(words) if word.isdigit()]
        if figures:
            words[figures[0]] = str(int(words[figures[0]]) + 71)
            assert locate(" ".join(words), bill, near=sentence.span).status != "exact"


def test_a_near_quote_keeps_both_texts_and_does_not_count() -> None:
    quote = "The board shall agree to a raise of more than $5,000,000 in all"
    located = locate(quote, bill_of(BILL))
    assert (located.status, located.supports, located.occurrences) == ("approximate", False, 0)
    assert located.quote == quote
    assert " ".join(located.text.split()) == "The board shall not agree to a raise of more than $5,000,000 in all"
    assert NEAR <= located.similarity < 1


def test_a_word_broken_at_a_line_end_is_quoted_whole() -> None:
    located = locate("unless the board of the county agrees in writing.", bill_of(BILL))
    assert located.status == "exact"
    assert located.text == "unless the board of the county agrees in writ-\ning."


@pytest.mark.parametrize(
    "quote",
    [
        "  “No owner of a dwelling shall raise the rent” ",
        "NO OWNER OF A DWELLING SHALL RAISE THE RENT",
        "'No owner of a dwelling shall raise the rent.'",
        "…No owner of a dwelling shall raise the rent...",
    ],
)
def test_quotation_marks_capitals_and_outer_punctuation_may_differ(quote: str) -> None:
    located = locate(quote, bill_of(BILL))
    assert (located.status, located.text) == ("exact", "No owner of a dwelling shall raise the rent")


@pytest.mark.parametrize(
    "quote",
    [
        "owner of a dwelling shall raise the rent",  # leaves out the "No" before it
        "(b) The board shall",  # and the "not" after it
        "a raise of more than $5,000",  # half a number
        "wner of a dwelling shall raise the rent of it",  # half a word
        "give its reasons to the ten",
        "the owner shall pay a fee of forty dollars to the clerk",
    ],
)
def test_quotes_cut_so_that_they_say_something_else_are_not_exact(quote: str) -> None:
    located = locate(quote, bill_of(BILL))
    assert located.status == "approximate"
    assert not located.supports
    assert matches_more_than(located.text, quote)


def matches_more_than(text: str, quote: str) -> bool:
    return " ".join(text.split()) != quote


def test_what_the_bill_does_not_say_is_missing() -> None:
    located = locate("Every school shall teach swimming to each pupil before the age of ten", bill_of(BILL))
    assert (located.status, located.start, located.end, located.text) == ("missing", None, None, "")
    assert located.similarity < NEAR


@pytest.mark.parametrize("quote", ["", "…", "“”", " . ", "xyzzy"])
def test_nothing_is_found_of_nothing(quote: str) -> None:
    assert locate(quote, bill_of(BILL)).status == "missing"
    assert locate(quote, bill_of("")).status == "missing"


@pytest.mark.parametrize(
    ("quote", "supports"),
    [("pay the fee of forty", False), ("pay the fee of forty dollars", True)],
)
def test_a_quote_of_fewer_than_six_words_never_counts(quote: str, supports: bool) -> None:
    located = locate(quote, bill_of(BILL))
    assert (located.status, located.words >= MIN_QUOTE_WORDS) == ("exact", supports)
    assert located.supports is supports


def test_of_several_places_the_one_near_the_cited_sentence_is_taken() -> None:
    bill = bill_of(BILL)
    quote = "The tenant may appeal within thirty days"
    first, last = BILL.index("The tenant"), BILL.rindex("The tenant")
    assert (locate(quote, bill).start, locate(quote, bill).occurrences) == (first, 2)
    assert locate(quote, bill, near=Span(start=len(BILL) - 5, end=len(BILL))).start == last
    assert locate(quote, bill, near=Span(start=0, end=5)).start == first


def test_pieces_around_an_ellipsis_must_stand_in_order_in_one_section() -> None:
    bill = bill_of(BILL)
    located = locate("No owner of a dwelling shall raise the rent … unless the board of the county agrees", bill)
    assert (located.status, located.supports) == ("exact", True)
    assert located.text.startswith("No owner of a dwelling")
    assert located.text.endswith("the county agrees")
    turned = "unless the board of the county agrees [...] No owner of a dwelling shall raise the rent"
    assert locate(turned, bill).status != "exact"
    across = "No owner of a dwelling shall raise the rent * * * the fee of forty dollars to the clerk"
    assert locate(across, bill).status != "exact"
    assert locate("No owner ... shall ... agree to a raise of more than", bill).status != "exact"


def test_an_ellipsis_cannot_hide_a_not() -> None:
    assert locate("(b) The board shall ... agree to a raise of more", bill_of(BILL)).status != "exact"


def test_without_sections_the_whole_text_is_one() -> None:
    quote = "No owner of a dwelling shall raise the rent ... the fee of forty dollars to the clerk"
    assert locate(quote, NormalizedBill.of(BILL)).status == "exact"


def test_an_amendment_is_quoted_as_marked_as_amended_or_as_struck() -> None:
    text = (
        f"§ 1. The owner shall begin the repair within {STRUCK_OPEN}thirty days, or later if the tenant "
        f"agrees,{MARK_CLOSE} {ADDED_OPEN}seven days{MARK_CLOSE} after notice.\n"
    )
    bill = bill_of(text)
    for quote in (
        text[5:].strip(),
        "The owner shall begin the repair within seven days after notice.",
        "thirty days, or later if the tenant agrees",
    ):
        assert locate(quote, bill).status == "exact"
    assert locate("The owner shall begin the repair within thirty days after notice", bill).status == "approximate"


def test_line_numbers_may_be_quoted_or_left_out() -> None:
    text = text_of("MO-2024-HB2240")
    bill = bill_of(text)
    clean = "that cost not more than two hundred seventy-five thousand dollars to construct"
    printed = "that cost not more than two hundred seventy-\n30 five thousand dollars to construct"
    assert locate(clean, bill).text == locate(printed, bill).text == printed
    glued = "There shall be established within the department of economic development a workforce housing grant program"
    assert locate(glued, bill).supports


def test_new_yorks_capitals_are_found_in_small_letters_and_kept() -> None:
    bill = bill_of(text_of("NY-2023-A10020"))
    located = locate("A landlord shall not share a tenant's personal data with any third party", bill)
    assert located.supports
    assert located.text.startswith("A  LANDLORD SHALL NOT SHARE A TENANT'S")


def test_a_reading_is_one_line_without_page_furniture() -> None:
    bill = bill_of(text_of("MO-2024-SB895"))
    section = bill.sections[-1]
    assert bill.reading(section.span) == (
        "534.157. All transfers of title of real property for rental properties with outstanding collectible judgments "
        "shall be filed in the circuit court within thirty days after transfer of title."
    )


@given(st.text(max_size=60), st.text(max_size=200))
def test_whatever_is_asked_the_answer_points_into_the_text(quote: str, text: str) -> None:
    located = locate(quote, bill_of(text))
    if located.status == "missing":
        assert located.start is None
    else:
        assert located.start is not None
        assert located.text == text[located.start : located.end]
        assert 0 < located.similarity <= 1


@given(st.data())
def test_any_run_of_whole_words_is_found_unless_it_is_cut_at_a_negation(data: st.DataObject) -> None:
    words = BILL.replace("writ-\ning", "writing").split()
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, min(len(words), start + 30)))
    located = locate(" ".join(words[start:end]), bill_of(BILL))
    beside = {*words[max(0, start - 1) : start], *words[end : end + 1]} & {"No", "not"}
    assert located.status == "exact" or beside
