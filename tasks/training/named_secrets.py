"""Secrets that are known by what stands before them: `password=…`, `"api_key": "…"`, `Bearer …`, `://user:…@`.

What is assigned to such a name is most often no secret but a variable, a type or a word of prose. Like gitleaks and
detect-secrets, this leaves alone what has blanks in it, templates, calls, and what is letters alone; the last but for
passwords, which people do make of letters: between quotes, after an equals sign, or as the last word of a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Each begins with a letter that is always the same: what looks for them passes quickly over everything else.
_PASSWORD = r"pass(?:word|wd|phrase|code)|pwd|_pass|-pass"
_KEY = "|".join(f"{name}[ _-]?key" for name in ("api", "access", "auth", "account", "private", "signing", "encryption"))
_NAME = rf"{_PASSWORD}|secret(?:[ _-]?access)?(?:[ _-]?key)?|{_KEY}|token|credentials?"
# Every part but the value is of limited length, and a value is passed over once: the time is linear in the text.
_ASSIGNED = re.compile(
    rf"""
    (?P<name>{_NAME}) (?![a-z]) _?\d{{0,3}} [\\"'`*\])]{{0,4}}
    (?P<operator>
        [^\S\n]{{0,20}} (?> :[^\S\n]?[a-z_][\w.]{{0,30}}[ ]=[ ] | :=? | ={{1,3}}>? ) \*{{0,2}} [^\S\n]{{0,40}}
    )
    (?: (?P<quote>\\{{0,8}}["'`]) (?P<quoted>(?:(?!(?P=quote))(?:\\\S|[^\s\\]))++) (?P=quote)
      | (?P<bare>[^\s"'`,;&<>()\[\]{{}}|\\]++) (?![(\[{{]) )
    """,
    re.VERBOSE,
)
_BEARER = re.compile(
    r"""(?<!\w)(?:bearer|authorization\\?["']?[^\S\n]{0,4}[:=][^\S\n]{0,4}\\?["']?(?:basic|token))[^\S\n]{1,4}"""
    r"(?P<bare>[\w.~+/-]{4,}+={0,2})"
)
_IN_ADDRESS = re.compile(r"""://[^\s/?#:@"'<>]{0,64}:(?P<bare>[^\s/@"'<>\[\]{}$]{1,128})@""")
_HINTS = {
    _ASSIGNED: ("pass", "pwd", "secret", "key", "token", "credential"),
    _BEARER: ("bearer", "authorization"),
    _IN_ADDRESS: ("://",),
}

_A_PASSWORD = re.compile(_PASSWORD)
_A_NAME = re.compile(_NAME)
_LETTERS = re.compile(r"[^\W\d]+(?:[.-]+[^\W\d]+)*")
_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_UNLIKE_WORDS = re.compile(r"[\d!@#$%^&*+=~?]")
_TEMPLATE_BEGINS = tuple("$%{<[*")
_NOT_ALL_OF_IT = ("...", "…", "://", "${", "{{", "<", "[key]")
"""An address, a template or an example is of several parts."""
_ENDS_LINE = re.compile(r"[^\S\n]*(?:\n|\Z)")
_CLOSES = ".,:!?"
_STATES = """
    any bool boolean bytes changed changeme char correct default disabled dummy empty enabled encrypted example
    expired false forgotten hashed here hidden incorrect input integer invalid mandatory masked missing mixed needed
    null none number object optional plain please prompt random redacted removed required reset secretstr string
    strong test text todo true unchanged undefined unique unknown unset value varchar weak wrong
"""
_ABOUT_IT = frozenset(_STATES.split())
"""Types, states and other words that say something of a password."""
FEWEST = 4
FEWEST_OF_LAST_WORD = 6
FEWEST_OF_KEYS = 6
FEWEST_DIFFERENT = 3
"""Different signs that a secret has at least: `xxxxxx` stands for one."""


def replace_named_secrets(text: str, placeholder: str) -> tuple[str, int]:
    """The text with a placeholder for the value of each, and how many there were; their names stay."""
    replaced = 0
    for pattern, hints in _HINTS.items():
        lowered = text.replace("İ", "I").lower()  # the one letter that is two in lower case
        if not any(hint in lowered for hint in hints):
            continue
        pieces, end = list[str](), 0
        for found in pattern.finditer(lowered):
            value = _Value(found, text)
            if value.is_secret():
                pieces += [text[end : value.begin], placeholder]
                end = value.end
        replaced += len(pieces) // 2
        text = "".join((*pieces, text[end:]))
    return text, replaced


@dataclass(slots=True)
class _Value:
    """What a pattern found to be named in `text`, of which it saw the lower case."""

    found: re.Match[str]
    text: str
    quoted: bool = False
    begin: int = 0
    end: int = 0
    lowered: str = ""

    def __post_init__(self) -> None:
        self.quoted = self.found.re is _ASSIGNED and self.found["quoted"] is not None
        group = "quoted" if self.quoted else "bare"
        self.lowered = self.found[group] if self.quoted else self.found[group].rstrip(_CLOSES)
        self.begin = self.found.start(group)
        self.end = self.begin + len(self.lowered)

    def is_secret(self) -> bool:
        if self.found.re is _IN_ADDRESS:
            return not self._is_word_about_it()
        if not self._stands_for_itself():
            return False
        if self.found.re is _BEARER:
            return self._has_letter_and_digit() and len(self.lowered) >= FEWEST
        if not _A_PASSWORD.fullmatch(self.found["name"]):
            return self._is_like_a_key()
        a_password = not self._is_word_about_it() if self.quoted else self._is_bare_password()
        return len(self.lowered) >= FEWEST and a_password

    def _stands_for_itself(self) -> bool:
        """Whether it is no template, such as `${PASSWORD}` or `<token>`, and not blacked out."""
        different = len({*self.lowered} - {*"_-."}) >= FEWEST_DIFFERENT
        in_parts = any(part in self.lowered for part in _NOT_ALL_OF_IT)
        return different and not in_parts and not self.lowered.startswith(_TEMPLATE_BEGINS)

    def _has_letter_and_digit(self) -> bool:
        return any(map(str.isalpha, self.lowered)) and any(map(str.isdigit, self.lowered))

    def _is_like_a_key(self) -> bool:
        is_variable = not self.quoted and _PATH.fullmatch(self.lowered)
        return len(self.lowered) >= FEWEST_OF_KEYS and self._has_letter_and_digit() and not is_variable

    def _is_bare_password(self) -> bool:
        after = self.found.string[self.end : self.end + 1]
        assigned = self.found["operator"].strip("*") == "="
        ends_line = _ENDS_LINE.match(self.found.string, self.end) is not None
        if self.lowered[0] in "/~" or _PATH.fullmatch(self.lowered):
            return False
        if not any(map(str.isalpha, self.lowered)):
            return assigned or ends_line
        if not _LETTERS.fullmatch(self.lowered):
            argument = after in {",", ")"} and self.lowered.isidentifier() and _A_NAME.search(self.lowered)
            return _UNLIKE_WORDS.search(self.lowered) is not None and not argument
        if self._is_word_about_it() or not self.lowered.isalpha():
            return False
        last_word = (
            ends_line and len(self.lowered) >= FEWEST_OF_LAST_WORD and self.text[self.begin : self.end].islower()
        )
        return after not in {",", ")"} if assigned else last_word

    def _is_word_about_it(self) -> bool:
        """Whether it is a word as `required`, or made of such a name, as `your-password` and `DB_PASSWORD`."""
        made_of_name = _LETTERS.fullmatch(self.lowered) and _A_NAME.search(f"_{self.lowered}")
        return self.lowered in _ABOUT_IT or bool(made_of_name)
