"""Postgres: engines, the state of the schema, and its errors in our terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.errors import BadInput, ConfigurationError, DatabaseUnavailable
from schemas.tables.base import SCHEMA_REVISION

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).parents[1] / "schemas" / "migrations"
CONNECT_SECONDS = 10
LOST_CONNECTION_CLASSES = ("08", "57", "53")
"""SQLSTATE classes: connection exception, operator intervention, insufficient resources."""


def normal_url(url: str) -> URL:
    """`url` with the driver we use: any of `postgres://`, `postgresql://`, `postgresql+…://` is taken.

    Raises:
        ConfigurationError: it is no Postgres URL.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
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

    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
        connect_args={"connect_timeout": CONNECT_SECONDS},
    )


def create_database(url: URL) -> Engine:
    """A synchronous engine, for migrations and checks."""
    return create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})


@contextmanager
def database_errors() -> Iterator[None]:
    """Inside, a lost or unreachable Postgres is `DatabaseUnavailable`; what is our own mistake stays."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"Postgres is not available: {_reason(error)}") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state[:2] in LOST_CONNECTION_CLASSES:
            raise DatabaseUnavailable(f"Postgres is not available: {_reason(error)}") from error
        raise


def _reason(error: Exception) -> str:
    """The first line of what the driver said, which names host and port but no password."""
    origin = getattr(error, "orig", None) or error
    return (str(origin).strip().splitlines() or [type(origin).__name__])[0]


def schema_revision(engine: Engine) -> str | None:
    """The Alembic revision of the database; None when it holds no schema of ours."""
    with database_errors(), engine.connect() as connection:
        try:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except ProgrammingError:
            return None


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
    raise ConfigurationError(
        f"the database has {state}, {SCHEMA_REVISION} is needed: run `headrace db upgrade`"
    )


def alembic_config(engine: Engine | None = None) -> Config:
    """Alembic's configuration for our migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine, revision: str = "head") -> None:
    """The schema is at `revision`; commands that migrate at once wait for one another.

    Raises:
        BadInput: the server lacks pgvector or is older than Postgres 15.
    """
    from alembic import command

    _check_server(engine)
    config = alembic_config(engine)
    with database_errors(), engine.begin() as connection:
        config.attributes["connection"] = connection
        if revision == "base" or revision.startswith("-"):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def _check_server(engine: Engine) -> None:
    with database_errors(), engine.connect() as connection:
        version = connection.execute(text("SHOW server_version_num")).scalar_one()
        vector = connection.execute(
            text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        ).scalar()
    if int(version) < 150000:
        raise BadInput(f"Postgres {int(version) // 10000} is too old: Headrace needs 15 or newer")
    if vector is None:
        raise BadInput("the Postgres server lacks pgvector: install its `vector` extension on the server")
