"""Statements with values as bytes, on connections that are kept, and lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from blocks.binary_writes import BinaryWriter
from blocks.database import normal_url

STORE = "INSERT INTO kept (name, body) VALUES (%b, %b)"


@pytest.fixture
def writer(database: Engine, database_url: str) -> Iterator[BinaryWriter]:
    """A writer on the test's database, which has a table to write to."""
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE kept (name text PRIMARY KEY, body bytea NOT NULL)"))
    made = BinaryWriter(normal_url(database_url), at_once=2)
    yield made
    made.close()


def kept(database: Engine) -> dict[str, bytes]:
    """What is in the table."""
    with database.connect() as connection:
        rows = connection.execute(text("SELECT name, body FROM kept ORDER BY name"))
        return {row.name: bytes(row.body) for row in rows}


def test_what_was_written_is_committed_byte_for_byte(writer: BinaryWriter, database: Engine) -> None:
    everything = bytes(range(256))
    assert writer.write(STORE, ("first", everything))
    assert writer.write(STORE, ("second", b""))
    assert kept(database) == {"first": everything, "second": b""}


def test_what_postgres_refuses_is_told_and_leaves_nothing(writer: BinaryWriter, database: Engine) -> None:
    assert writer.write(STORE, ("first", b"1"))
    assert not writer.write(STORE, ("first", b"2"))
    assert writer.write(STORE, ("second", b"2"))
    assert kept(database) == {"first": b"1", "second": b"2"}


def test_a_connection_that_was_ended_meanwhile_is_replaced(writer: BinaryWriter, database: Engine) -> None:
    assert writer.write(STORE, ("first", b"1"))
    with database.connect() as connection:
        ended = connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    assert ended >= 1
    assert not writer.write(STORE, ("second", b"2"))
    assert writer.write(STORE, ("third", b"3"))
    assert kept(database) == {"first": b"1", "third": b"3"}


def test_where_nobody_listens_it_is_told() -> None:
    writer = BinaryWriter(normal_url("postgresql://nobody@127.0.0.1:9/nothing"), at_once=1)
    assert not writer.write(STORE, ("first", b"1"))
    writer.close()
