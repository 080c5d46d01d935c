"""Rows of their own: what an application reads and writes for one of its users.

The database keeps users apart, whatever a query says (`schemas/migrations/versions/0003_…`): the role
`headrace_app` sees the rows of the user named in the transaction, through tables and views, and none where
nobody is named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from blocks.database import database_errors
from schemas.errors import BadInput, ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

APPLICATION_ROLE = "headrace_app"
ROLE_REFUSED = {"22023", "42501"}
"""SQLSTATE: there is no such role, or the user of the connection is not a member of it."""

# Both settings end with the transaction, so that the pool gets back a connection of nobody's.
_BECOME = text("SELECT set_config('role', :role, true), set_config('headrace.user', :user, true)")


_COMPLETE = text("SELECT grant_headrace_roles()")
# Staging tables are made by whoever migrates; the schema is granted here, because the role may be younger than it.
_STAGING = text("""
    DO $$ BEGIN
        IF to_regrole('headrace_worker') IS NOT NULL AND to_regnamespace('headrace_staging') IS NOT NULL THEN
            GRANT USAGE, CREATE ON SCHEMA headrace_staging TO headrace_worker;
        END IF;
    END $$
""")
NOT_OURS = "42501"
"""SQLSTATE: insufficient privilege."""


# What grant_headrace_roles() would grant; the names of relations in the order in which people read them.
_MISSING = text("""
    WITH roles AS (
        SELECT role, to_regrole(role) AS id
        FROM unnest(ARRAY['headrace_worker', 'headrace_app', 'headrace_read']) AS role
    ), relations AS (
        SELECT pg_class.oid, relname, relkind = 'v' AS is_view,
               'security_invoker=true' = ANY(coalesce(reloptions, '{}')) AS for_readers,
               EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid AND starts_with(polname, 'own_')) AS has_own
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v')
          AND relowner = (SELECT relowner FROM pg_class WHERE oid = 'llm_requests'::regclass)
    ), wanted AS (
        SELECT role, id, oid, relname, privilege FROM roles, relations, LATERAL (VALUES
            ('headrace_worker', CASE WHEN is_view THEN 'SELECT' ELSE 'INSERT' END),
            ('headrace_read', 'SELECT'),
            ('headrace_app', CASE WHEN has_own OR is_view AND for_readers THEN 'SELECT' END)
        ) AS privileges(grantee, privilege)
        WHERE grantee = role AND privilege IS NOT NULL AND id IS NOT NULL
    ), refused AS (
        SELECT role, CASE privilege WHEN 'INSERT' THEN 'write' ELSE 'read' END AS may, array_agg(relname) AS names
        FROM wanted WHERE NOT has_table_privilege(id, oid, privilege) GROUP BY 1, 2
    )
    SELECT format('there is no role %s', role) FROM roles WHERE id IS NULL
    UNION ALL
    SELECT 'headrace_worker is without BYPASSRLS' FROM roles JOIN pg_roles ON pg_roles.oid = id
    WHERE role = 'headrace_worker' AND NOT rolbypassrls
    UNION ALL
    SELECT format('%s may not %s %s', role, may, CASE WHEN cardinality(names) > 3
                  THEN format('%s tables and views', cardinality(names)) ELSE array_to_string(names, ', ') END)
    FROM refused
    UNION ALL
    SELECT 'headrace_worker may not stage data in headrace_staging' FROM roles
    WHERE role = 'headrace_worker' AND id IS NOT NULL AND to_regnamespace('headrace_staging') IS NOT NULL
        AND NOT has_schema_privilege(id, to_regnamespace('headrace_staging'), 'CREATE')
    UNION ALL
    SELECT format('%s, who is connected, does not act as headrace_worker', current_user)
    WHERE NOT EXISTS (
        SELECT FROM pg_policy, unnest(polroles) AS writer
        WHERE polrelid = 'llm_requests'::regclass AND polname = 'writers' AND pg_has_role(writer, 'USAGE'))
""")


def missing_of_roles(connection: Connection) -> list[str]:
    """What the roles of the database lack, one clause each; nothing where they may do what they are for."""
    return [str(clause) for clause in connection.execute(_MISSING).scalars()]


def complete_roles(engine: Engine) -> list[str]:
    """The roles exist and may do what they are for; returns the statements that only an administrator may run.

    Raises:
        ConfigurationError: the user of the database does not own its tables.
    """
    try:
        with database_errors(), engine.begin() as connection:
            refused = list(connection.execute(_COMPLETE).scalars())
            connection.execute(_STAGING)
            return refused
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_OURS:
            raise
        raise ConfigurationError(
            "the user in DATABASE_URL does not own the tables: let their owner run `headrace db roles`"
        ) from error


@asynccontextmanager
async def as_user(connection: AsyncConnection, user: str) -> AsyncIterator[AsyncConnection]:
    """Inside is one transaction in which `connection` sees and writes rows of `user` alone.

    It is committed at the end, or rolled back by an error; afterwards the connection is nobody's again.

        async with engine.connect() as connection, as_user(connection, "ada"):
            rows = await connection.execute(text("SELECT * FROM llm_requests"))

    Raises:
        BadInput: nobody is named, or the connection is in a transaction already, where it may have read for another.
        ConfigurationError: the role for it is missing or not granted; the message names the command.
    """
    if not user or "\0" in user:
        raise BadInput("a user is named by a text that is not empty")
    if connection.in_transaction():
        raise BadInput("the connection is in a transaction already; commit it before a user's begins")
    with database_errors():
        async with connection.begin():
            try:
                await connection.execute(_BECOME, {"role": APPLICATION_ROLE, "user": user})
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in ROLE_REFUSED:
                    raise
                raise ConfigurationError(
                    f"the user of this connection may not act as {APPLICATION_ROLE}: run `headrace db roles`, and let "
                    f"an administrator GRANT {APPLICATION_ROLE} to the user"
                ) from error
            yield connection
