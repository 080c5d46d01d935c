"""Personal data and secrets replaced by what they were: `[EMAIL]`, `[PHONE]`, `[CARD]`, `[KEY]`."""

from __future__ import annotations

import math
import re
from collections import Counter

from schemas.errors import BadInput
from tasks.training.named_secrets import replace_named_secrets

PREFIXES = (
    r"sk-[\w-]{16,}",  # OpenAI, Anthropic and those that follow them
    r"gh[opsur]_\w{30,}",
    r"github_pat_\w{30,}",
    r"glpat-[\w-]{20,}",
    r"xox[abeprs]-[\w-]{10,}",
    r"A(?:KI|SI)A[0-9A-Z]{16}",
    r"AIza[\w-]{35}",
    r"hf_[A-Za-z0-9]{30,}",
    r"[rs]k_(?:live|test)_\w{16,}",
    r"whsec_[A-Za-z0-9+/]{16,}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{30,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-[\w-]{30,}",
    r"(?:gsk|glsa|rpa|r8)_\w{30,}",
    r"(?:xai|pplx)-\w{30,}",
    r"do[opr]_v1_[0-9a-f]{60,}",
    r"dapi[0-9a-f]{30,}",
    r"ya29\.[\w-]{20,}",
    r"hooks\.slack\.com/services/[\w/]{20,}",
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",  # JSON Web Token
)
# Between a key's first and last line nothing else begins or ends, so that many first lines take no longer to look at.
_KNOWN_KEY = re.compile(
    rf"\b(?:{'|'.join(PREFIXES)})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:(?!-----).)*-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----",
    re.DOTALL,
)
_LONG_WORD = re.compile(r"(?<![\w+/.-])[A-Za-z0-9+/_-]{32,}={0,2}(?![\w+/=-])")
_CHANGE = re.compile(r"[a-z](?=[A-Z0-9])|[0-9](?=[A-Za-z])|[A-Z](?=[0-9])|(?<=[A-Za-z0-9])[A-Z](?=[a-z])")
"""Another kind of sign within a word, its initial aside: paths have few of them, keys one in two or three signs."""
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_BETWEEN = "[ \u00a0\u202f\u2010-\u2015-]"
"""What may stand between the groups of a card number: blanks and dashes."""
_CARD = re.compile(rf"(?<!\d)(?<!\d[.,-])\d(?:{_BETWEEN}{{0,3}}\d){{12,}}")
"""Digits among which a card number can be: its date or check number may stand beside it."""
_DIGITS = re.compile(r"\d+")
_CARD_DIGITS = range(13, 20)
_CARD_GROUP = range(3, 8)
_CARD_BEGINS = range(2, 7)
"""The first digit of a payment card (ISO/IEC 7812-1, major industry): times in milliseconds begin with 1."""
_SEVEN_DIGITS = re.compile(
    r"(?<![^\W_])[+(]{0,2}\d(?:[^\w\n]{0,3}\d){6,}(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?![^\W_])", re.IGNORECASE
)
"""Where a phone number can be; the matcher is slow on whole texts."""
_RANDOM_BITS = 4.0
"""Shannon entropy per character above which a long word is taken for a key: of hexadecimal digits it is at most 4."""


class Redactor:
    """Replaces e-mail addresses, phone numbers, card numbers and keys, and counts them by kind.

    Args:
        region: the country, as ISO 3166 has it, of phone numbers that are written without theirs.
    """

    def __init__(self, region: str = "US") -> None:
        self.counts: Counter[str] = Counter()
        self._region = region

    def redact(self, text: str) -> str:
        """The text with a placeholder for each of them; the same text always gives the same."""
        text, found = replace_named_secrets(text, "[KEY]")
        if found:
            self.counts["key"] += found
        text = self._replace(_KNOWN_KEY, "key", text)
        text = _LONG_WORD.sub(self._if_random, text)
        if "@" in text:
            text = self._replace(_EMAIL, "email", text)
        return _SEVEN_DIGITS.sub(self._phones, _CARD.sub(self._cards, text))

    def _replace(self, pattern: re.Pattern[str], kind: str, text: str) -> str:
        text, found = pattern.subn(f"[{kind.upper()}]", text)
        if found:
            self.counts[kind] += found
        return text

    def _if_random(self, found: re.Match[str]) -> str:
        word = found[0]
        kinds = (str.isdigit, str.islower, str.isupper)
        if not all(any(map(kind, word)) for kind in kinds) or entropy(word) <= _RANDOM_BITS:
            return word
        if "/" in word and 8 * len(_CHANGE.findall(word)) < len(word):
            return word
        self.counts["key"] += 1
        return "[KEY]"

    def _cards(self, found: re.Match[str]) -> str:
        text, pieces, end, place = found[0], list[str](), 0, 0
        groups = list(_DIGITS.finditer(text))
        while place < len(groups):
            last = _last_of_card(groups, place)
            if last is not None:
                pieces += [text[end : groups[place].start()], "[CARD]"]
                end, place = groups[last].end(), last
            place += 1
        return self._put_together("card", pieces, text[end:])

    def _phones(self, digits: re.Match[str]) -> str:
        from phonenumbers import PhoneNumberMatcher

        text, pieces, end = digits[0], list[str](), 0
        for found in PhoneNumberMatcher(text, self._region):
            pieces += [text[end : found.start], "[PHONE]"]
            end = found.end
        return self._put_together("phone", pieces, text[end:])

    def _put_together(self, kind: str, pieces: list[str], rest: str) -> str:
        """Text and placeholder by turns, and the rest of the text."""
        if pieces:
            self.counts[kind] += len(pieces) // 2
        return "".join((*pieces, rest))


def _last_of_card(groups: list[re.Match[str]], first: int) -> int | None:
    """The place of the last group of digits of the card number that begins with the group at `first`."""
    digits, last = list[int](), None
    for place in range(first, len(groups)):
        group = groups[place][0]
        if place > first and not {len(groups[first][0]), len(group)} <= set(_CARD_GROUP):
            break
        digits += map(int, group)
        if digits[0] not in _CARD_BEGINS or len(digits) > _CARD_DIGITS[-1]:
            break
        if len(digits) in _CARD_DIGITS and passes_luhn(digits):
            last = place
    return last


def require_region(region: str) -> None:
    """Phone numbers of the region are known.

    Raises:
        BadInput: there is no such region.
    """
    from phonenumbers import SUPPORTED_REGIONS

    if region not in SUPPORTED_REGIONS:
        raise BadInput(f"{region} is no region with phone numbers: give two letters as US, GB or AU", region=region)


def passes_luhn(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * digit if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0 and any(digits)


def entropy(word: str) -> float:
    """Shannon entropy of the word's characters, in bits per character."""
    shares = [count / len(word) for count in Counter(word).values()]
    return -sum(share * math.log2(share) for share in shares)
