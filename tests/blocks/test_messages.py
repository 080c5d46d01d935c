"""Messages past psycopg's cursors: what is refused, lost or given up is told as psycopg tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from sqlalchemy import Engine, text

from blocks.messages import carry_out, compose

Driver = AsyncConnection[Any]


@pytest_asyncio.fixture
async def driver(empty_database_url: str) -> AsyncIterator[Driver]:
    """A connection that commits by itself, to a database with one table."""
    url = empty_database_url.replace("postgresql+psycopg://", "postgresql://")
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE texts (word text)")
        yield connection


async def words(driver: Driver) -> list[str]:
    """What is in the table."""
    return [row[0] for row in await (await driver.execute("SELECT word FROM texts ORDER BY word")).fetchall()]


@pytest.mark.parametrize(
    "value", ["it's", "C:\\x'; DROP TABLE texts; --", "100 %s %%", "", "ß\n\t", None, 5, UUID(int=9)]
)
async def test_values_arrive_as_they_are(driver: Driver, value: object) -> None:
    await carry_out(driver, compose(driver, "INSERT INTO texts VALUES (%s), ('%%')", [value]))
    assert sorted(await words(driver), key=str) == sorted(["%", None if value is None else str(value)], key=str)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII"])
async def test_texts_are_encoded_as_the_connection_says(driver: Driver, encoding: str) -> None:
    await driver.execute(f"SET client_encoding = '{encoding}'")
    await carry_out(driver, compose(driver, "INSERT INTO texts VALUES (%s), ('groß')", ["Größe"]))
    await driver.execute("SET client_encoding = 'UTF8'")
    assert await words(driver) == ["Größe", "groß"]


async def test_a_text_that_postgres_would_cut_is_refused(driver: Driver) -> None:
    with pytest.raises(psycopg.DataError, match="NUL"):
        compose(driver, "INSERT INTO texts VALUES (%s)", ["cut\0here"])


async def test_what_is_larger_than_a_socket_holds_arrives_while_others_go_on(driver: Driver) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    going_on = asyncio.create_task(others())
    await carry_out(driver, compose(driver, "INSERT INTO texts VALUES (%s)", ["x" * 20_000_000]))
    going_on.cancel()
    assert [len(word) for word in await words(driver)] == [20_000_000]
    assert turns > 10


async def test_rows_that_nobody_asked_for_are_thrown_away(driver: Driver) -> None:
    await carry_out(driver, b"SELECT repeat('x', 1000) FROM generate_series(1, 50000); INSERT INTO texts VALUES ('a')")
    assert await words(driver) == ["a"]


@pytest.mark.parametrize(("statement", "kind", "state"), [
    ("SELECT 1 / 0", psycopg.errors.DivisionByZero, "22012"),
    ("EXECUTE nobody", psycopg.errors.InvalidSqlStatementName, "26000"),
    ("DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'ZZ123'; END $$", psycopg.DatabaseError, "ZZ123"),
])  # fmt: skip
async def test_the_first_refusal_is_told_and_ends_the_message(
    driver: Driver, statement: str, kind: type[psycopg.Error], state: str
) -> None:
    message = f"BEGIN; INSERT INTO texts VALUES ('a'); {statement}; INSERT INTO texts VALUES ('b'); COMMIT"
    with pytest.raises(kind) as refused:
        await carry_out(driver, message.encode())
    assert (refused.value.sqlstate, refused.value.diag.sqlstate) == (state, state)
    await carry_out(driver, b"ROLLBACK")
    assert await words(driver) == []


async def test_a_connection_that_is_ended_is_told_as_lost(driver: Driver, template: Engine) -> None:
    with template.connect() as admin:
        admin.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": driver.info.backend_pid})
    with pytest.raises(psycopg.OperationalError):
        await carry_out(driver, b"SELECT 1")
    assert driver.closed


async def test_who_gives_up_waiting_closes_the_connection(driver: Driver, template: Engine) -> None:
    held = psycopg.connect(driver.info.dsn)
    held.execute("LOCK TABLE texts")
    waiting = asyncio.create_task(carry_out(driver, b"INSERT INTO texts VALUES ('a')"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert driver.closed
    held.close()
