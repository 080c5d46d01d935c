"""Whoever sits at the terminal is asked before something is done that cannot be undone, or costs money."""

from __future__ import annotations

import sys

from schemas.errors import BadInput


def agreed(question: str = "Go on?") -> bool:
    """Whoever sits there says yes.

    Raises:
        BadInput: nobody sits there.
    """
    require_somebody()
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def require_somebody() -> None:
    """Somebody sits there who can be asked; for those who would pay for something before they ask.

    Raises:
        BadInput: nobody does.
    """
    if not sys.stdin.isatty():
        raise BadInput("nobody can be asked here whether to go on: give --yes")
