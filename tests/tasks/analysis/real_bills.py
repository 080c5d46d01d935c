"""The real bills that the tests read where they are at hand; they are no part of the project."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "../shared/data/bills"
WEIRD = FOLDER.parent / "weird"
EXAMPLES = Path(__file__).parents[3] / "examples"


@cache
def names() -> list[str]:
    """Ids of all real bills; empty where the data is absent."""
    index = FOLDER / "bills.jsonl"
    if not index.exists():
        return []
    return sorted(json.loads(line)["bill_id"] for line in index.read_text().splitlines())


@cache
def text_of(name: str) -> str:
    """The text of one real bill; the test is skipped where it is absent."""
    path = FOLDER / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"needs {path}, which is not on this machine")
    return path.read_text(encoding="utf-8")


each_bill = pytest.mark.parametrize(
    "name", names() or [pytest.param("", marks=pytest.mark.skip(reason=f"needs the bills in {FOLDER}"))]
)
