"""Experiments and responses are found by what a person calls them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from schemas.canonical import postgres_text
from schemas.errors import BadInput, NotFound

SHORTEST_BEGINNING = 8
"""Characters of an id that may stand for all of it: ids of one second begin alike."""
SHOWN_CANDIDATES = 5

_EXPERIMENTS = text(f"""
    SELECT id, name, status, created_at FROM experiments
    WHERE id = :said OR name = :said OR (length(:said) >= {SHORTEST_BEGINNING} AND starts_with(id, :said))
    ORDER BY (id = :said) DESC, (name = :said) DESC, created_at DESC, id DESC LIMIT {SHOWN_CANDIDATES + 1}
""")
_RESPONSES = text(f"""
    SELECT id, created_at FROM responses
    WHERE id = :said OR (length(:said) >= {SHORTEST_BEGINNING} AND starts_with(id, :said))
    ORDER BY (id = :said) DESC, created_at DESC, id DESC LIMIT {SHOWN_CANDIDATES + 1}
""")


def find_experiment(connection: Connection, said: str) -> str:
    """Id of the experiment with this id, else this name, else this beginning of an id (eight characters at least).

    Raises:
        NotFound: there is none.
        BadInput: there are several; the message lists them.
    """
    wanted = postgres_text(said)
    found = connection.execute(_EXPERIMENTS, {"said": wanted}).all()
    for chosen in ([row for row in found if row.id == wanted], [row for row in found if row.name == wanted], found):
        if len(chosen) == 1:
            return str(chosen[0].id)
        if chosen:
            told = _listed(f"{row.id} ({row.name}, {row.status}, {row.created_at:%F %R})" for row in chosen)
            raise BadInput(
                f"several experiments are called {said}: give the id of one: {told}", candidates=_ids(chosen)
            )
    raise NotFound(f"there is no experiment {said}")


def find_experiments(connection: Connection, said: Iterable[str]) -> list[str]:
    """Ids of experiments by what each is called, as `find_experiment` has it, in order and each once."""
    return list(dict.fromkeys(find_experiment(connection, each) for each in said))


def find_response(connection: Connection, said: str) -> str:
    """Id of the response with this id, or this beginning of one (eight characters at least).

    Raises:
        NotFound: there is none.
        BadInput: there are several.
    """
    wanted = postgres_text(said)
    found = connection.execute(_RESPONSES, {"said": wanted}).all()
    if not found:
        raise NotFound(f"there is no response {said}")
    if len(found) > 1 and found[0].id != wanted:
        told = _listed(f"{row.id}" for row in found)
        raise BadInput(f"several responses begin with {said}: {told}", candidates=_ids(found))
    return str(found[0].id)


def _ids(found: Sequence[Row[Any]]) -> list[str]:
    return [str(row.id) for row in found[:SHOWN_CANDIDATES]]


def _listed(candidates: Iterable[str]) -> str:
    told = list(candidates)
    return "; ".join(told[:SHOWN_CANDIDATES]) + ("; and more" if len(told) > SHOWN_CANDIDATES else "")
