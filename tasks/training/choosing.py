"""Which rows are nearly equal to earlier ones, and which file each belongs to, known once all have been seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.training import ExportOptions
from tasks.training.examples import Turn, family_of, first_question
from tasks.training.formats import Row
from tasks.training.likeness import Likeness


@dataclass
class Choice:
    """What is known of rows by their number, from 0; nothing, where nothing had to be looked at beforehand."""

    options: ExportOptions
    groups: list[int] = field(default_factory=list)
    testing: bytearray = field(default_factory=bytearray)
    _taken: set[tuple[int, object]] = field(default_factory=set)

    def part(self, number: int, row: Row) -> str:
        """The file of the row: rows of one prompt family, and of those alike to it, have the same."""
        if self.testing:
            return "test" if self.testing[number] else "train"
        return "test" if is_for_testing(row.prompt, self.options.test_share, self.options.seed) else "train"

    def take(self, number: int, row: Row) -> bool:
        """Whether no row that is nearly equal was taken; from now on, one was.

        An answer to follow and one to avoid are not, however alike they are: the difference is what is to be learned.
        """
        if not self.groups:
            return True
        group = (self.groups[number], row.record.get("label"))
        if group in self._taken:
            return False
        self._taken.add(group)
        return True


def looks_first(options: ExportOptions) -> bool:
    """Whether the calls have to be read twice."""
    return bool(options.near or (options.test_share and options.family_likeness))


def choose(rows: Iterable[Row], options: ExportOptions) -> Choice:
    """All rows have been looked at; they must come in the same order when they are written.

    Memory: about 210 bytes a row for each of the two looks (nearly equal rows, prompts that are alike), and 100 where
    they are put in groups.
    """
    whole = Likeness(options.near) if options.near else None
    asked = Likeness(options.family_likeness) if options.test_share and options.family_likeness else None
    testing = bytearray()
    for row in rows:
        if whole is not None:
            whole.add("\n".join([*(turn["content"] for turn in row.prompt), *row.answers]))
        if asked is not None:
            asked.add(first_question(row.prompt))
            testing.append(is_for_testing(row.prompt, options.test_share, options.seed))
    if asked is not None:
        testing = bytearray(testing[first] for first in asked.groups())
    return Choice(options, [] if whole is None else whole.groups(), testing)


def is_for_testing(prompt: Iterable[Turn], share: float, seed: str) -> bool:
    """Whether the prompt's family belongs to the test file: always all of it or nothing."""
    if not share:
        return False
    digest = hashlib.sha256(f"{seed}\0{family_of(prompt)}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
