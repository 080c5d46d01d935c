"""Feedback in bulk: a CSV file with a line for each response that was rated."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from os.path import isfile
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from schemas.choices import Rating
from schemas.errors import BadInput, NotFound
from schemas.feedback import FeedbackReport, RejectedFeedback
from tasks.ledger.feedback import give_feedback
from tasks.ledger.session import open_ledger

COLUMNS = ("response", "rating", "user", "notes", "categories", "correction")
BETWEEN_CATEGORIES = ";"
LARGEST_FIELD = 16 * 1024 * 1024


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
    `correction`. A line that is given again replaces what it said before, so that a file can be given twice.

    Args:
        user: who said so in lines that name nobody.

    Raises:
        BadInput: the file cannot be read to its end, or a column is missing, twice or unknown; nothing is recorded
            (of a pipe, what came before that is).
    """
    _require_whole(path)
    recorded, rejected = 0, []
    async with open_ledger():
        for number, fields in _lines(path):
            try:
                line = _Line.model_validate(fields)
                await give_feedback(
                    line.response,
                    line.rating,
                    notes=line.notes,
                    user=line.user or user,
                    categories=line.categories,
                    correction=line.correction,
                )
            except ValidationError as error:
                faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
                rejected.append(RejectedFeedback(row=number, reason=faults))
            except (BadInput, NotFound) as error:
                rejected.append(RejectedFeedback(row=number, reason=str(error)))
            else:
                recorded += 1
    return FeedbackReport(recorded=recorded, rejected=tuple(rejected), status="failed" if rejected else "completed")


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
