"""What redaction takes out, and what it leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadInput
from tasks.training.redaction import Redactor, entropy, passes_luhn, require_region


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to Ada.Lovelace+x@mail.example.co.uk, now.", "Write to [EMAIL], now."),
        ("+44 20 7946 0958 or (415) 555-2671", "[PHONE] or [PHONE]"),
        ("4111-1111-1111-1111 and 378282246310005", "[CARD] and [CARD]"),
        ("AKIAIOSFODNN7EXAMPLE ghp_0123456789abcdefghijABCDEFGHIJ012345", "[KEY] [KEY]"),
        ("token wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "token [KEY]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "[KEY]"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc\n-----END PGP PRIVATE KEY BLOCK-----", "[KEY]"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[KEY]"),
        ("npm_0123456789abcdefghijabcdefghij012345, SG.0123456789abcdef.0123456789abcdef", "[KEY], [KEY]"),
        ("4111 1111 1111 1111 12/27 and no4111111111111111", "[CARD] 12/27 and no[CARD]"),
        ("order 17: 4111\u00a01111\u00a01111\u00a01111 - 3782 822463 10005", "order 17: [CARD] - [CARD]"),
        ("_415-555-2671_ or 415-555-2671x12", "_[PHONE]_ or [PHONE]"),
    ],
)
def test_personal_data_and_keys_are_replaced(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 is no card: its check digit is wrong",
        "SHA-1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "id 0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "1,234,567 of 12.5 in 2024-11-08T10:00:00Z",
        "an @mention and a@b",
        "https://www.congress.gov/bill/118th-congress/House-bill/1234",
        "/home/Ada/Projects-2024/Water-Mills/Headrace/Notes.md",
        "1700000000000 and 0.4111111111111111",
        "🦜 \u202eשלום\u202c",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    redactor = Redactor()
    assert redactor.redact(text) == text
    assert sum(redactor.counts.values()) == 0


def test_each_kind_is_counted() -> None:
    redactor = Redactor()
    redactor.redact("a@example.org b@example.org 4111111111111111 +14155552671 sk-abcdefghijklmnopqrst")
    assert redactor.counts == {"email": 2, "card": 1, "phone": 1, "key": 1}


def test_the_check_digit_of_iso_7812() -> None:
    assert passes_luhn([7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 3])
    assert not passes_luhn([7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 4])
    assert not passes_luhn([0, 0, 0, 0])


def test_entropy_is_in_bits_a_character() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2


def test_numbers_without_their_country_are_of_the_region_that_is_given() -> None:
    text = "call (02) 9374 4000"
    assert Redactor("AU").redact(text) == "call [PHONE]"
    require_region("AU")
    with pytest.raises(BadInput, match="XX is no region with phone numbers"):
        require_region("XX")


def test_hostile_texts_take_no_longer_than_others() -> None:
    begun = "-----BEGIN PRIVATE KEY-----\n" * 40_000  # looked at from each to the end, it would take an hour
    assert Redactor().redact(begun) == begun
    assert Redactor().redact("a" * 1_000_000 + "@") == "a" * 1_000_000 + "@"


@settings(max_examples=50)
@given(st.text())
def test_redacted_text_has_nothing_left_to_redact(text: str) -> None:
    once = Redactor().redact(text + " ada@example.org")
    assert "ada@example.org" not in once
    assert Redactor().redact(once) == once
