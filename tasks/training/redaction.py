"""Personal data and secrets replaced by what they were: `[EMAIL]`, `[PHONE]`, `[CARD]`, `[KEY]`."""

from __future__ import annotations

import math
import re
from collections import Counter

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
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",  # JSON Web Token
)
_KNOWN_KEY = re.compile(
    rf"\b(?:{'|'.join(PREFIXES)})|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_LONG_WORD = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{32,}={0,2}(?![\w+/=-])")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")
_SEVEN_DIGITS = re.compile(r"(?<!\w)[+(]{0,2}\d(?:[^\w\n]{0,3}\d){6,}(?!\w)")
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
        text = self._replace(_KNOWN_KEY, "key", text)
        text = _LONG_WORD.sub(self._if_random, text)
        if "@" in text:
            text = self._replace(_EMAIL, "email", text)
        if _SEVEN_DIGITS.search(text) is None:
            return text
        return _SEVEN_DIGITS.sub(self._phones, _CARD.sub(self._if_card, text))

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
        self.counts["key"] += 1
        return "[KEY]"

    def _if_card(self, found: re.Match[str]) -> str:
        if not passes_luhn([int(digit) for digit in found[0] if digit.isdecimal()]):
            return found[0]
        self.counts["card"] += 1
        return "[CARD]"

    def _phones(self, digits: re.Match[str]) -> str:
        from phonenumbers import PhoneNumberMatcher

        text, pieces, end = digits[0], list[str](), 0
        for found in PhoneNumberMatcher(text, self._region):
            pieces += [text[end : found.start], "[PHONE]"]
            end = found.end
        self.counts["phone"] += len(pieces) // 2
        return "".join((*pieces, text[end:]))


def passes_luhn(digits: list[int]) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * digit if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0 and any(digits)


def entropy(word: str) -> float:
    """Shannon entropy of the word's characters, in bits per character."""
    shares = [count / len(word) for count in Counter(word).values()]
    return -sum(share * math.log2(share) for share in shares)
