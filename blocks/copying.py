"""COPY: rows into a table as fast as Postgres takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
