"""Statements sent together: one message, prepared once, refused together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

from blocks import scripts
from blocks.database import create_async_database, create_database, normal_url
from blocks.scripts import Script

MAKE = text("CREATE TABLE letters (letter text PRIMARY KEY)")
WRITE = text("INSERT INTO letters SELECT unnest(CAST(:letters AS text[])) RETURNING letter")
READ = text("SELECT letter FROM letters ORDER BY letter")
DIVIDE = text("SELECT 1 / CAST(:number AS int) AS result")
EVERYTHING = text("""
    SELECT CAST(:ids AS uuid[]) AS ids, CAST(:words AS text[]) AS words, CAST(:bytes AS bytea[]) AS bytes,
           CAST(:money AS numeric[]) AS money, CAST(:times AS timestamptz[]) AS times, CAST(:none AS text) AS nothing,
           CAST(:late AS interval) * 2 AS late, '50%' AS share, CAST(:words AS text[]) AS again
""")
VALUES: dict[str, Any] = {
    "ids": [UUID(int=7)],
    "words": ["it's", 'x"\\,{}', "100%s", ""],
    "bytes": [b"\x00\xff", None],
    "money": [Decimal("1.10")],
    "times": [datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)],
    "none": None,
    "late": timedelta(minutes=3),
}


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """A database with one table."""
    engine = create_database(normal_url(empty_database_url))
    with engine.begin() as connection:
        connection.execute(MAKE)
    yield engine
    engine.dispose()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that go to Postgres."""
    messages: list[str] = []
    exchange = scripts._exchange

    def noted(driver: Any, message: bytes) -> Any:
        messages.append(message.decode())
        return exchange(driver, message)

    monkeypatch.setattr(scripts, "_exchange", noted)
    return messages


def letters(engine: Engine) -> list[str]:
    """What others see."""
    with engine.connect() as connection:
        return list(connection.execute(READ).scalars())


def autocommit(engine: Engine) -> Connection:
    """A connection on which a script's transaction is its own."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def test_a_transaction_takes_as_many_messages_as_it_is_looked_at(engine: Engine, sent: list[str]) -> None:
    with autocommit(engine) as connection:
        script = Script(connection)
        first, second = script.add(WRITE, {"letters": ["b", "a"]}), script.add(READ)
        assert [row.letter for row in second.rows] == ["a", "b"]
        assert [row.letter for row in first.rows] == ["b", "a"]
        script.add(WRITE, {"letters": ["c"]})
        assert letters(engine) == []
        script.commit()
        assert letters(engine) == ["a", "b", "c"]
    assert len(sent) == 2


def test_values_arrive_as_they_are_sent(engine: Engine) -> None:
    with engine.connect() as connection:
        for _ in range(2):
            (row,) = Script(connection).add(EVERYTHING, VALUES).rows
            assert (row.ids, row.words, row.bytes) == (VALUES["ids"], VALUES["words"], VALUES["bytes"])
            assert (row.money, row.times, row.nothing) == (VALUES["money"], VALUES["times"], None)
            assert (row.late, row.share, row.again) == (timedelta(minutes=6), "50%", VALUES["words"])


async def test_an_asynchronous_connection_speaks_scripts_too(engine: Engine, empty_database_url: str) -> None:
    def converse(connection: Connection) -> list[str]:
        script = Script(connection)
        script.add(WRITE, {"letters": ["a"]})
        rows = script.add(EVERYTHING, VALUES).rows
        script.commit()
        return list(rows[0].words)

    database = create_async_database(normal_url(empty_database_url))
    async with database.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        assert await connection.run_sync(converse) == VALUES["words"]
    await database.dispose()
    assert letters(engine) == ["a"]


def test_a_statement_is_prepared_once_on_its_connection(engine: Engine, sent: list[str]) -> None:
    with engine.connect() as connection:
        for number in (1, 2):
            (row,) = Script(connection).add(DIVIDE, {"number": number}).rows
            assert row.result == 1 // number
    assert [message.count("PREPARE") for message in sent] == [1, 0]


@pytest.mark.parametrize(("statement", "parameters", "error"), [
    (DIVIDE, {"number": 0}, DataError),
    (WRITE, {"letters": ["z", "z"]}, IntegrityError),
])  # fmt: skip
def test_a_statement_that_fails_leaves_nothing_of_the_script(
    engine: Engine, statement: Any, parameters: dict[str, Any], error: type[DBAPIError]
) -> None:
    with autocommit(engine) as connection:
        script = Script(connection)
        script.add(WRITE, {"letters": ["a"]})
        script.add(statement, parameters)
        script.add(WRITE, {"letters": ["b"]})
        with pytest.raises(error):
            script.commit()
        connection.invalidate()
    assert letters(engine) == []
    with engine.connect() as connection:  # the next may prepare the same statements
        assert Script(connection).add(DIVIDE, {"number": 1}).rows[0].result == 1


def test_in_the_transaction_of_another_a_commit_only_sends(engine: Engine) -> None:
    with engine.connect() as connection:
        script = Script(connection)
        script.add(WRITE, {"letters": ["a"]})
        script.commit()
        assert letters(engine) == []
        connection.rollback()
    assert letters(engine) == []


def test_behind_a_pooler_that_forgets_statements_they_are_sent_as_they_are(
    engine: Engine, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_poolers", set())
    with engine.connect() as connection:
        assert Script(connection).add(READ).rows == []
        connection.execute(text("DEALLOCATE ALL"))  # as a session that never knew it
        with pytest.raises(ProgrammingError):
            Script(connection).add(READ).rows  # noqa: B018
        connection.rollback()
        (row,) = Script(connection).add(EVERYTHING, VALUES).rows
        assert (row.words, row.share, row.again) == (VALUES["words"], "50%", VALUES["words"])
    assert "PREPARE" not in sent[-1]
    assert "EXECUTE" not in sent[-1]


async def test_a_rollback_of_what_is_no_script_leaves_statements_prepared(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_poolers", set())
    engine = create_async_database(normal_url(empty_database_url), pool_size=1)
    try:
        for _ in range(2):
            async with engine.connect() as connection:
                rows = await connection.run_sync(lambda here: Script(here).add(DIVIDE, {"number": 1}).rows)
                assert [row.result for row in rows] == [1]
                for _ in range(10):  # psycopg prepares by itself what comes often
                    await connection.execute(text("SELECT 1"))
                await connection.rollback()
                await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()
    assert scripts._poolers == set()


def test_a_lost_connection_is_told_as_one(engine: Engine, look_away: Callable[[Connection], None]) -> None:
    with engine.connect() as connection:
        script = Script(connection)
        assert script.add(READ).rows == []
        look_away(connection)
        script.add(READ)
        with pytest.raises(OperationalError) as lost:
            script.send()
        assert lost.value.connection_invalidated
        connection.invalidate()


@pytest.fixture
def look_away(template: Engine) -> Callable[[Connection], None]:
    """Ends the server's side of a connection."""

    def end(connection: Connection) -> None:
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        with template.connect() as admin:
            admin.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    return end
