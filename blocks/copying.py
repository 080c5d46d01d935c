"""COPY: rows into a table, and out of a query, as fast as Postgres takes and gives them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import ResourceClosedError

from schemas.errors import BadInput, DatabaseUnavailable

ROWS_AT_ONCE = 25
"""Rows that are taken over together: fewer than the socket holds, so that Postgres has room for the next meanwhile."""


def copy_rows(
    connection: Connection, table: str, columns: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """`rows` are in `table`, in the transaction of `connection`; returns how many.

    Args:
        table: quoted and qualified as SQL wants it.
        types: the Postgres types whose binary form the values are sent in, one for each of `columns`.

    Raises:
        BadInput: a value does not fit its column.
        DatabaseUnavailable: the connection was lost.
    """
    driver: Any = connection.connection.driver_connection
    listed = ", ".join(f'"{name}"' for name in columns)
    try:
        with driver.cursor() as cursor:
            with cursor.copy(f"COPY {table} ({listed}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(types)
                write = copy.write_row
                for row in rows:
                    write(row)
            return int(cursor.rowcount)
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise BadInput(f"a value cannot be stored ({type(error).__name__})", table=table) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable("the connection to Postgres was lost while rows were copied") from error


def cancel_query(connection: Connection) -> None:
    """What another thread has the connection do ends with an error; nothing happens where it does nothing."""
    try:
        driver: Any = connection.connection.driver_connection
    except ResourceClosedError:  # it was given back
        return
    if driver is not None:
        driver.cancel()


def stream_rows(connection: Connection, query: str, values: Mapping[str, Any]) -> Generator[Any, None, None]:
    """The rows of `query`, as tuples, as fast as Postgres sends them and no more of them in memory than a few.

    Args:
        query: with placeholders as psycopg has them, `%(name)s`.

    Raises:
        DatabaseUnavailable: the connection was lost.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor(binary=True) as cursor:
            yield from cursor.stream(query, values, binary=True, size=ROWS_AT_ONCE)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable("the connection to Postgres was lost while rows were read") from error
