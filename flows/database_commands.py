"""Commands about the database itself that `headrace db` has."""

from __future__ import annotations

from flows.command_options import Json


def roles(*, json: Json = False) -> int:
    """Make the roles headrace_worker, headrace_app and headrace_read and grant them what they are for."""
    from flows.maintenance import grant_roles
    from flows.presentation import say

    return say(grant_roles(), as_json=json)
