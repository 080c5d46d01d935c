"""A text that a regular expression matches, chosen by a random generator."""

from __future__ import annotations

import random
import string
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_lowercase + string.digits,
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_lowercase,
    "CATEGORY_NOT_WORD": " -",
    "CATEGORY_NOT_SPACE": string.ascii_lowercase,
}
_PRINTABLE = string.ascii_letters + string.digits + " -_.,:;/"


def text_matching(pattern: str, chance: random.Random) -> str:
    """A text matched by `pattern`: literals, classes, groups, alternatives and repetition are understood."""
    return "".join(_piece(str(op), argument, chance) for op, argument in parser.parse(pattern))


def _piece(op: str, argument: Any, chance: random.Random) -> str:
    match op:
        case "LITERAL":
            return chr(argument)
        case "ANY":
            return chance.choice(string.ascii_lowercase)
        case "NOT_LITERAL":
            return chance.choice(_PRINTABLE.replace(chr(argument), ""))
        case "IN":
            return chance.choice(_characters(argument))
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = argument
            return "".join(_sequence(inner, chance) for _ in range(chance.randint(least, min(int(most), least + 3))))
        case "SUBPATTERN":
            return _sequence(argument[3], chance)
        case "BRANCH":
            return _sequence(chance.choice(argument[1]), chance)
        case "AT":
            return ""
    raise ValueError(f"this generator does not know {op} in a pattern")


def _sequence(items: Any, chance: random.Random) -> str:
    return "".join(_piece(str(op), argument, chance) for op, argument in items)


def _characters(items: Any) -> str:
    negated, found = False, ""
    for op, argument in items:
        match str(op):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found += chr(argument)
            case "RANGE":
                found += "".join(map(chr, range(argument[0], argument[1] + 1)))
            case "CATEGORY":
                found += _CATEGORIES[str(argument)]
    return "".join(c for c in _PRINTABLE if c not in found) if negated else found
