"""Connections to Postgres, the state of its schema, and its errors in our terms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from blocks.database import (
    create_async_database,
    create_database,
    database_errors,
    dump_json,
    migrate,
    normal_url,
    require_current_schema,
    require_server,
    schema_revision,
)
from schemas.errors import BadInput, ConfigurationError, DatabaseUnavailable
from schemas.tables import SCHEMA_REVISION


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    """A database without a schema."""
    engine = create_database(normal_url(empty_database_url))
    yield engine
    engine.dispose()


def run(engine: Engine, *statements: str) -> None:
    """The statements are committed."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_any_postgres_url_is_taken_with_our_driver(scheme: str) -> None:
    url = normal_url(f"{scheme}://user:pass%40word@host:5433/ledger?sslmode=require")
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg://user:pass%40word@host:5433/ledger?sslmode=require"
    )


@pytest.mark.parametrize("said", ["mysql://host/ledger", "sqlite:///ledger.db"])
def test_the_url_of_another_database_is_refused_by_name(said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"DATABASE_URL names {said.partition(':')[0]}"):
        normal_url(said)


@pytest.mark.parametrize("said", ["not a url", "postgresql://user:secret@host:port/x", ""])
def test_what_is_no_url_is_refused_without_repeating_it(said: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not a URL") as refusal:
        normal_url(said)
    assert "secret" not in str(refusal.value)


def test_json_is_dumped_as_the_drivers_want_it() -> None:
    assert dump_json({"a": [1, "é"]}) == '{"a":[1,"é"]}'


def test_a_database_without_a_schema_says_which_command_makes_one(empty: Engine) -> None:
    assert schema_revision(empty) is None
    with pytest.raises(
        ConfigurationError, match=rf"no Headrace schema, {SCHEMA_REVISION} is needed: run `headrace db upgrade`"
    ):
        require_current_schema(empty)


def test_an_older_schema_says_which_command_upgrades_it(database: Engine) -> None:
    run(database, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(
        ConfigurationError, match=rf"has schema 0000, {SCHEMA_REVISION} is needed: run `headrace db upgrade`"
    ):
        require_current_schema(database)


def test_a_newer_schema_says_that_headrace_is_too_old(database: Engine) -> None:
    run(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="schema 9999, newer than this Headrace"):
        require_current_schema(database)


def test_the_current_schema_is_accepted(database: Engine) -> None:
    require_current_schema(database)
    assert schema_revision(database) == SCHEMA_REVISION


def test_a_user_who_may_not_read_the_schema_is_told_so(database: Engine) -> None:
    run(database, "CREATE ROLE stranger LOGIN")
    stranger = create_database(database.url.set(username="stranger"))
    try:
        with pytest.raises(ConfigurationError, match="may not use the database: permission denied"):
            require_current_schema(stranger)
    finally:
        stranger.dispose()
        run(database, "DROP ROLE stranger")


def test_a_user_who_may_not_make_tables_is_told_so(empty: Engine) -> None:
    run(empty, "CREATE EXTENSION vector", "CREATE ROLE guest LOGIN")
    guest = create_database(empty.url.set(username="guest"))
    try:
        with pytest.raises(ConfigurationError, match="cannot be made in this database: permission denied for schema"):
            migrate(guest)
    finally:
        guest.dispose()
        run(empty, "DROP ROLE guest")


def test_tables_of_another_application_are_left_alone(empty: Engine) -> None:
    run(empty, "CREATE TABLE pipeline_runs (id int)", "INSERT INTO pipeline_runs VALUES (7)")
    with pytest.raises(ConfigurationError, match=r"cannot be made .*pipeline_runs.* already exists"):
        migrate(empty)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT id FROM pipeline_runs")).scalar_one() == 7
        assert connection.execute(text("SELECT to_regclass('llm_requests')")).scalar_one() is None


def test_a_server_without_pgvector_is_refused_before_anything_is_made(empty: Engine) -> None:
    run(
        empty,
        "CREATE SCHEMA bare",  # its catalogue says that the server has nothing to install
        "CREATE VIEW bare.pg_available_extensions AS SELECT * FROM pg_catalog.pg_available_extensions WHERE false",
        f'ALTER DATABASE "{empty.url.database}" SET search_path = bare, pg_catalog',
    )
    empty.dispose()
    with pytest.raises(BadInput, match="lacks pgvector: install its `vector` extension"):
        migrate(empty)
    assert schema_revision(empty) is None


def test_a_server_that_is_too_old_is_named() -> None:
    with pytest.raises(BadInput, match="Postgres 14 is too old: Headrace needs 15 or newer"):
        require_server(140012, has_vector=True)
    require_server(150000, has_vector=True)


def test_a_server_that_cannot_be_reached_is_unavailable_and_the_password_is_not_told() -> None:
    engine = create_database(normal_url("postgresql://user:secret@127.0.0.1:1/ledger"))
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1.*refused") as failure:
        require_current_schema(engine)
    assert "secret" not in str(failure.value)


def test_a_database_that_does_not_exist_is_unavailable(database: Engine) -> None:
    missing = create_database(database.url.set(database="nowhere"))
    with pytest.raises(DatabaseUnavailable, match='"nowhere" does not exist'):
        require_current_schema(missing)


def test_a_connection_that_is_cut_is_unavailable(database: Engine) -> None:
    with pytest.raises(DatabaseUnavailable), database_errors(), database.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_no_free_connection_is_unavailable(database: Engine) -> None:
    narrow = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with narrow.connect(), pytest.raises(DatabaseUnavailable, match="no connection"), database_errors():
        narrow.connect()
    narrow.dispose()


@pytest.mark.parametrize("state", ["40001", "40P01", "53300", "53100", "55P03", "57014", "58030", "25006", "08006"])
def test_what_a_later_try_may_find_mended_is_unavailable(database: Engine, state: str) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'scripted' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(DatabaseUnavailable, match="scripted"), database_errors(), database.connect() as connection:
        connection.execute(text(raising))


@pytest.mark.parametrize("state", ["22003", "23505", "42601", "54000", "XX000", "P0001"])
def test_what_is_our_own_mistake_stays(database: Engine, state: str) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'scripted' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(DBAPIError), database_errors(), database.connect() as connection:
        connection.execute(text(raising))


async def test_errors_do_not_list_the_parameters(database: Engine) -> None:
    engine = create_async_database(database.url)
    insert = text("INSERT INTO budgets VALUES ('galaxy', :scope, 'day', 1)")
    with pytest.raises(IntegrityError) as failure:
        async with engine.begin() as connection:
            await connection.execute(insert, {"scope": "a private prompt"})
    await engine.dispose()
    assert "[SQL parameters hidden due to hide_parameters=True]" in str(failure.value)


async def test_a_client_that_freezes_in_a_transaction_does_not_hold_its_locks_for_ever(database: Engine) -> None:
    engine = create_async_database(database.url)
    async with engine.connect() as connection:
        limit = (await connection.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one()
    await engine.dispose()
    assert limit == "30s"
