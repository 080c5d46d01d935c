"""Tables of another Postgres: snapshot, types as JSON, refusals without passwords."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from blocks.database import normal_url
from blocks.sources.opening import open_source
from blocks.sources.postgres_tables import PostgresTables, open_postgres
from schemas.errors import BadInput, DatabaseUnavailable
from tests.blocks.sources.exports import delivered

SCHEMA = """
CREATE TABLE costs (id int PRIMARY KEY, usd numeric(30,20), at timestamptz, day date, tags text[], raw bytea,
    body jsonb, "odd ""name" text, span interval, ratio float8);
INSERT INTO costs SELECT n, 0.1234567890123456789 * n, '2025-12-01 12:00+02', 'infinity', '{a,"b c"}', '\\x00ff',
    '{"k": [1, null]}', 'it''s', '1 day', 'NaN' FROM generate_series(30, 1, -1) n;
CREATE TABLE no_key (a text);
INSERT INTO no_key VALUES ('b'), ('a');
CREATE SCHEMA other;
CREATE TABLE other.t (a int);
"""


@pytest.fixture
def filled(empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(normal_url(empty_database_url))
    with engine.begin() as connection:
        connection.execute(text(SCHEMA))
    yield engine
    engine.dispose()


@pytest.fixture
def source(filled: Engine, empty_database_url: str) -> Iterator[PostgresTables]:
    opened = open_postgres(empty_database_url)
    yield opened
    opened.close()


def test_rows_come_in_order_of_the_key_as_json_values_with_all_their_digits(source: PostgresTables) -> None:
    assert list(source.tables()) == ["costs", "no_key"]
    table = source.tables()["costs"]
    found = delivered(table, size=7)
    assert [record["id"] for record in found.records] == list(range(1, 31))
    assert found.records[0] == {
        "id": 1,
        "usd": "0.12345678901234567890",
        "at": "2025-12-01T10:00:00+00:00",
        "day": "infinity",
        "tags": ["a", "b c"],
        "raw": "\\x00ff",
        "body": {"k": [1, None]},
        'odd "name': "it's",
        "span": "1 day",
        "ratio": "NaN",
    }
    assert found.positions == [7, 14, 21, 28, 30]
    assert [record["id"] for record in delivered(table, start=28).records] == [29, 30]
    assert table.place(3) == "table costs, row 3 by id"
    assert sorted(record["a"] for record in delivered(source.tables()["no_key"]).records) == ["a", "b"]


def test_the_fingerprint_follows_the_rows(source: PostgresTables, filled: Engine, empty_database_url: str) -> None:
    before = source.fingerprint
    again = open_postgres(empty_database_url)
    assert again.fingerprint == before
    with filled.begin() as connection:
        connection.execute(text("UPDATE costs SET span = '2 days' WHERE id = 7"))
    assert again.fingerprint == before
    again.close()
    changed = open_postgres(empty_database_url)
    assert changed.fingerprint != before
    changed.close()


def test_one_table_alone_or_another_schema_can_be_asked_for(filled: Engine, empty_database_url: str) -> None:
    for source, names in (
        (open_postgres(empty_database_url, names=frozenset({"costs"})), ["costs"]),
        (open_postgres(empty_database_url, schema="other"), ["t"]),
    ):
        assert list(source.tables()) == names
        source.close()


def test_a_database_without_tables_a_wrong_name_and_no_url_are_bad_input(empty_database_url: str) -> None:
    with pytest.raises(BadInput, match="has no tables"):
        open_postgres(empty_database_url)
    elsewhere = make_url(empty_database_url).set(database="absent").render_as_string(hide_password=False)
    with pytest.raises((BadInput, DatabaseUnavailable), match="absent"):
        open_postgres(elsewhere)
    with pytest.raises(BadInput, match="no Postgres URL"):
        open_postgres("mysql://x/y")


def test_no_message_holds_the_password() -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        open_source("postgresql://user:s3cret@127.0.0.1:9/x")
    assert "s3cret" not in str(raised.value) + repr(raised.value.details)


def test_a_table_that_may_not_be_read_is_bad_input(source: PostgresTables, filled: Engine) -> None:
    with filled.begin() as connection:
        connection.execute(text("DROP TABLE costs"))
    with pytest.raises(BadInput, match="the source database refuses"):
        delivered(source.tables()["costs"])
