"""Postgres: engines, the state of the schema, and its errors in our terms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.errors import BadInput, ConfigurationError, DatabaseUnavailable
from schemas.tables.base import SCHEMA_REVISION

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).parents[1] / "schemas" / "migrations"
CONNECT_SECONDS = 10
SILENCE_SECONDS = 30
"""How long a connection may be silent, or its client idle inside a transaction, before it is given up: a
frozen process must not hold the locks of the living."""
PASSING_STATES = ("08", "25006", "26000", "40", "53", "55P03", "57", "58")
"""SQLSTATE, or its class: connection exception, read-only server (a standby), prepared statement forgotten (a pooler),
transaction rollback (deadlock), insufficient resources, lock not available, operator intervention, system error."""
UNDEFINED_TABLE = "42P01"
NOT_OURS_TO_CHANGE = {"42501", "42P07"}
"""SQLSTATE: insufficient privilege, duplicate table."""
OLDEST_SERVER = 150000

_alembic = threading.Lock()
"""Alembic keeps the migration in progress in a module, so that a process runs one at a time."""


def normal_url(url: str) -> URL:
    """`url` with the driver we use: any of `postgres://`, `postgresql://`, `postgresql+…://` is taken.

    Raises:
        ConfigurationError: it is no Postgres URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # no URL at all; a port that is no number
        raise ConfigurationError(
            "DATABASE_URL is not a URL; it should look like postgresql://user@host/database"
        ) from error
    if parsed.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            f"DATABASE_URL names {parsed.drivername}; Headrace keeps its ledger in Postgres (postgresql://…)"
        )
    return parsed.set(drivername="postgresql+psycopg")


def dump_json(value: object) -> str:
    """`value` as JSON text, as the drivers want it."""
    return orjson.dumps(value).decode()


def create_async_database(url: URL, *, pool_size: int = 8) -> AsyncEngine:
    """An engine for one event loop; connections are made on first use and checked before it."""
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args={**CONNECT_ARGUMENTS, "prepare_threshold": None},  # see `scripts`
    )
    event.listen(engine.sync_engine, "connect", _limit_idle_transactions)
    return engine


def create_database(url: URL, *, pool_size: int = 5) -> Engine:
    """A synchronous engine, for migrations, checks and threads; it keeps `pool_size` connections open."""
    return create_engine(url, hide_parameters=True, connect_args=CONNECT_ARGUMENTS, pool_size=pool_size)


CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": SILENCE_SECONDS,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
}


def _limit_idle_transactions(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{SILENCE_SECONDS}s'")
    cursor.close()
    connection.commit()


@contextmanager
def database_errors() -> Iterator[None]:
    """Inside, what a later try may find mended is `DatabaseUnavailable`; what is our own mistake stays."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("no connection to Postgres came free in time") from error
    except DBAPIError as error:
        if not _passes(error):
            raise
        raise DatabaseUnavailable(f"Postgres is not available: {_reason(error)}") from error


def _passes(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # the driver's own: there is or was no connection
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or str(state).startswith(PASSING_STATES)


def _reason(error: Exception) -> str:
    """The first line of what the driver said, which names host and port but no password."""
    origin = getattr(error, "orig", None) or error
    return (str(origin).strip().splitlines() or [type(origin).__name__])[0]


def schema_revision(engine: Engine) -> str | None:
    """The Alembic revision of the database; None when it holds no schema of ours.

    Raises:
        ConfigurationError: the user may not read it.
        DatabaseUnavailable: it cannot be reached.
    """
    with database_errors(), engine.connect() as connection:
        try:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:
                return None
            raise ConfigurationError(f"the user in DATABASE_URL may not use the database: {_reason(error)}") from error


def require_current_schema(engine: Engine) -> None:
    """The database has the schema this code needs.

    Raises:
        ConfigurationError: it has none, an older or a newer one; the message says which command to run.
    """
    found = schema_revision(engine)
    if found == SCHEMA_REVISION:
        return
    if found is not None and found > SCHEMA_REVISION:
        raise ConfigurationError(
            f"the database has schema {found}, newer than this Headrace ({SCHEMA_REVISION}): upgrade Headrace"
        )
    state = f"schema {found}" if found else "no Headrace schema"
    raise ConfigurationError(f"the database has {state}, {SCHEMA_REVISION} is needed: run `headrace db upgrade`")


def alembic_config() -> Config:
    """Alembic's configuration for our migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def migrate(engine: Engine, revision: str = "head") -> None:
    """The schema is at `revision`; commands that migrate at once wait for one another.

    Raises:
        BadInput: the server lacks pgvector or is older than Postgres 15.
        ConfigurationError: the user may not make the tables, or others stand in their place.
        DatabaseUnavailable: the server cannot be reached.
    """
    from alembic import command

    _check_server(engine)
    config = alembic_config()
    change = command.downgrade if revision == "base" or revision.startswith("-") else command.upgrade
    try:
        with _alembic, database_errors(), engine.begin() as connection:
            config.attributes["connection"] = connection
            change(config, revision)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in NOT_OURS_TO_CHANGE:
            raise
        raise ConfigurationError(f"the schema cannot be made in this database: {_reason(error)}") from error


def _check_server(engine: Engine) -> None:
    with database_errors(), engine.connect() as connection:
        version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
        vector = connection.execute(text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")).scalar()
    require_server(version, has_vector=vector is not None)


def require_server(version: int, *, has_vector: bool) -> None:
    """The server can hold the ledger; `version` is its `server_version_num`.

    Raises:
        BadInput: it is too old, or pgvector is not installed on it.
    """
    if version < OLDEST_SERVER:
        raise BadInput(f"Postgres {version // 10000} is too old: Headrace needs {OLDEST_SERVER // 10000} or newer")
    if not has_vector:
        raise BadInput("the Postgres server lacks pgvector: install its `vector` extension on the server")
