"""Experiments kept in order: tagged, marked as favourites, archived, renamed.

Wherever an experiment is named, its id, its exact name or the beginning of its id does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.canonical import require_storable
from schemas.errors import BadInput
from schemas.sweep import SweepSpec
from schemas.sweep_results import ExperimentRecord
from tasks.ledger.session import open_ledger
from tasks.sweep.finding import find_experiment
from tasks.sweep.housekeeping_listing import read_record

LONGEST_TAG = 100
LONGEST_NAME = next(rule.max_length for rule in SweepSpec.model_fields["name"].metadata if hasattr(rule, "max_length"))

T = TypeVar("T")


async def in_transaction(work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns, given a connection and `arguments`; what it changed is durable."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(work, *arguments)


async def tag_experiment(experiment: str, tags: Iterable[str]) -> ExperimentRecord:
    """The experiment has these tags besides those it had.

    Raises:
        NotFound, BadInput: see `find_experiment`; or a tag is empty or too long.
    """
    return await in_transaction(_change, experiment, _TAG, {"tags": _as_tags(tags)})


async def untag_experiment(experiment: str, tags: Iterable[str]) -> ExperimentRecord:
    """The experiment has none of these tags.

    Raises:
        NotFound, BadInput: as of `tag_experiment`.
    """
    return await in_transaction(_change, experiment, _UNTAG, {"tags": _as_tags(tags)})


async def favourite_experiment(experiment: str) -> ExperimentRecord:
    """The experiment is a favourite.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    return await in_transaction(_change, experiment, _FAVOURITE, {"favourite": True})


async def unfavourite_experiment(experiment: str) -> ExperimentRecord:
    """The experiment is no favourite.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    return await in_transaction(_change, experiment, _FAVOURITE, {"favourite": False})


async def archive_experiment(experiment: str) -> ExperimentRecord:
    """The experiment is out of the way: listed only when archived ones are asked for; nothing of it is gone.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    return await in_transaction(_change, experiment, _ARCHIVE, {})


async def unarchive_experiment(experiment: str) -> ExperimentRecord:
    """The experiment is listed again.

    Raises:
        NotFound, BadInput: see `find_experiment`.
    """
    return await in_transaction(_change, experiment, _UNARCHIVE, {})


async def rename_experiment(experiment: str, name: str) -> ExperimentRecord:
    """The experiment is called `name`, in what was concluded from it too; others may be called the same.

    Raises:
        NotFound, BadInput: see `find_experiment`; or the name is empty or too long.
    """
    require_storable(name, "name")
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadInput(f"a name has 1 to {LONGEST_NAME} characters, not {len(name.strip())}")
    return await in_transaction(_rename, experiment, name.strip())


_CHANGE = "UPDATE experiments SET {}, updated_at = clock_timestamp() WHERE id = :id"
_TAG = text(_CHANGE.format("tags = ARRAY(SELECT DISTINCT unnest(tags || CAST(:tags AS text[])) ORDER BY 1)"))
_UNTAG = text(_CHANGE.format("tags = ARRAY(SELECT each FROM unnest(tags) AS each WHERE each <> ALL(:tags) ORDER BY 1)"))
_FAVOURITE = text(_CHANGE.format("is_favourite = :favourite"))
_ARCHIVE = text(_CHANGE.format("archived_at = coalesce(archived_at, clock_timestamp())"))
_UNARCHIVE = text(_CHANGE.format("archived_at = NULL"))
_RENAME = text(_CHANGE.format("name = :name"))
_RENAME_ANALYSES = text("""
    UPDATE sweep_analyses SET analysis = jsonb_set(analysis, '{name}', to_jsonb(CAST(:name AS text)))
    WHERE experiment_id = :id
""")


def _change(connection: Connection, experiment: str, statement: Any, values: dict[str, Any]) -> ExperimentRecord:
    found = find_experiment(connection, experiment)
    connection.execute(statement, {"id": found, **values})
    return read_record(connection, found)


def _rename(connection: Connection, experiment: str, name: str) -> ExperimentRecord:
    found = find_experiment(connection, experiment)
    for statement in (_RENAME, _RENAME_ANALYSES):
        connection.execute(statement, {"id": found, "name": name})
    return read_record(connection, found)


def _as_tags(tags: Iterable[str]) -> list[str]:
    """As they are stored: without space around them, each once."""
    given = list(dict.fromkeys(tag.strip() for tag in tags))
    if not given:
        raise BadInput("no tag was given")
    for tag in given:
        require_storable(tag, "tag")
        if not 0 < len(tag) <= LONGEST_TAG:
            raise BadInput(f"a tag has 1 to {LONGEST_TAG} characters, not {len(tag)}")
    return given
