"""Any table into one of ours, by a mapping: CSV, JSON lines, Parquet, SQLite or whatever else can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, create_model
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    DefaultClause,
    Float,
    Integer,
    Numeric,
    SmallInteger,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from schemas.canonical import content_key, postgres_json
from schemas.errors import BadInput
from schemas.tables import Base
from tasks.migration.declaration import Kind, Reference, Table
from tasks.migration.emptiness import may_be_empty
from tasks.migration.fields import IN_UTC, Id
from tasks.migration.mapping import BOOKKEEPING, ColumnMapping, Limits, TableMapping, limits, parents, read_mapping
from tasks.migration.sql_records import SqlRecord, read_moment

if TYPE_CHECKING:
    from uuid import UUID

    from blocks.sources.records import Source

NAME = "table"
VERSION = "1"
WIDEST = Decimal(10) ** 10
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Named(SqlRecord):
    """A row that others refer to."""

    id: Id


def declare(mapping: dict[str, Any]) -> Kind:
    """The kind that `mapping` describes.

    Raises:
        BadInput: it does not fit our tables; the message has a sentence for each mistake.
    """
    read = read_mapping(mapping)
    target = Base.metadata.tables[read.target]
    named = {column: parent for column, parent in parents(target).items() if column in read.columns}
    main = Table(
        target.name,
        _model(read, named),
        target.name,
        references=tuple(
            Reference(column, parent, read.references.get(column, "reject")) for column, parent in named.items()
        ),
        prepare=partial(_prepare, read, dict(target.columns.items())),
        conversions=(IN_UTC, *_told(read)),
    )
    return Kind(
        name=NAME,
        version=f"{VERSION}:{content_key(read)[:16]}",
        description="Any table, by a mapping",
        open_source=partial(_open, read),
        secrets=frozenset(read.secrets),
        tables=(*(Table(parent, Named, parent) for parent in dict.fromkeys(named.values())), main),
    )


def _open(mapping: TableMapping, path: str) -> Source:
    from blocks.sources.opening import named_after_files, open_source
    from tasks.migration.adapting import AdaptedSource, WatchedTable, only_table

    source = open_source(path)
    names = list(source.tables())
    if not mapping.table and len(names) > 1:
        source.close()
        raise BadInput(
            f"{source.description} has the tables {', '.join(names)}: say in the mapping which `table` it is"
        )
    only = only_table(source, mapping.table, shown_as=mapping.target, by_any_name=named_after_files(path))
    said = list(only.said)
    if mapping.table and not any(name.casefold() == mapping.table.casefold() for name in names):
        said.append(f"the mapping names the table {mapping.table}, but a file has no name for its table; all was read")
    watched = WatchedTable(only.shown[mapping.target], _wanted(mapping), said)
    return AdaptedSource(source, {mapping.target: watched}, said)


def _wanted(mapping: TableMapping) -> dict[str, str]:
    """What is to be said of each field that the mapping names, if no record has it."""
    uses: dict[str, list[str]] = {field: ["key"] for field in mapping.key}
    for name, given in mapping.columns.items():
        if given.from_ is not None:
            uses.setdefault(given.from_, []).append(f"columns.{name}")
    return {
        field: f"no record has the field {field}, which the mapping names in {', '.join(uses[field])}" for field in uses
    }


def _model(mapping: TableMapping, named: dict[str, str]) -> type[SqlRecord]:
    """A field for each column, mapped or not, so that rows stay comparable when a mapping grows."""
    target = Base.metadata.tables[mapping.target]
    allowed = limits(target)
    fields: dict[str, Any] = {"id": (Id, ...)}
    for name, column in target.columns.items():
        kind = Id if name in named else _type(column, allowed.get(name, Limits()))
        if name in BOOKKEEPING:
            continue
        if may_be_empty(column):
            fields[name] = (kind | None, None)
        else:
            fields[name] = (kind, ... if name in mapping.columns else _unsaid(column))
    return create_model("MappedRecord", __base__=SqlRecord, **fields)


def _unsaid(column: Column[Any]) -> Any:
    """What a column that may not be empty holds where nothing is said: its default in the database."""
    assert isinstance(column.server_default, DefaultClause)
    written = str(getattr(column.server_default.arg, "text", column.server_default.arg))
    match column.type:
        case ARRAY():
            return []
        case Boolean() | Integer() | Float() | JSONB():
            return json.loads(written)
    return written


def _type(column: Column[Any], allowed: Limits) -> Any:
    """What a value of the column has to be."""
    if allowed.choices is not None:
        return Literal[allowed.choices]
    match column.type:
        case Boolean():
            return bool
        case DateTime():
            return datetime
        case ARRAY():
            return list[str]
        case JSONB():
            return Any
        case Uuid():
            return _uuid()
        case Integer():
            return _integer(column, allowed)
        case Float():
            return Annotated[float, Field(ge=allowed.lowest, le=allowed.highest, allow_inf_nan=False)]
        case Numeric():
            return Annotated[Decimal, Field(gt=-WIDEST, lt=WIDEST, allow_inf_nan=False)]
    return Annotated[str, Field(coerce_numbers_to_str=True)]


def _uuid() -> type[UUID]:
    from uuid import UUID

    return UUID


def _integer(column: Column[Any], allowed: Limits) -> Any:
    bits = 16 if isinstance(column.type, SmallInteger) else 64 if isinstance(column.type, BigInteger) else 32
    most = 2 ** (bits - 1) - 1
    lowest = -most - 1 if allowed.lowest is None else int(allowed.lowest)
    return Annotated[int, Field(ge=lowest, le=most if allowed.highest is None else int(allowed.highest))]


def _prepare(mapping: TableMapping, columns: dict[str, Column[Any]], record: dict[str, Any], source_name: str) -> None:
    """The record has the columns' names and values; what is not mapped stays beside them."""
    values = {name: _value(given, columns[name], record) for name, given in mapping.columns.items()}
    parts = [record.get(field) for field in mapping.key]
    identity = "/".join(map(str, parts)) if all(part not in (None, "") for part in parts) else None
    for field in {given.from_ for given in mapping.columns.values()}:
        record.pop(field or "", None)
    if mapping.key == ["id"]:
        record.pop("id", None)
    for name in columns.keys() & record.keys():  # fields that are called as columns are but do not fill them
        record[f"source_{name}"] = record.pop(name)
    record |= values
    if identity is not None:
        record["id"] = identity


def _value(given: ColumnMapping, column: Column[Any], record: dict[str, Any]) -> Any:
    value = given.value if given.from_ is None else record.get(given.from_)
    if value == "" and (may_be_empty(column) or given.default is not None or _kept_as(column) != "text"):
        value = None  # all that a CSV file has for NULL
    if value is not None and given.map:
        value = given.map.get(value if isinstance(value, str) else json.dumps(value, default=str), value)
    if value is None:
        value = [] if given.default is None and isinstance(column.type, ARRAY) else given.default
    if value is None:
        return None
    if given.scale is not None:
        value = _scaled(value, given.scale, column)
    match _kept_as(column):
        case "time":
            return _moment(value, given)
        case "list":
            return _items(value, given)
        case "json":
            return _opened(value)
    return value


def _kept_as(column: Column[Any]) -> str:
    match column.type:
        case DateTime():
            return "time"
        case ARRAY():
            return "list"
        case JSONB():
            return "json"
        case Integer() | Float() | Numeric() | Boolean() | Uuid():
            return "value"
    return "text"


def _scaled(value: Any, scale: Decimal, column: Column[Any]) -> Any:
    try:
        product = Decimal(str(value)) * scale
    except ArithmeticError:
        return value
    return float(product) if isinstance(column.type, Float) else product


def _moment(value: Any, given: ColumnMapping) -> Any:
    """The time that `value` tells; a text that is no time where it tells none in the form that it should have."""
    try:
        moment = _told_moment(value, given.format)
        if moment is not None:
            zoned = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(given.zone or "UTC")).astimezone(UTC)
            return zoned.isoformat()  # text, which a reject keeps whatever its year and zone
    except (ValueError, TypeError, ArithmeticError):
        pass
    return f"{value} (not a time in the form {given.format or 'ISO 8601'})"


def _told_moment(value: Any, form: str | None) -> datetime | None:
    if form is None:
        return read_moment(value)
    if form in ("unix", "unix_ms"):
        seconds = Decimal(str(value)) / (1000 if form == "unix_ms" else 1)
        return _UNIX_EPOCH + timedelta(microseconds=int(seconds * 1_000_000))
    return datetime.strptime(str(value), form)  # noqa: DTZ007 - the caller knows the zone


def _items(value: Any, given: ColumnMapping) -> Any:
    if not isinstance(value, str):
        return value
    if given.separator is not None:
        return [item.strip() for item in value.split(given.separator) if item.strip()]
    return _opened(value)


def _opened(value: Any) -> Any:
    """JSON that is kept as text is the value it stands for; other text is text."""
    if not isinstance(value, str):
        return value
    try:
        return postgres_json(json.loads(value))
    except (ValueError, RecursionError):
        return value


def _told(mapping: TableMapping) -> list[str]:
    """Sentences on what is done to values."""
    told = [f"the id is {'/'.join(mapping.key)}"]
    for name, given in sorted(mapping.columns.items()):
        if given.from_ is None:
            told.append(f"{name} is {given.value!r}")
            continue
        done = [
            f"{given.from_} is kept as {name}" if given.from_ != name else "",
            f"multiplied by {given.scale}" if given.scale is not None else "",
            ", ".join(f"{old} is {new}" for old, new in sorted(given.map.items())),
            f"read as {given.format}" if given.format else "",
            f"in the zone {given.zone}" if given.zone else "",
        ]
        if any(done):
            told.append(f"{name}: {', '.join(part for part in done if part)}")
    return told
