from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bills import BillKey, Span, guess_bill_key, normalize_bill_id
from schemas.errors import BadInput
from tests.tasks.analysis.real_bills import EXAMPLES, names, text_of


@pytest.mark.parametrize("bill_id", ["HR 5", "H.R. 5", "hr-5", "HR 05", "h. r. 5", "ＨＲ 5", "hr_5"])
def test_spellings_of_one_id_are_one_key(bill_id: str) -> None:
    assert BillKey(jurisdiction="US", bill_id=bill_id, session="117") == BillKey.parse("us/HR5/117th Congress")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("US/HR 5/117", "US/HR 5/118"),
        ("US/HR 5/117", "NY/HR 5/117"),
        ("US/HR 5/117", "US/H.Res. 5/117"),
        ("US/HR 5/117", "US/HR 50/117"),
        ("LA/HB 1-23/2023", "LA/HB 123/2023"),
        ("NY/A 4021/2023", "NY/A 4021-A/2023"),
    ],
)
def test_different_bills_have_different_keys(one: str, other: str) -> None:
    assert BillKey.parse(one) != BillKey.parse(other)


def test_names_of_states_and_dashes_of_sessions_are_uniform() -> None:
    key = BillKey(jurisdiction="new  york", bill_id="A. 4021--A", session="2023–2024")
    assert str(key) == "NY/A4021A/2023-2024"
    assert BillKey(jurisdiction="U.S.", bill_id="S.5", session="118th").jurisdiction == "US"


@pytest.mark.parametrize("text", ["HR 5", "US/HR 5", "US/HR 5/117/x", "US//117", "/HR 5/117", "US/HR 5/ "])
def test_a_key_needs_three_parts(text: str) -> None:
    with pytest.raises(BadInput, match="write JURISDICTION/BILL/SESSION"):
        BillKey.parse(text)


@given(st.text(max_size=30))
def test_normalizing_an_id_twice_changes_nothing_more(text: str) -> None:
    once = normalize_bill_id(text)
    assert once
    assert normalize_bill_id(once) == once


@given(st.text(max_size=12), st.integers(1, 99_999))
def test_numbers_keep_bills_apart(letters: str, number: int) -> None:
    assert normalize_bill_id(f"HB {number}") != normalize_bill_id(f"HB {number + 1}")
    assert BillKey(jurisdiction=letters, bill_id="x", session="y").bill_id == "X"


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("/bills/US-113-hr1552.txt", "US/HR1552/113"),
        ("https://host/x/BILLS-117hr5376rh.xml?format=xml#top", "US/HR5376/117"),
        ("US-117hr5376rh-TitleIV.txt", "US/HR5376TITLEIV/117"),
        ("NY-2023-A9088.txt", "NY/A9088/2023"),
        ("WA-2021-HB1210-S2.txt", "WA/HB1210S2/2021"),
        ("C:\\bills\\rent relief.pdf", "UNKNOWN/RENT-RELIEF/UNKNOWN"),
        ("-", "UNKNOWN/UNKNOWN/UNKNOWN"),
        ("", "UNKNOWN/BILL/UNKNOWN"),
    ],
)
def test_a_file_name_tells_the_key(source: str, key: str) -> None:
    assert str(guess_bill_key(source, "")) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("116th CONGRESS\n1st Session\nH. R.\n264\nIN THE SENATE", "US/HR264/116"),
        (
            "SECOND REGULAR SESSION\nHOUSE BILL NO. 2240\n102ND GENERAL ASSEMBLY\nof the state of Missouri",
            "MO/HB2240/102",
        ),
        ("STATE OF LAKEMONT\n2026 REGULAR SESSION\nSENATE BILL NO. 77", "LAKEMONT/SB77/2026"),
        ("An act about a state of emergency.", "UNKNOWN/DRAFT/UNKNOWN"),
    ],
)
def test_the_opening_tells_the_key_where_the_name_does_not(text: str, key: str) -> None:
    assert str(guess_bill_key("draft.txt", text)) == key


def test_each_real_bill_has_a_key_of_its_own() -> None:
    if not names():
        pytest.skip("needs the real bills")
    keys = {str(guess_bill_key(f"{name}.txt", text_of(name))) for name in names()}
    assert len(keys) == len(names())
    assert "UNKNOWN" not in "".join(keys)


def test_the_shipped_examples_tell_their_key() -> None:
    text = (EXAMPLES / "housing-bill.txt").read_text(encoding="utf-8")
    assert str(guess_bill_key("examples/housing-bill.txt", text)) == "LAKEMONT/HB418/2026"


def test_a_span_cannot_run_backwards() -> None:
    with pytest.raises(ValueError, match="cannot end"):
        Span(start=3, end=2)
    assert Span(start=1, end=3).of("abcd") == "bc"
