"""Which responses are meant: by experiment, model, tag, day, and conditions on what was asked and answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from schemas.canonical import postgres_text
from schemas.errors import BadInput
from schemas.sweep import PARAMETERS

_CONDITION = re.compile(r"\s*([A-Za-z_][\w./:@+-]*)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_TEXT_OPERATORS = {"=", "!=", "~"}
SAMPLE = "temperature<=0.7, overall>=0.8, content~lock, status=succeeded"


@dataclass(frozen=True)
class Condition:
    """One restriction: `field operator value`, as `temperature<=0.7`; `~` is for text within a text."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True)
class ResponseFilter:
    """Which responses; what is empty does not restrict.

    Attributes:
        experiments: ids, names or beginnings of ids.
        tags: of the experiment; all of them.
        models: any of them.
        since, until: first and last day of the answer, in UTC.
        where: all of them hold; see `parse_condition`.
        archived: responses of archived experiments too; those of an experiment that is named are always meant.
        analysis_version: of the scores.
    """

    experiments: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    where: tuple[Condition, ...] = field(default=())
    archived: bool = False
    analysis_version: str = ""


def parse_condition(said: str) -> Condition:
    """A condition as it is written: a field or metric, one of = != < <= > >= ~, and a value.

    Raises:
        BadInput: it is written otherwise.
    """
    found = _CONDITION.fullmatch(said)
    if found is None or not found[3]:
        raise BadInput(f"--where {said!r} is no condition: write them as {SAMPLE}")
    return Condition(found[1], found[2], found[3])


@dataclass(frozen=True)
class Field:
    """What a condition can be about: how it is found in SQL, and how its values are read."""

    sql: str
    read: Callable[[str], Any]
    is_text: bool = False


def _number(said: str) -> Decimal:
    try:
        number = Decimal(said)
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not number.is_finite() or abs(number.adjusted()) > 300:
        raise ValueError("is no number that is stored")
    return number


def _truth(said: str) -> bool:
    known = {"true": True, "yes": True, "false": False, "no": False}
    if said.lower() not in known:
        raise ValueError("is neither true nor false")
    return known[said.lower()]


def _time(said: str) -> datetime:
    found = datetime.fromisoformat(said)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _score(said: str) -> Decimal:
    number = _number(said)
    if not 0 <= number <= 1:
        raise ValueError("is no score: scores are stored from 0 to 1, so that 80 of 100 is 0.8")
    return number


NUMBERS = (*PARAMETERS, "repetition", "input_tokens", "output_tokens", "total_tokens", "latency_ms", "cost_usd")
TEXTS = ("id", "content", "system_prompt", "status", "finish_reason", "error_class", "error_message")
FIELDS: Mapping[str, Field] = {
    "experiment": Field("experiments.name", postgres_text, is_text=True),
    "experiment_status": Field("experiments.status", postgres_text, is_text=True),
    "model": Field("coalesce(responses.model, experiments.model)", postgres_text, is_text=True),
    "prompt": Field("coalesce(responses.prompt, experiments.prompt)", postgres_text, is_text=True),
    **{name: Field(f"responses.{name}", postgres_text, is_text=True) for name in TEXTS},
    **{name: Field(f"responses.{name}", _number) for name in NUMBERS},
    "replayed": Field("coalesce(responses.replayed, false)", _truth),
    "created_at": Field("responses.created_at", _time),
}


def conditions_in_sql(conditions: Collection[Condition], metrics: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """`AND …` for each condition, and its values; of what is not known, only `!=` holds.

    Args:
        metrics: that there are scores of: the columns `score_0`, `score_1` … of `scores`.

    Raises:
        BadInput: there is no such field or metric, or its values are others.
    """
    said: list[str] = []
    values: dict[str, Any] = {}
    for place, condition in enumerate(conditions):
        found = FIELDS.get(condition.field)
        if found is None and condition.field not in metrics:
            known = ", ".join([*FIELDS, *metrics])
            raise BadInput(f"there is nothing called {condition.field} to filter by; there are {known}")
        found = found or Field(f"scores.score_{metrics.index(condition.field)}", _score)
        values[f"value_{place}"] = _value(condition, found)
        said.append(f"AND {_compared(found, condition.operator, f':value_{place}')}")
    return "\n".join(said), values


def _value(condition: Condition, found: Field) -> Any:
    told = f"{condition.field}{condition.operator}{condition.value}"
    if (condition.operator == "~") and not found.is_text:
        raise BadInput(f"--where {told}: ~ looks for text, and {condition.field} is none")
    if found.is_text and condition.operator not in _TEXT_OPERATORS:
        raise BadInput(f"--where {told}: {condition.field} is text, for which there are = != and ~")
    try:
        return found.read(condition.value)
    except ValueError as error:
        raise BadInput(f"--where {told}: {condition.value} {error}") from None


def _compared(found: Field, operator: str, value: str) -> str:
    if operator == "~":
        return f"strpos(lower({found.sql}), lower({value})) > 0"
    if operator == "!=":
        return f"{found.sql} IS DISTINCT FROM {value}"
    return f"{found.sql} {operator} {value}"
