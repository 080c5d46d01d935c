"""Many rows in one statement: records travel as one JSON document and are unpacked by Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.dialects import postgresql

from blocks.scripts import Reply, Script
from schemas.tables import Base

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]

REQUESTS_BY_ID = "llm_requests.id = ANY(:ids) AND llm_requests.id BETWEEN :first_id AND :last_id"
"""SQL: rows of `llm_requests`, with the parameters of `by_id`. By the bounds Postgres leaves other months out; it does
not look into an array for that, and would open every partition there is."""


def by_id(ids: Sequence[UUID]) -> dict[str, Any]:
    """The parameters of `REQUESTS_BY_ID`; there is at least one id."""
    return {"ids": ids, "first_id": min(ids), "last_id": max(ids)}


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no column value")


def as_records(rows: Iterable[Mapping[str, Any]]) -> str:
    """`rows` as the JSON array that `recordset` unpacks; money stays exact, as text."""
    return orjson.dumps(list(rows), default=_plain).decode()


@lru_cache(maxsize=64)
def recordset(table: str, columns: tuple[str, ...]) -> str:
    """`jsonb_to_recordset(:rows) AS r(column type, …)`, typed as the table's columns are."""
    known = Base.metadata.tables[table].columns
    typed = ", ".join(f'"{name}" {known[name].type.compile(dialect=DIALECT)}' for name in columns)
    return f"jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({typed})"


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...], suffix: str) -> TextClause:
    listed = ", ".join(f'"{name}"' for name in columns)
    return text(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {recordset(table, columns)} {suffix}")


def insert_rows(
    connection: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, suffix: str = ""
) -> Sequence[Any]:
    """`rows`, which all have the same columns, are in `table`; returns what `suffix` says to return."""
    if not rows:
        return []
    statement = _insert(table, tuple(rows[0]), suffix)
    result = connection.execute(statement, {"rows": as_records(rows)})
    return result.all() if result.returns_rows else []


def add_rows(script: Script, table: str, rows: Sequence[Mapping[str, Any]], *, suffix: str = "") -> Reply:
    """`rows`, which all have the same columns, will be in `table`; replies with what `suffix` says to return."""
    if not rows:
        return Reply.empty()
    return script.add(_insert(table, tuple(rows[0]), suffix), {"rows": as_records(rows)})


def add_only_new_rows(script: Script, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `add_rows`; the script fails, by a division by zero, where one of `rows` is there already."""
    if rows:
        script.add(_insert_all(table, tuple(rows[0])), {"rows": as_records(rows), "count": len(rows)})


@lru_cache(maxsize=64)
def _insert_all(table: str, columns: tuple[str, ...]) -> TextClause:
    insert = _insert(table, columns, "ON CONFLICT DO NOTHING RETURNING 1")
    return text(f"WITH added AS ({insert}) SELECT 1 / CAST(count(*) = :count AS int) FROM added")
