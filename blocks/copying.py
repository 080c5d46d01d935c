"""COPY: rows into a table, and out of a query, as fast as Postgres takes and gives them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection

from schemas.errors import BadInput, DatabaseUnavailable


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


def copy_out(
    connection: Connection, query: str, values: Mapping[str, Any], types: Sequence[str]
) -> Generator[Any, None, None]:
    """The rows of `query`, as tuples, as fast as Postgres sends them and no more of them in memory than a few.

    Args:
        query: with placeholders as psycopg has them, `%(name)s`.
        types: what each column is read as; `bytea` leaves text as its bytes in UTF-8.

    Raises:
        DatabaseUnavailable: the connection was lost.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)", values) as copy:
            copy.set_types(types)
            yield from copy.rows()
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable("the connection to Postgres was lost while rows were read") from error
