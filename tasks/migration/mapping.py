"""How any table fills one of ours: a mapping that is written down, and what is wrong with it in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import ARRAY, Column, DateTime, Float, Integer, Numeric, Table, Text

from schemas.errors import BadInput, ConfigurationError
from schemas.tables import Base
from tasks.migration.emptiness import EITHER, may_be_empty

BOOKKEEPING = frozenset({"id", "attributes", "source", "content_hash", "migration_run_id"})
UNIX = ("unix", "unix_ms")
_CHOICES = re.compile(r"^(\w+) IN \((.*)\)$")
_RANGE = re.compile(r"^(\w+) (?:BETWEEN (\S+)|>= (\S+)) AND (?:\1 <= )?(\S+)$")
_LEAST = re.compile(r"^(\w+) >= (\S+)$")


class ColumnMapping(BaseModel):
    """Where a column's values come from and what is done to them.

    Attributes:
        from_: field of the source.
        value: the same for all rows, instead of a field.
        default: for rows that have no value.
        map: values of the source, as text, and what they are here; others stay as they are.
        scale: what numbers are multiplied by.
        format: of times that are not ISO 8601: as in `strptime`, or `unix` or `unix_ms`.
        zone: of times that do not say theirs; UTC when not given.
        separator: what stands between the items of a list that is kept as text.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    from_: str | None = Field(default=None, alias="from")
    value: Any = None
    default: Any = None
    map: dict[str, Any] = {}
    scale: Decimal | None = Field(default=None, allow_inf_nan=False)
    format: str | None = None
    zone: str | None = None
    separator: str | None = Field(default=None, min_length=1)


class TableMapping(BaseModel):
    """How a table fills `target`.

    Attributes:
        table: which, of a source that has several.
        key: fields that together name a row; joined by `/` they are its id here.
        columns: by our column, the field of the source, or a `ColumnMapping`.
        references: policies of columns that name rows of other tables: `reject` when not given, `null` or `abort`.
        secrets: fields that are refused, beside those whose name says that they hold a secret.
    """

    model_config = ConfigDict(extra="forbid")

    target: str
    table: str = ""
    key: list[str] = Field(min_length=1)
    columns: dict[str, ColumnMapping] = Field(min_length=1)
    references: dict[str, Literal["reject", "null", "abort"]] = {}
    secrets: list[str] = []

    @field_validator("key", mode="before")
    @classmethod
    def _one_field(cls, key: Any) -> Any:
        return [key] if isinstance(key, str) else key

    @field_validator("columns", mode="before")
    @classmethod
    def _fields(cls, columns: Any) -> Any:
        if not isinstance(columns, dict):
            return columns
        return {name: {"from": each} if isinstance(each, str) else each for name, each in columns.items()}


def read_mapping(mapping: dict[str, Any]) -> TableMapping:
    """`mapping`, which fits the tables there are.

    Raises:
        BadInput: it does not; the message has a sentence for each mistake.
    """
    try:
        read = TableMapping.model_validate(mapping)
    except ValidationError as error:
        wrong = [f"{_place(fault['loc'])}: {_sentence(fault['type'], fault['msg'])}" for fault in error.errors()]
        raise BadInput(f"the mapping does not fit: {'; '.join(wrong)}") from error
    if wrong := list(_mistakes(read)):
        raise BadInput(f"the mapping does not fit: {'; '.join(wrong)}")
    return read


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "mapping"


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such setting"
    return "it is needed" if kind == "missing" else message[0].lower() + message[1:]


def targets() -> dict[str, Table]:
    """Tables that a mapping can fill: rows there may come from elsewhere and are called by text."""
    return {
        name: table
        for name, table in sorted(Base.metadata.tables.items())
        if set(table.columns.keys()) >= BOOKKEEPING and isinstance(table.columns["id"].type, Text)
    }


@dataclass(frozen=True)
class Limits:
    """What a column's check allows: one of some texts, or numbers in a range; None where it has no such check."""

    choices: tuple[str, ...] | None = None
    lowest: float | None = None
    highest: float | None = None


def limits(table: Table) -> dict[str, Limits]:
    """What the checks of `table` allow, by column.

    Raises:
        ConfigurationError: a check has a form that is not understood, so that rows could be refused unforeseen.
    """
    found = {}
    for constraint in table.constraints:
        check = str(getattr(constraint, "sqltext", ""))
        if choices := _CHOICES.match(check):
            found[choices[1]] = Limits(choices=tuple(re.findall(r"'([^']*)'", choices[2])))
        elif bounds := _RANGE.match(check):
            found[bounds[1]] = Limits(lowest=float(bounds[2] or bounds[3]), highest=float(bounds[4]))
        elif least := _LEAST.match(check):
            found[least[1]] = Limits(lowest=float(least[2]))
        elif check and not EITHER.match(check):
            raise ConfigurationError(f"{table.name} has a check that no mapping can foresee: {check}")
    return found


def parents(table: Table) -> dict[str, str]:
    """The table that each column names rows of."""
    return {constraint.columns[0].name: constraint.referred_table.name for constraint in table.foreign_key_constraints}


def _mistakes(mapping: TableMapping) -> Iterator[str]:
    table = targets().get(mapping.target)
    if table is None:
        yield f"target: there is no table {mapping.target} that a mapping can fill; there are {', '.join(targets())}"
        return
    free = {name: column for name, column in table.columns.items() if name not in BOOKKEEPING}
    needed = [
        name
        for name, column in free.items()
        if not may_be_empty(column) and column.server_default is None and name not in mapping.columns
    ]
    if needed:
        yield f"columns: {table.name} needs {', '.join(needed)}"
    allowed = limits(table)
    for name, given in mapping.columns.items():
        place = f"columns.{name}"
        if name in free:
            yield from (f"{place}: {wrong}" for wrong in _misfits(given, free[name], allowed.get(name, Limits())))
        elif name == "id":
            yield f"{place}: the id is made of the fields that key names"
        else:
            yield f"{place}: {table.name} has no such column to fill; it has {', '.join(free)}"
    yield from _wrong_references(mapping, table)


def _misfits(given: ColumnMapping, column: Column[Any], allowed: Limits) -> Iterator[str]:
    if (given.from_ is None) == (given.value is None):
        yield "it needs either from, a field of the source, or value, the same for all rows"
    if given.scale is not None and not isinstance(column.type, Integer | Float | Numeric):
        yield "only numbers have a scale"
    if (given.format or given.zone) and not isinstance(column.type, DateTime):
        yield "only times have a format and a zone"
    if given.separator is not None and not isinstance(column.type, ARRAY):
        yield "only lists have a separator"
    if given.format is not None and given.format not in UNIX and "%" not in given.format:
        yield f"format is {given.format!r}, but should be as in strptime, {' or '.join(UNIX)}"
    if given.zone is not None and not _is_zone(given.zone):
        yield f"there is no time zone {given.zone!r}; one is called as Europe/Berlin"
    if allowed.choices is not None:
        made = [*given.map.values(), given.default, given.value]
        wrong = [value for value in made if value is not None and value not in allowed.choices]
        if wrong:
            yield f"it cannot be {', '.join(map(repr, wrong))}; it can be {', '.join(allowed.choices)}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _wrong_references(mapping: TableMapping, table: Table) -> Iterator[str]:
    known = parents(table)
    for name, policy in mapping.references.items():
        if name not in known:
            listed = ", ".join(known) or "none that does"
            yield f"references.{name}: it names no row of another table; of {table.name} there is {listed}"
        elif policy == "null" and not may_be_empty(table.columns[name]):
            yield f"references.{name}: it cannot be null; it can be reject or abort"
