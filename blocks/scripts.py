"""Scripts: several statements sent to Postgres together, so that a transaction takes few round trips.

On a busy event loop a round trip costs more than what Postgres does in it: the loop answers whoever else is ready
before it sees the reply. A script gathers statements until somebody looks at the rows of one, and then sends all of
them as one message of the simple query protocol. Each statement is prepared on its connection the first time
(`PREPARE`, then `EXECUTE`), so that it is parsed and planned once; a parameter whose type its place does not tell is
cast in the statement. A connection pooler between us and Postgres may hand each transaction to another session, where
nothing is prepared: once that is seen, statements are sent as they are. The driver prepares nothing of its own on
connections that scripts are sent over: with its statements, forgotten on a rollback, it would forget all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, TextClause
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from blocks.messages import carry_out, compose

if TYPE_CHECKING:
    import psycopg

Parameters = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_NUMBERED = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_SLOTTED = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]

_BEGIN = (
    "BEGIN",
    "SET LOCAL plan_cache_mode = force_generic_plan",
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
)
"""Statements of a script's own transaction find rows by their keys: each is planned once, and row by row by index, as a
table that was small then may have grown since."""
_NOT_PREPARED = "26000"
"""SQLSTATE: invalid SQL statement name."""

_prepared: WeakKeyDictionary[Any, dict[TextClause, str]] = WeakKeyDictionary()
"""By connection of the driver: the statements that Postgres knows there, and their names."""
_numbers = count()
"""No name is used twice, whatever became of the script that prepared it."""
_poolers: set[tuple[str, int]] = set()
"""Hosts and ports where a prepared statement was forgotten."""


class Reply:
    """What a statement of a script returns; looking at `rows` sends the script as far as it has come."""

    def __init__(self, script: Script | None) -> None:
        self._script = script
        self._rows: Sequence[Any] | None = None

    @classmethod
    def empty(cls) -> Reply:
        """A reply without rows, of a statement that need not be sent."""
        reply = cls(None)
        reply.receive([])
        return reply

    @property
    def rows(self) -> Sequence[Any]:
        """The rows, as named tuples; none of a statement that returns none."""
        if self._rows is None and self._script is not None:
            self._script.send()
        assert self._rows is not None
        return self._rows

    def receive(self, rows: Sequence[Any]) -> None:
        """The statement was executed and returned `rows`."""
        self._rows = rows


class Script:
    """Statements of one transaction, sent when their rows are looked at or the transaction ends.

    On a connection that commits by itself (`AUTOCOMMIT`) the script begins the transaction with its first
    statement and ends it with `commit`; elsewhere the transaction is the connection's. An error leaves the transaction
    aborted: roll it back, or give the connection up.

    Args:
        connection: to Postgres over psycopg; an asynchronous one inside `run_sync`.
    """

    def __init__(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        self._driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any] = driver
        self._known = _prepared.setdefault(driver, {})
        self._new: dict[TextClause, str] = {}
        self._own = bool(driver.autocommit)
        self._begun = False
        self._waiting: list[tuple[TextClause, Parameters, Reply]] = []

    def add(self, statement: TextClause, parameters: Parameters | None = None) -> Reply:
        """`statement` will be executed after all that was added before it.

        Args:
            parameters: by name; a function of them is asked when the statement is sent.
        """
        reply = Reply(self)
        self._waiting.append((statement, parameters or {}, reply))
        return reply

    def send(self) -> None:
        """All that was added is executed.

        Raises:
            sqlalchemy.exc.DBAPIError: as the first statement that fails is refused; none after it is executed.
        """
        if self._waiting:
            self._execute("")

    def commit(self) -> None:
        """All that was added is executed and, where the transaction is the script's own, durable.

        Rows of statements that are first sent now are not fetched.

        Raises:
            sqlalchemy.exc.DBAPIError: see `send`; a connection lost here leaves it open whether it is durable.
        """
        if self._own and (self._begun or self._waiting):
            self._execute("COMMIT")
        else:
            self.send()

    def rollback(self) -> None:
        """Nothing of the script's own transaction is written, where a statement failed or none did.

        What was prepared for it stays so in Postgres, as that came before the transaction.
        """
        self._waiting.clear()
        if self._own:
            self._exchange("ROLLBACK", [], fetch=False)
            self._known |= self._new
            self._begun = False

    def _execute(self, last: str) -> None:
        lines = self._preparations()
        if self._own and not self._begun:
            lines += _BEGIN
        silent = len(lines)
        values: list[Any] = []
        for statement, parameters, _ in self._waiting:
            line, names = self._line(statement)
            lines.append(line)
            known = parameters() if callable(parameters) else parameters
            values += [_as_sent(known[name]) for name in names]
        results = self._exchange("; ".join([*lines, last] if last else lines), values, fetch=not last)
        for (_, _, reply), rows in zip(self._waiting, results[silent:], strict=False):
            reply.receive(rows)
        self._waiting.clear()
        self._known |= self._new
        self._new.clear()
        self._begun = not last

    def _preparations(self) -> list[str]:
        if _poolers and _address(self._driver) in _poolers:
            return []
        for statement, _, _ in self._waiting:
            if statement not in self._known and statement not in self._new:
                self._new[statement] = f"headrace_{next(_numbers)}"
        return [f"PREPARE {name} AS {_numbered(statement)[0]}" for statement, name in self._new.items()]

    def _line(self, statement: TextClause) -> tuple[str, Sequence[str]]:
        """What is sent for a statement, and the names of the parameters that it has slots for."""
        name = self._known.get(statement) or self._new.get(statement)
        if name is None:
            return _slotted(statement)
        names = _numbered(statement)[1]
        return f"EXECUTE {name}" + (f"({', '.join(['%s'] * len(names))})" if names else ""), names

    def _exchange(self, template: str, values: Sequence[Any], *, fetch: bool) -> list[Sequence[Any]]:
        import psycopg

        try:
            message = compose(self._driver, template, values)
            if isinstance(self._driver, psycopg.Connection):
                return _exchange(self._driver, message)
            if not fetch and self._own:
                await_only(carry_out(self._driver, message))
                return []
            results: list[Sequence[Any]] = await_only(_exchange_async(self._driver, message))
            return results
        except psycopg.Error as error:
            if error.sqlstate == _NOT_PREPARED:
                _poolers.add(_address(self._driver))
                self._known.clear()
            raise DBAPIError.instance(
                None,
                None,
                error,
                psycopg.Error,
                hide_parameters=True,
                connection_invalidated=self._driver.closed,
            ) from error


def _as_sent(value: Any) -> Any:
    """A list as the literal of an array, its type told by its place: psycopg's own way takes a quarter of a batch."""
    return f"{{{','.join(map(_element, value))}}}" if isinstance(value, list) else value


def _element(value: object) -> str:
    """An element of an array literal, as "Array Input and Output Syntax" of Postgres' manual has it."""
    match value:
        case None:
            return "NULL"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case bytes():
            return f'"\\\\x{value.hex()}"'
        case UUID() | Decimal() | int() | date():
            return f'"{value}"'
    raise TypeError(f"{type(value).__name__} is no element of an array")


def _address(driver: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> tuple[str, int]:
    return (driver.info.host, driver.info.port) if not driver.closed else ("", 0)


def _exchange(driver: psycopg.Connection[Any], message: bytes) -> list[Sequence[Any]]:
    from psycopg import ClientCursor
    from psycopg.rows import namedtuple_row

    with ClientCursor(driver, row_factory=namedtuple_row) as cursor:
        cursor.execute(message)
        return [result.fetchall() if _has_rows(result) else [] for result in cursor.results()]


async def _exchange_async(driver: psycopg.AsyncConnection[Any], message: bytes) -> list[Sequence[Any]]:
    from psycopg import AsyncClientCursor
    from psycopg.rows import namedtuple_row

    async with AsyncClientCursor(driver, row_factory=namedtuple_row) as cursor:
        await cursor.execute(message)
        return [await result.fetchall() if _has_rows(result) else [] async for result in cursor.results()]


def _has_rows(cursor: psycopg.ClientCursor[Any] | psycopg.AsyncClientCursor[Any]) -> bool:
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0


@lru_cache(maxsize=256)
def _numbered(statement: TextClause) -> tuple[str, Sequence[str]]:
    """The statement with `$1`, `$2` for its parameters, and their names in that order."""
    compiled = statement.compile(dialect=_NUMBERED)
    return str(compiled).strip().replace("%", "%%"), tuple(compiled.positiontup or ())


@lru_cache(maxsize=256)
def _slotted(statement: TextClause) -> tuple[str, Sequence[str]]:
    """The statement with a slot for each use of a parameter, and the names of the uses."""
    compiled = statement.compile(dialect=_SLOTTED)
    return str(compiled).strip(), tuple(compiled.positiontup or ())
