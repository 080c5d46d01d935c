"""A statement whose values go to Postgres as bytes, past what SQLAlchemy makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine


async def write_binary(engine: AsyncEngine, statement: str, values: Sequence[Any]) -> bool:
    """True when `statement`, with psycopg's `%b` for each of `values`, is committed, a transaction by itself.

    False where Postgres is away or refuses it, now; whether it is committed is then not known, so it should be one
    that may be made twice.
    """
    import psycopg

    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")  # one message, and nothing to forget
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.execute(statement, values, binary=True)
    except (SQLAlchemyError, psycopg.Error, OSError):
        return False
    return True
