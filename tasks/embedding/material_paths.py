"""What the path of a file says of a material: its type and its week.

The file's name is asked first, then the folders from the inside out, up to the one that was given. `week-3`, `week_03`,
`wk3` and `w3` are week 3; a type is a word of the name: `lecture-3.md`, `hw2.tex`, `03 Slides/intro.pdf`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from schemas.choices import MaterialType

OTHERWISE: MaterialType = "reading"


def type_of(names: Iterable[str]) -> MaterialType | None:
    """The type that the first of `names` with such a word says."""
    for name in names:
        for word in _WORD.findall(name.lower()):
            if word in _TYPES:
                return _TYPES[word]
    return None


def week_of(names: Iterable[str]) -> int | None:
    """The week that the first of `names` with one says."""
    found = (_WEEK.search(name) for name in names)
    return next((int(match[1]) for match in found if match), None)


def names_of(path: PurePath, given: PurePath) -> Sequence[str]:
    """The file's name and those of its folders, from the inside out, up to `given` (its own folder for a file)."""
    below = path.relative_to(given).parts if path != given else ()
    names = [given.name, *below] if below else [given.parent.name, given.name]
    return [PurePath(names[-1]).stem, *reversed(names[:-1])]


_WORD = re.compile(r"[^\W\d_]+")
_WEEK = re.compile(r"(?<![^\W\d_])(?:week|wk|w)[ _-]?0*(\d{1,2})(?!\d)", re.IGNORECASE)
_WORDS: dict[MaterialType, str] = {
    "lecture": "lecture lectures lec lect",
    "slide": "slide slides deck",
    "lab": "lab labs practical",
    "assignment": "assignment assignments homework hw pset problem problems exercise exercises",
    "reading": "reading readings paper papers article articles",
    "textbook": "textbook textbooks book chapter chapters",
    "note": "note notes",
    "syllabus": "syllabus",
    "schedule": "schedule calendar timetable",
}
_TYPES = {word: kind for kind, words in _WORDS.items() for word in words.split()}
