"""Experiments are found by what a person calls them."""

from __future__ import annotations

from sqlalchemy import Connection, text

from schemas.canonical import postgres_text
from schemas.errors import BadInput, NotFound

_FIND = text("""
    SELECT id FROM experiments WHERE id = :said OR name = :said OR (length(:said) >= 8 AND starts_with(id, :said))
    ORDER BY id = :said DESC, created_at DESC LIMIT 2
""")


def find_experiment(connection: Connection, said: str) -> str:
    """Id of the experiment with this id, name, or beginning of an id (eight characters at least).

    Raises:
        NotFound: there is none.
        BadInput: there are several of that name, or that begin so.
    """
    found = connection.execute(_FIND, {"said": postgres_text(said)}).scalars().all()
    if not found:
        raise NotFound(f"there is no experiment {said}")
    if len(found) > 1 and found[0] != said:
        raise BadInput(f"several experiments are called {said}: give the id of one, as {found[0]}, the latest")
    return str(found[0])
