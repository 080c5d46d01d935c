from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.documents.normalization import (
    lines_are_wrapped,
    mask_amendment_marks,
    mask_page_furniture,
    matching_key,
    normalize,
)
from schemas.bills import ADDED_OPEN, MARK_CLOSE, STRUCK_OPEN
from tests.tasks.analysis.real_bills import each_bill, text_of

UNEVEN = st.text(
    alphabet=st.sampled_from(list("aB1-–—'\"`’“” \t\n\r\u00a0\u00ad\u200b\ufeffﬁ.,é§")) | st.characters(), max_size=80
)


@pytest.mark.parametrize(
    ("original", "normalized"),
    [
        ("the  owner\n   shall", "the owner shall"),
        ("``base amount''", '"base amount"'),
        ("“base” ‘x’ it’s", "\"base\" 'x' it's"),
        ("2012–2017 — or − 5", "2012-2017 - or - 5"),
        ("an agree-\n   ment", "an agreement"),
        ("HOUS-\r\n ING", "HOUSING"),
        ("5-\n6", "5- 6"),
        ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        ("of\u00a0the", "of the"),
        ("ofﬁce", "office"),
    ],
)
def test_spelling_of_the_page_is_made_uniform(original: str, normalized: str) -> None:
    assert normalize(original).text == normalized


def test_a_span_leads_back_over_a_broken_word_and_a_ligature() -> None:
    original = "The ofﬁcer  signs an agree-\n  ment today."
    normalized = normalize(original)
    start = normalized.text.index("officer")
    span = normalized.original_span(start, normalized.text.index(" today"))
    assert span.of(original) == "ofﬁcer  signs an agree-\n  ment"


def test_a_span_outside_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no span of a text of 3 characters"):
        normalize("abc").original_span(1, 4)


def test_an_empty_text_has_one_empty_span() -> None:
    assert normalize("").original_span(0, 0).end == 0
    assert normalize("ab").original_span(2, 2).start == 2


@given(UNEVEN, st.data())
def test_what_a_normalized_span_was_made_from_normalizes_to_it(text: str, data: st.DataObject) -> None:
    normalized = normalize(text)
    start = data.draw(st.integers(0, len(normalized.text)))
    end = data.draw(st.integers(start, len(normalized.text)))
    span = normalized.original_span(start, end)
    assert normalize(span.of(text)).text == normalized.text[start:end]


@given(UNEVEN)
def test_offsets_of_a_key_lead_to_the_original_and_back(text: str) -> None:
    key = matching_key(text)
    for offset in range(len(key.text)):
        span = key.original_span(offset, offset + 1)
        run_start = key.offset_of(span.start)
        assert run_start <= offset < key.offset_of(span.end)


@given(UNEVEN)
def test_spans_of_neighbours_do_not_overlap(text: str) -> None:
    key = matching_key(text)
    spans = [key.original_span(i, i + 1) for i in range(len(key.text))]
    assert all(a.end <= b.start or a == b for a, b in pairwise(spans))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("developmentaworkforcehousing  grant", "development a workforce housing grant"),
        ("a non-\n profit owner", "a nonprofit owner"),
        ("a non-profit owner", "a nonprofit owner"),
        ("means--\n  ``(1) rent''", "means—“(1) rent”"),
        ("the term `rent' means", 'the term "rent" means'),
        ("THE LANDLORD SHALL", "the landlord shall"),
        ("the tenant’s share", "the tenant's share"),
        ("2012--2017", "2012–2017"),
    ],
)
def test_readings_of_the_same_words_have_one_key(one: str, other: str) -> None:
    assert matching_key(one).text == matching_key(other).text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shall pay", "shall not pay"),
        ("$5,000", "$5000"),
        ("a change of -5 percent", "a change of 5 percent"),
        ("2023-2024", "20232024"),
        ("the tenant's share", "the tenants share"),
        ("rent, or fees", "rent or fees"),
    ],
)
def test_different_words_have_different_keys(one: str, other: str) -> None:
    assert matching_key(one).text != matching_key(other).text


def test_case_is_kept_on_request() -> None:
    assert matching_key("Rent İs DUE", fold_case=False).text == "Rentİs" + "DUE"
    assert matching_key("İs DUE").text == "İsdue"


NUMBERED = """AN ACT to repeal section 1.
1 Section A. Chapter 67 is amended by adding thereto
2 two new sections, to read as follows:
1 67.137. No county shall impose a mora-
2 torium on evictions for more than
HB 12 2
3 30 days, as provided in section
4 534.157.
5 2. A county may ask for
6
7 an extension, and shall give
8 its reasons, to the court
9 of the circuit.
"""


def test_line_numbers_and_running_heads_are_hidden_and_figures_stay() -> None:
    masked = mask_page_furniture(NUMBERED)
    assert len(masked) == len(NUMBERED)
    assert " ".join(masked.split()) == (
        "AN ACT to repeal section 1. Section A. Chapter 67 is amended by adding thereto two new sections, to read "
        "as follows: 67.137. No county shall impose a mora- torium on evictions for more than 30 days, as provided "
        "in section 534.157. 2. A county may ask for an extension, and shall give its reasons, to the court of "
        "the circuit."
    )


@pytest.mark.parametrize(
    "text",
    [
        "YEAR  SHARE\n" + "".join(f"  {year}  {100 - year}\n" for year in range(1, 20)),
        "The county shall:\n1 report\nin writing, and then do many other things\nthat are listed\nfor it.\n" * 3,
        "12 months after the date\nof enactment the owner\n30 days later shall pay.\n",
    ],
)
def test_tables_and_prose_that_begin_with_figures_are_left_alone(text: str) -> None:
    assert mask_page_furniture(text) == text


def test_new_yorks_page_foot_is_hidden() -> None:
    page = (
        "FOR THE LAND-\n \n  EXPLANATION--Matter in ITALICS (underscored) is new; matter in brackets\n"
        "  [ ] is old law to be omitted.\n  LBD14977-02-4\n A. 4021--A  2\n \n LORD'S BENEFIT."
    )
    assert normalize(mask_page_furniture(page)).text == "FOR THE LANDLORD'S BENEFIT."


@given(st.text(alphabet=st.sampled_from(list("12 3A.HB\nxy-—")), max_size=200))
def test_masking_changes_neither_length_nor_lines(text: str) -> None:
    masked = mask_page_furniture(text)
    assert len(masked) == len(text)
    assert [i for i, c in enumerate(masked) if c == "\n"] == [i for i, c in enumerate(text) if c == "\n"]


def test_an_amendment_reads_as_amended() -> None:
    text = f"within {STRUCK_OPEN}thirty{MARK_CLOSE} {ADDED_OPEN}ten{MARK_CLOSE} days"
    assert " ".join(mask_amendment_marks(text).split()) == "within ten days"
    assert len(mask_amendment_marks(text)) == len(text)
    assert mask_amendment_marks("plain") == "plain"


@each_bill
def test_furniture_of_real_bills_is_at_most_a_few_lines_or_all_line_numbers(name: str) -> None:
    text = text_of(name)
    masked = mask_page_furniture(text)
    hidden = [(a, b) for a, b in zip(text.split("\n"), masked.split("\n"), strict=True) if a != b]
    for original, kept in hidden:
        gone = original.replace(kept.strip(), "", 1).strip() if kept.strip() else original.strip()
        assert not kept.strip() or gone.isdigit(), original
    assert bool(hidden) == name.startswith(("NY", "MO"))


@pytest.mark.parametrize(
    ("name", "wrapped"),
    [("NY-2023-A10020", True), ("MO-2024-SB895", True), ("US-116s1000is", False), ("WA-2021-HB1210-S2", False)],
)
def test_printed_lines_are_told_from_paragraphs(name: str, wrapped: bool) -> None:
    assert lines_are_wrapped(text_of(name)) is wrapped
