"""What is known of the file that a model learns from: its hash and its rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BadInput


@dataclass(frozen=True)
class TrainingFile:
    """A file of training rows, one a line."""

    path: Path
    sha256: str
    rows: int


def read_training_file(path: Path) -> TrainingFile:
    """Hash and number of rows of the file, read once, in flat memory; lines of white space are no rows.

    Raises:
        BadInput: it cannot be read, or has no row.
    """
    digest, rows = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                rows += bool(line.strip())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if not rows:
        raise BadInput(f"{path} has no row to learn from")
    return TrainingFile(path, digest.hexdigest(), rows)
