"""What a row may leave empty."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column

EITHER = re.compile(r"^(\w+) IS NOT NULL OR \w+ IS NOT NULL$")
"""A check that wants one of two columns."""


def may_be_empty(column: Column[Any]) -> bool:
    """True where a row without a value is a row; of two columns of which one is wanted, what is moved has the first."""
    checks = (EITHER.match(str(getattr(each, "sqltext", ""))) for each in column.table.constraints)
    return bool(column.nullable) and column.name not in {check[1] for check in checks if check}
