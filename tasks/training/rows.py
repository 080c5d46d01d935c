"""The rows that calls make, before it is decided which of them are written and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from schemas.training import PAIRED, ExportOptions
from tasks.training.examples import Example, example_of, redacted
from tasks.training.formats import Row, rows_of
from tasks.training.pairs import pairs_of
from tasks.training.reading import CallRead
from tasks.training.redaction import Redactor

SetAside = Callable[[tuple[UUID, ...], str], None]


@dataclass
class RowMaker:
    """Makes rows of calls; the same calls always make the same rows.

    Attributes:
        set_aside: is told the calls that make none, and why.
        calls: so many were read.
    """

    options: ExportOptions
    redactor: Redactor
    set_aside: SetAside
    calls: int = 0

    def rows(self, calls: Iterable[CallRead]) -> Iterator[Row]:
        """Every row there is, in the order of the calls."""
        if self.options.format in PAIRED:
            for _, group in groupby(self._examples(calls), key=lambda example: example.asked):
                yield from self._pairs([*group])
            return
        options = self.options
        for example in self._examples(calls):
            made = rows_of(example, options)
            if isinstance(made, str):
                self.set_aside((example.id,), made)
            else:
                yield from made

    def _examples(self, calls: Iterable[CallRead]) -> Iterator[Example]:
        redact = self.options.redact
        for call in calls:
            self.calls += 1
            made = example_of(call)
            if redact and not isinstance(made, str):
                made = redacted(made, self.redactor)
            if isinstance(made, str):
                self.set_aside((call.id,), made)
            else:
                yield made

    def _pairs(self, group: list[Example]) -> Iterator[Row]:
        paired: set[UUID] = set()
        for row in pairs_of(group, self.options):
            paired.update(row.ids)
            yield row
        for example in group:
            if example.id not in paired:
                self.set_aside((example.id,), "no other answer to the same prompt is known to be better or worse")
