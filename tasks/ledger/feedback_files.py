"""Feedback in bulk: a CSV file with a line for each response that was rated."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from sqlalchemy.exc import DBAPIError

from blocks.database import database_errors
from schemas.choices import Rating
from schemas.errors import BadInput, DatabaseUnavailable
from schemas.feedback import FeedbackReport, RejectedFeedback
from tasks.ledger.feedback import Said, give_together, said_of
from tasks.ledger.session import Ledger, open_ledger

COLUMNS = ("response", "rating", "user", "notes", "categories", "correction")
BETWEEN_CATEGORIES = ";"
LARGEST_FIELD = 16 * 1024 * 1024
LINES_AT_ONCE = 500
"""Of a transaction: it takes little longer than one with a single line."""
SIGNS_AT_ONCE = 4 << 20
"""Of such lines' texts, from which on a transaction has fewer."""


class _Line(BaseModel):
    """One line; what is empty was not said."""

    model_config = ConfigDict(extra="forbid")

    response: UUID
    rating: Rating
    user: str | None = None
    notes: str | None = None
    categories: tuple[str, ...] = ()
    correction: str | None = None

    @field_validator("categories", mode="before")
    @classmethod
    def _separate(cls, listed: str) -> tuple[str, ...]:
        return tuple(listed.split(BETWEEN_CATEGORIES))


async def give_feedback_of(path: Path, *, user: str | None = None) -> FeedbackReport:
    """The feedback in a CSV file is recorded, line by line; what is wrong with a line keeps back that line alone.

    The columns are `response` and `rating`, and any of `user`, `notes`, `categories` (separated by semicolons) and
    `correction`. A line that is given again replaces what it said before, so that a file can be given twice, also one
    of which an interruption has kept back the end.

    Args:
        user: who said so in lines that name nobody.

    Raises:
        BadInput: the file cannot be read to its end, or a column is missing, twice or unknown; nothing is recorded
            (of a pipe, what came before that is).
    """
    _require_whole(path)
    async with open_ledger() as ledger:
        giving = _Giving(ledger)
        try:
            for number, fields in _lines(path):
                await giving.add(number, fields, user)
        except BadInput:  # of a pipe: what came before counts
            await giving.give()
            raise
        await giving.give()
    rejected = tuple(sorted(giving.rejected, key=lambda line: line.row))
    return FeedbackReport(recorded=giving.recorded, rejected=rejected, status="failed" if rejected else "completed")


@dataclass
class _Giving:
    """Lines that are recorded some hundred at a time."""

    ledger: Ledger
    recorded: int = 0
    rejected: list[RejectedFeedback] = field(default_factory=list)
    _waiting: list[tuple[int, Said]] = field(default_factory=list)
    _signs: int = 0

    async def add(self, number: int, fields: dict[str, str], user: str | None) -> None:
        """The line is recorded soon, or rejected."""
        try:
            said = _said(fields, user)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            self._reject(number, faults)
        except BadInput as error:
            self._reject(number, str(error))
        else:
            self._waiting.append((number, said))
            self._signs += sum(map(len, fields.values()))
        if len(self._waiting) == LINES_AT_ONCE or self._signs > SIGNS_AT_ONCE:
            await self.give()

    async def give(self) -> None:
        """Everything that was added is recorded or rejected."""
        given, self._waiting, self._signs = self._waiting, [], 0
        try:
            await self._give(given)
        except (DBAPIError, DatabaseUnavailable):
            for line in given:  # what Postgres refuses keeps back none that came before it
                await self._give([line])

    async def _give(self, given: list[tuple[int, Said]]) -> None:
        if not given:
            return
        with database_errors():
            async with self.ledger.engine.begin() as connection:
                outcomes = await connection.run_sync(give_together, [said for _, said in given])
        for (number, _), refusal in zip(given, outcomes, strict=True):
            if refusal is None:
                self.recorded += 1
            else:
                self._reject(number, str(refusal))

    def _reject(self, number: int, reason: str) -> None:
        self.rejected.append(RejectedFeedback(row=number, reason=reason))


def _said(fields: dict[str, str], user: str | None) -> Said:
    line = _Line.model_validate(fields)
    return said_of(
        line.response,
        line.rating,
        notes=line.notes,
        user=line.user or user,
        categories=line.categories,
        correction=line.correction,
    )


def _require_whole(path: Path) -> None:
    """The file can be read to its end; a pipe, which can be read only once, is not looked at."""
    if isfile(path):
        deque(_lines(path), maxlen=0)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record that says something, with the number of its last line, without the fields that are empty."""
    csv.field_size_limit(LARGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restkey="fields without a column")
            _require_columns(path, reader.fieldnames or ())
            for record in reader:
                said = {name: value for name, value in record.items() if value}
                if said:
                    yield reader.line_num, said
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no CSV file in UTF-8: {error}") from error


def _require_columns(path: Path, names: object) -> None:
    there = [str(name) for name in names] if isinstance(names, list | tuple) else []
    missing = [name for name in COLUMNS[:2] if name not in there]
    unknown = [name for name in there if name not in COLUMNS]
    twice = [name for name in COLUMNS if there.count(name) > 1]
    if missing or unknown or twice:
        wrong = f"has an unknown column {', '.join(unknown)}" if unknown else f"has a column twice: {', '.join(twice)}"
        wrong = f"has no column {', '.join(missing)}" if missing else wrong
        others = ", ".join(COLUMNS[2:])
        raise BadInput(f"{path} {wrong}: it needs response and rating, and may have {others}")
