"""`headrace db …`: the commands about the database itself."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from flows.command_options import Json

database = App(name="db", help="The ledger's database.")


@database.command
def roles(*, json: Json = False) -> int:
    """Make the roles headrace_worker, headrace_app and headrace_read and grant them what they are for."""
    from flows.maintenance import grant_roles
    from flows.presentation import say

    return say(grant_roles(), as_json=json)


@database.command
def url(*, json: Json = False) -> int:
    """Print the URL of the ledger's database, its password left out; the embedded one is started."""
    from flows.maintenance import Done, database_address
    from flows.presentation import say

    return say(Done(message=database_address()), as_json=json)


@database.command
def upgrade(*, json: Json = False) -> int:
    """Bring the schema of the database up to date."""
    from flows.maintenance import upgrade_database
    from flows.presentation import say

    return say(upgrade_database(), as_json=json)


@database.command(help_flags=[], version_flags=[])
def psql(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Open psql on the ledger's database, with the arguments given."""
    from flows.maintenance import open_psql

    return open_psql(arguments)
