"""Generations of embeddings: found, made, switched, restored and dropped.

Whoever changes them, or fills one, holds one lock of the database; who comes second is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

from blocks.database import database_errors
from schemas.embedding import ASKED, GenerationRecord
from schemas.errors import BadInput, NotFound, RunBusy
from tasks.embedding.index import drop_index
from tasks.ledger.session import open_ledger

_LOCK = "hashtextextended('headrace embeddings', 0)"
_BUSY = "another refresh or change of embeddings is under way; wait for it to end"


@contextmanager
def hold_embeddings(engine: Engine) -> Iterator[None]:
    """Inside, no other refresh, switch, restore or drop goes on; the lock is its connection's and ends with it.

    Raises:
        RunBusy: one does already.
    """
    with database_errors(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar():
            raise RunBusy(_BUSY)
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))


def _hold_here(connection: Connection) -> None:
    if not connection.execute(text(f"SELECT pg_try_advisory_xact_lock({_LOCK})")).scalar():
        raise RunBusy(_BUSY)


_WITH_COUNTS = """
    SELECT g.*, (SELECT count(*) FROM material_embeddings AS v WHERE v.generation_id = g.id) AS vectors,
           (SELECT count(*) FROM embedding_failures AS f WHERE f.generation_id = g.id) AS failed,
           (SELECT count(DISTINCT c.content_hash) FROM chunks AS c WHERE c.chunker = g.chunker
            AND NOT EXISTS (SELECT FROM material_embeddings AS v WHERE v.generation_id = g.id
                            AND v.content_hash = c.content_hash)
            AND NOT EXISTS (SELECT FROM embedding_failures AS f WHERE f.generation_id = g.id
                            AND f.content_hash = c.content_hash)) AS missing,
           (SELECT count(*) FROM course_materials AS m WHERE NOT EXISTS (SELECT FROM embedded_materials AS k
            WHERE k.chunker = g.chunker AND k.material_id = m.id)) AS uncut
    FROM embedding_generations AS g WHERE {} ORDER BY g.id
"""


def read_generations(connection: Connection, where: str = "true", **values: Any) -> list[GenerationRecord]:
    """The generations that meet `where`, SQL over `g`, oldest first."""
    rows = connection.execute(text(_WITH_COUNTS.format(where)), values)
    return [GenerationRecord.model_validate(dict(row)) for row in rows.mappings()]


def read_generation(connection: Connection, generation: int) -> GenerationRecord:
    """The generation.

    Raises:
        NotFound: there is none of that number.
    """
    found = read_generations(connection, "g.id = :id", id=generation)
    if not found:
        raise NotFound(f"there is no generation {generation}: `headrace embeddings list` shows those there are")
    return found[0]


def active_generation(connection: Connection) -> GenerationRecord | None:
    """The generation that search reads."""
    found = read_generations(connection, "g.status = 'active'")
    return found[0] if found else None


def identity_of(model: str, endpoint: str, asked_dimensions: int | None) -> str:
    """What vectors depend on beside the text: the model behind its name, who serves it, what it is asked for."""
    return f"{model} at {endpoint}" + (ASKED.format(asked_dimensions) if asked_dimensions else "")


def find_generation(connection: Connection, identity: str, chunker: str) -> int | None:
    """The generation of the model and chunker, the active one first; None where there is none."""
    found: int | None = connection.execute(
        text(
            "SELECT id FROM embedding_generations WHERE model_identity = :identity AND chunker = :chunker "
            "ORDER BY status = 'active' DESC, id DESC LIMIT 1"
        ),
        {"identity": identity, "chunker": chunker},
    ).scalar()
    return found


def make_generation(
    connection: Connection, *, model: str, identity: str, dimensions: int, chunker: str, template: str
) -> int:
    """A new generation, to be filled."""
    made: int = connection.execute(
        text(
            "INSERT INTO embedding_generations (model, model_identity, dimensions, chunker, template) "
            "VALUES (:model, :identity, :dimensions, :chunker, :template) RETURNING id"
        ),
        {"model": model, "identity": identity, "dimensions": dimensions, "chunker": chunker, "template": template},
    ).scalar_one()
    return made


def note_complete(connection: Connection, generation: int) -> None:
    """The generation has a vector of every text that can have one."""
    connection.execute(
        text(
            "UPDATE embedding_generations SET completed_at = clock_timestamp(), "
            "status = CASE status WHEN 'active' THEN status ELSE 'ready' END WHERE id = :id"
        ),
        {"id": generation},
    )


def note_recall(connection: Connection, generation: int, recall: float | None) -> None:
    """What the comparison found is on record."""
    connection.execute(
        text("UPDATE embedding_generations SET recall = :recall WHERE id = :id"), {"id": generation, "recall": recall}
    )


def activate(connection: Connection, generation: int) -> None:
    """Search reads the generation; the one that it read until now is retired, in the same transaction."""
    connection.execute(
        text(
            "UPDATE embedding_generations SET status = 'retired', retired_at = clock_timestamp() "
            "WHERE status = 'active' AND id <> :id"
        ),
        {"id": generation},
    )
    connection.execute(
        text(
            "UPDATE embedding_generations SET status = 'active', activated_at = clock_timestamp(), retired_at = NULL "
            "WHERE id = :id"
        ),
        {"id": generation},
    )


def lacks(generation: GenerationRecord) -> str | None:
    """What the generation does not have of the materials; None where it is complete."""
    if generation.missing:
        return f"generation {generation.id} is not complete: {generation.missing:,} texts have no vector yet"
    if generation.uncut:
        return f"generation {generation.id} is not complete: {generation.uncut:,} materials were not looked at yet"
    return None


def doubts(generation: GenerationRecord, least_recall: float) -> str | None:
    """Why search had better not read the generation; None where there is no reason."""
    if reason := lacks(generation):
        return reason
    if generation.failed > (1 - least_recall) * (generation.vectors + generation.failed):
        return f"{generation.failed:,} texts of generation {generation.id} could not be embedded"
    if generation.recall is not None and generation.recall < least_recall:
        return (
            f"the index of generation {generation.id} finds {generation.recall:.0%} of what is nearest on the sample, "
            f"less than {least_recall:.0%} (HEADRACE_EMBEDDING_RECALL)"
        )
    return None


async def list_generations() -> list[GenerationRecord]:
    """All generations, oldest first."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return await connection.run_sync(lambda here: read_generations(here))


async def switch_generation(generation: int, *, force: bool = False) -> GenerationRecord:
    """Search reads the generation from now on.

    Args:
        force: even where it is not complete or its recall is below HEADRACE_EMBEDDING_RECALL.

    Raises:
        NotFound: there is none of that number.
        BadInput: it had better not be switched to; the message says why.
        RunBusy: a refresh is under way.
    """
    async with open_ledger() as ledger:
        least = ledger.settings.embedding_recall

        def change(connection: Connection) -> GenerationRecord:
            _hold_here(connection)
            wanted = read_generation(connection, generation)
            if not force and (reason := doubts(wanted, least)):
                raise BadInput(f"{reason}; --force switches to it all the same")
            activate(connection, generation)
            return read_generation(connection, generation)

        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(change)


async def restore_generation(generation: int | None = None) -> GenerationRecord:
    """Search reads a retired generation again, by default the one that was retired last.

    `missing` of the result says how many texts have come since that it has no vector of; a refresh with its model
    embeds them.

    Raises:
        NotFound: there is none to restore.
        BadInput: it is not a retired one.
        RunBusy: a refresh is under way.
    """
    async with open_ledger() as ledger:

        def change(connection: Connection) -> GenerationRecord:
            _hold_here(connection)
            if generation is None:
                found = read_generations(connection, "g.status = 'retired'")
                if not found:
                    raise NotFound("no generation was retired: there is nothing to restore")
                wanted = max(found, key=lambda each: (each.retired_at or each.created_at, each.id))
            else:
                wanted = read_generation(connection, generation)
            if wanted.retired_at is None or wanted.status == "active":
                raise BadInput(f"generation {wanted.id} is {wanted.status}, not one that search read before")
            activate(connection, wanted.id)
            return read_generation(connection, wanted.id)

        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(change)


async def drop_generation(generation: int) -> GenerationRecord:
    """The generation is gone, with its vectors, its index, and chunks of no other generation; returns what it was.

    Raises:
        NotFound: there is none of that number.
        BadInput: search reads it.
        RunBusy: a refresh is under way.
    """
    async with open_ledger() as ledger:

        def change(connection: Connection) -> GenerationRecord:
            _hold_here(connection)
            gone = read_generation(connection, generation)
            if gone.status == "active":
                raise BadInput(f"search reads generation {generation}: switch to another one first")
            drop_index(connection, generation)
            connection.execute(text("DELETE FROM embedding_generations WHERE id = :id"), {"id": generation})
            unused = (
                "WHERE chunker = :chunker AND NOT EXISTS (SELECT FROM embedding_generations WHERE chunker = :chunker)"
            )
            for table in ("chunks", "embedded_materials"):
                connection.execute(text(f"DELETE FROM {table} {unused}"), {"chunker": gone.chunker})
            return gone

        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(change)
