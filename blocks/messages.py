"""Messages of Postgres' simple query protocol, past the cursors of psycopg.

On an event loop a cursor takes as long for a message as Postgres for two statements. Where nobody looks at rows, all
that is left to do is to hand libpq the message and to wait for the end of its results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult


def compose(
    driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], template: str, values: Sequence[Any]
) -> bytes:
    """`template` with a literal of each of `values` for each `%s` in it; `%%` stands for a percent sign.

    Raises:
        psycopg.DataError: a text holds a NUL character, which Postgres does not store.
    """
    from psycopg import DataError
    from psycopg.adapt import Transformer
    from psycopg.pq import Escaping

    escaping, transformer = Escaping(driver.pgconn), Transformer(driver)
    known = driver.info.encoding
    encoding = "utf-8" if known == "ascii" else known  # of a database that takes texts as they come

    def literal(value: Any) -> bytes:
        if not isinstance(value, str):
            return transformer.as_literal(value)
        if "\0" in value:
            raise DataError("a text holds a NUL character, which Postgres does not store")
        return escaping.escape_literal(value.encode(encoding))

    return template.encode(encoding) % tuple(map(literal, values))


async def carry_out(driver: psycopg.AsyncConnection[Any], message: bytes) -> None:
    """The statements of `message` are executed; rows are thrown away.

    Who gives up waiting closes the connection: it is still busy, and may yet carry all of it out.

    Args:
        driver: a connection on which psycopg begins no transaction of its own (`autocommit`).

    Raises:
        psycopg.Error: as the first statement that fails is refused, none after it is executed; or the connection is
            lost, and it is open what was.
    """
    connection = driver.pgconn
    async with driver.lock:
        try:
            connection.send_query(message)
            while connection.flush():
                await _ready(connection.socket, for_writing=True)
                connection.consume_input()  # else each side could wait for the other to read
            refused = await _first_refused(connection)
        except asyncio.CancelledError:
            connection.finish()
            raise
    if refused is not None:
        raise _error(refused)


async def _first_refused(connection: PGconn) -> PGresult | None:
    from psycopg.pq import ExecStatus

    refused: PGresult | None = None
    while True:
        while connection.is_busy():
            await _ready(connection.socket)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return refused
        if result.status == ExecStatus.FATAL_ERROR and refused is None:
            refused = result


async def _ready(descriptor: int, *, for_writing: bool = False) -> None:
    """There is something to read, or room to write."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    loop.add_reader(descriptor, wake)
    if for_writing:
        loop.add_writer(descriptor, wake)
    try:
        await woken
    finally:
        loop.remove_reader(descriptor)
        if for_writing:
            loop.remove_writer(descriptor)


def _error(refused: PGresult) -> psycopg.Error:
    from psycopg import DatabaseError, OperationalError
    from psycopg.errors import lookup
    from psycopg.pq import DiagnosticField

    state = refused.error_field(DiagnosticField.SQLSTATE)
    kind: type[psycopg.Error] = OperationalError  # libpq's own, without a state: the connection is lost
    if state:
        try:
            kind = lookup(state.decode())
        except KeyError:
            kind = DatabaseError
    return kind(refused.error_message.decode("utf-8", "replace").strip(), info=refused)
