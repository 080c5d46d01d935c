from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bills import Section
from tasks.analysis.sections import split_sections
from tests.tasks.analysis.real_bills import EXAMPLES, each_bill, text_of


def labels(text: str) -> list[str]:
    return [section.label for section in split_sections(text)]


def assert_covers(sections: list[Section], text: str) -> None:
    assert "".join(section.span.of(text) for section in sections) == text
    assert [section.ordinal for section in sections] == list(range(len(sections)))
    assert all(section.span.start <= section.body_start <= section.span.end for section in sections)


@each_bill
def test_a_real_bill_is_split_without_loss(name: str) -> None:
    assert_covers(split_sections(text_of(name)), text_of(name))


FOUND = {
    "MA-193-H3121": ["Passage 1"],
    "MO-2024-SB895": ["", "Section A.", "67.137.", "534.157."],
    "MO-2024-HB2407": ["", "Section A.", "620.2022.", "620.2024.", "620.2026.", "620.2028."],
    "NY-2023-A10020": ["", "Section 1.", "§ 344.", "§ 2."],
    "NY-2023-S5224": ["", "Section 1.", "§ 2.", "§ 97-M.", "§ 3.", "§ 421-P.", "§ 4."],
    "NY-2023-S7606": ["", "Section 1.", "§ 2."],
    "NY-2023-A9088": ["", "Section 1.", *(f"§ {number}." for number in range(2, 37))],
    "NY-2023-A4021A": ["", "Section 1.", "ARTICLE 14-A", *(f"§ {number}." for number in range(605, 624)), "§ 2."],
    "US-103-hr417": ["SECTION. 1.", "SEC. 2.", "SEC. 3.", "Sec. 20B.", "SEC. 4.", "SEC. 36.", "SEC. 5."],
    "US-105-s2471": ["SECTION 1.", "SEC. 2.", "SEC. 116.", "SEC. 2. (continued)"],
    "US-112hr2809ih": ["1.", "2.", "3.", "4."],
    "US-115hr2846rfs": [f"{number}." for number in range(1, 9)],
    "US-114-s223": ["SECTION 1."],
    "US-116s1000is": ["", "SECTION 1.", "SEC. 2."],
    "WA-2021-HB1210-S2": ["", *(f"Sec. {number}." for number in range(1, 177))],
}


@pytest.mark.parametrize("name", FOUND)
def test_headings_of_a_real_bill_are_those_a_reader_sees(name: str) -> None:
    assert labels(text_of(name)) == FOUND[name]


def test_an_appropriation_act_has_its_titles_and_sections() -> None:
    sections = split_sections(text_of("US-116hr264pcs"))
    titles = [(section.label, section.heading) for section in sections if section.kind == "division"]
    assert [label for label, _ in titles] == [f"TITLE {n}" for n in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")]
    assert titles[2] == ("TITLE III", "THE JUDICIARY")
    assert [section.label for section in sections][-17:] == [f"Sec. {number}." for number in range(801, 818)]


def test_markdown_headings_are_sections_and_divisions() -> None:
    sections = split_sections(text_of("US-117hr5376rh-TitleIV"))
    assert [section.kind for section in sections].count("section") == 27
    assert (sections[0].kind, sections[0].heading[:23]) == ("division", "Creating and Preserving")
    assert (sections[1].label, sections[1].heading) == ("SEC. 40001.", "PUBLIC HOUSING INVESTMENTS")


def test_new_yorks_sections_of_the_law_are_told_from_the_bills_own() -> None:
    kinds = [section.kind for section in split_sections(text_of("NY-2023-A3353"))]
    assert kinds == ["preamble", "section", "section", "section", "division", *["amendment"] * 24, "section"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SEC. 3. RENT.\n\nThe owner shall pay.", [("SEC. 3.", "RENT")]),
        ("SECTION 1. The law is changed.\nSECTION 2. It applies now.", [("SECTION 1.", ""), ("SECTION 2.", "")]),
        ("Section 12-a. Notice. The owner shall tell.", [("Section 12-a.", "Notice")]),
        ("Section 5\n\nThe owner shall tell.", [("Section 5", "")]),
        ("§ 4. Fees. No fee is due.", [("§ 4.", "Fees")]),
        ("Sec. 101\nNone of the funds may be used.", [("Sec. 101", "")]),
        ("ARTICLE 7-D\nTENANT PURCHASE\n§ 1. Text is here.", [("ARTICLE 7-D", "TENANT PURCHASE"), ("§ 1.", "")]),
        ("PART A\n\nSection 1. Text.", [("PART A", ""), ("Section 1.", "Text")]),
        ("PART B--HOMES AND\n  LAND\nSEC. 1. LOTS.\nIt is.", [("PART B", "HOMES AND LAND"), ("SEC. 1.", "LOTS")]),
        ("620.2022. 1. The department shall.\n", [("620.2022.", "")]),
        ("NEW SECTION. Sec. 2. A tax is imposed.\n", [("NEW SECTION. Sec. 2.", "")]),
        ("Sec. 3.  RCW 9 is changed to read as follows:\n(1)", [("Sec. 3.", "RCW 9 is changed to read as follows")]),
        ("## SEC. 40001. PUBLIC HOUSING.\n\n(a) Money.", [("SEC. 40001.", "PUBLIC HOUSING")]),
        ("**Section 1.** Short title.\n\nText.", [("Section 1.", "Short title")]),
        ("1. Short title \nThis is new. 2. Findings \nWe find. ", [("1.", "Short title"), ("2.", "Findings")]),
        ("Section 1 — Deposits\n\nA deposit is due.", [("Section 1", "Deposits")]),
    ],
)  # fmt: skip
def test_each_style_of_heading_is_recognised(text: str, found: list[tuple[str, str]]) -> None:
    sections = split_sections(text)
    assert [(section.label, section.heading) for section in sections] == found
    assert_covers(sections, text)


@pytest.mark.parametrize(
    "text",
    [
        "The owner is liable under\nsection 12. Another rule applies to the tenant.",
        "As provided in\nSection 12. The board may act.",
        "A person who breaks the rule of\n§ 4. The court may fine.",
        "SECTION 18 of chapter 30A of the General Laws is amended by striking a phrase.",
        "Section 1400Z–1 of the Code is amended.",
        "The rule is found in Title 24 of the Code,\nPart 5 of which is repealed.",
        "The fee is\n12.50. The department may raise it.",
        "It shall report as section 3(a) of the Act says.",
    ],
)
def test_cross_references_are_no_headings(text: str) -> None:
    assert labels(text) == ["Passage 1"]


def test_what_stands_before_the_first_heading_is_the_preamble() -> None:
    first, second = split_sections("AN ACT about rent.\n\nSection 1. Rent. It is due.")
    assert (first.kind, first.label, first.span.end) == ("preamble", "", 20)
    assert second.span.start == 20


def test_a_table_of_contents_makes_no_sections() -> None:
    contents = (
        "TITLE I--HOMES\nSec. 1. Short title; contents.\nSec. 2. Rents that are due.\nTITLE II--ROADS\nSec. 3. Tolls.\n"
    )
    body = (
        "SECTION 1. SHORT TITLE; CONTENTS.\n\nThe table of contents of this Act, which is called the Homes Act, is:\n"
        f"{contents}\nTITLE I--HOMES\n\nSEC. 2. RENTS THAT ARE DUE.\n\nRent shall be paid on the first day.\n\n"
        "TITLE II--ROADS\n\nSEC. 3. TOLLS.\n\nA toll shall be paid at the gate.\n"
    )
    assert labels(body) == ["SECTION 1.", "TITLE I", "SEC. 2.", "TITLE II", "SEC. 3."]


def test_short_sections_that_provide_something_are_kept_although_their_number_returns() -> None:
    part = "Section 1. The rent law is repealed.\n§ 2. This act shall take effect at once.\n"
    longer = f"Section 1. {'The tax law shall be changed in many ways. ' * 9}\n§ 2. This act shall take effect later.\n"
    assert labels(f"PART A\n{part}PART B\n{longer}") == ["PART A", "Section 1.", "§ 2.", "PART B", "Section 1.", "§ 2."]


def test_a_bills_own_section_goes_on_after_what_it_quotes() -> None:
    quoted = (
        "``(a) In General.--No owner of a dwelling shall raise the rent of it by more than six percent in a year.\n"
    )
    text = (
        "SEC. 2. RENTS.\n\n    (a) In General.--The Act is amended by adding at the end the following:\n\n"
        f"``SEC. 9. LIMIT.\n\n    {quoted}    ``(b) Exception.--Subsection (a) does not apply to a hotel, an inn, or "
        "a house with\nfewer than three rooms.''.\n    (b) Effective Date.--This section takes effect now.\n"
        "SEC. 3. TOLLS.\n\nA toll shall be paid.\n"
    )
    sections = split_sections(text)
    assert [s.label for s in sections] == ["SEC. 2.", "SEC. 9.", "SEC. 2. (continued)", "SEC. 3."]
    assert [s.kind for s in sections] == ["section", "amendment", "section", "section"]
    assert sections[2].span.of(text).strip().startswith("(b) Effective Date")
    assert_covers(sections, text)


def test_the_body_begins_behind_the_caption() -> None:
    text = "SEC. 3. LIMIT ON RENT\n        INCREASES.\n\n    (a) No owner shall raise rent."
    (section,) = split_sections(text)
    assert section.heading == "LIMIT ON RENT INCREASES"
    assert text[section.body_start :] == "(a) No owner shall raise rent."


def test_a_text_without_headings_is_cut_into_windows_between_sentences() -> None:
    text = "".join(f"Owner number {number} shall pay the fee of forty dollars.\n" for number in range(200))
    sections = split_sections(text, window_tokens=100)
    assert [section.kind for section in sections] == ["window"] * len(sections)
    assert len(sections) > 10
    assert all(section.span.of(text).strip().endswith("dollars.") for section in sections)
    assert_covers(sections, text)


@pytest.mark.parametrize("text", ["", " \n ", "x"])
def test_the_smallest_texts_are_covered(text: str) -> None:
    assert_covers(split_sections(text), text)


PIECES = [
    "SEC. 3. RENT.\n", "Section 12-a", "§ 4.", "``SEC. 9. LIMIT.\n", "TITLE I--HOMES\n", "# Heading\n", "620.2022. 1.",
    "1. Short title \n", "2. Findings \n", "(a) In general.--", "The owner shall pay.", "''.\n", "\n", "\n\n", " ", "“",
    "under\n", "Sec. 2.\n", "PART A\n", "7 ", "NEW SECTION. ", "SECTION", "—", "A. 4021--A  2\n", "x" * 50,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join))
def test_sections_cover_any_text_exactly(text: str) -> None:
    assert_covers(split_sections(text), text)


def test_the_short_example_splits_into_its_eight_sections() -> None:
    text = (EXAMPLES / "housing-bill.txt").read_text(encoding="utf-8")
    assert labels(text) == ["", *(f"SECTION {number}." for number in range(1, 9))]
    assert 650 <= len(text.split()) <= 900
