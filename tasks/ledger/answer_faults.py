"""What is wrong with an answer that does not fit its schema: for the model in full, for everybody else without a word
of the answer, which can repeat the prompt."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

CUT_OFF = "the answer was cut off at the token limit; it must be shorter"
MOST_FAULTS = 5
QUIET = frozenset[str](get_args(ErrorType)) - {"value_error", "assertion_error", "union_tag_invalid"}
"""Kinds of fault that Pydantic words without repeating what it was given."""


def faults_of(error: ValidationError, schema: dict[str, Any] | None = None) -> str:
    """The first faults, in one line.

    Args:
        schema: of the answer, where nothing of the answer may be repeated but names that stand there.
    """
    known = None if schema is None else _names_in(schema)
    faults = error.errors(include_url=False)[:MOST_FAULTS]
    return "; ".join(f"{_place(fault, known)}: {_words(fault, known)}" for fault in faults)


def _place(fault: ErrorDetails, known: frozenset[str] | None) -> str:
    parts = (str(part) if known is None or isinstance(part, int) or part in known else "…" for part in fault["loc"])
    return ".".join(parts) or "answer"


def _words(fault: ErrorDetails, known: frozenset[str] | None) -> str:
    return fault["msg"] if known is None or fault["type"] in QUIET else "is not as it should be"


def _names_in(schema: Any) -> frozenset[str]:
    """Names of the properties that a JSON schema speaks of."""
    if isinstance(schema, list):
        return frozenset[str]().union(*map(_names_in, schema))
    if not isinstance(schema, dict):
        return frozenset()
    own = schema.get("properties")
    return frozenset[str](own if isinstance(own, dict) else ()).union(*map(_names_in, schema.values()))
