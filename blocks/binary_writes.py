"""Statements whose values go to Postgres as bytes, past what SQLAlchemy makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from blocks.database import create_database


class BinaryWriter:
    """Commits single statements, each on a connection of its own meanwhile; for threads.

    A thread waits for Postgres in C, where an event loop would be asked four times.

    Args:
        at_once: threads that write at the same time, at most.
    """

    def __init__(self, url: URL, *, at_once: int) -> None:
        self._kept = create_database(url, pool_size=at_once)
        self._engine = self._kept.execution_options(isolation_level="AUTOCOMMIT")  # one message, and nothing to forget

    def write(self, statement: str, values: Sequence[Any]) -> bool:
        """True when `statement`, with psycopg's `%b` for each of `values`, is committed, a transaction by itself.

        False where Postgres is away or refuses it, now; whether it is committed is then not known, so it should be one
        that may be made twice.
        """
        import psycopg

        try:
            with self._engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                try:  # nothing is prepared: a pooler may hand the next statement to another session
                    driver.execute(statement, values, binary=True, prepare=False)
                except psycopg.Error:
                    connection.invalidate()
                    return False
        except (SQLAlchemyError, OSError):
            return False
        return True

    def close(self) -> None:
        """Its connections are closed."""
        self._kept.dispose()
