"""The versions of the model for a purpose: registered, put in charge, rolled back.

Promotions of a purpose are a stack: the latest that was not rolled back is in charge, and rolling it back puts the
one before it in charge again. Nothing is deleted.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.canonical import require_storable
from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from schemas.versions import Lineage, Name, VersionRecord, purpose_of
from tasks.ledger.rows import insert_rows
from tasks.ledger.session import open_ledger

_NAME: TypeAdapter[str] = TypeAdapter(Name)

_LIST = text("""
    SELECT model_versions.*, model_versions.id = (
               SELECT version_id FROM model_promotions AS standing
               WHERE standing.purpose = model_versions.purpose AND rolled_back_at IS NULL
               ORDER BY standing.id DESC LIMIT 1
           ) IS TRUE AS in_charge
    FROM model_versions
    WHERE (CAST(:purpose AS text) IS NULL OR purpose = :purpose) AND (CAST(:number AS int) IS NULL OR number = :number)
    ORDER BY purpose, number
""")
# Held to the end of the transaction, so that two who register or promote at once do so one after the other.
_LOCK_PURPOSE = text("SELECT pg_advisory_xact_lock(hashtextextended('model_versions ' || :purpose, 0))")
_LAST = text("SELECT coalesce(max(number), 0) FROM model_versions WHERE purpose = :purpose")
_OF_RUN = text("SELECT purpose, number FROM model_versions WHERE run_id = :run")
_PROMOTE = text("INSERT INTO model_promotions (purpose, version_id) VALUES (:purpose, :version)")
_STANDING = text("""
    SELECT id FROM model_promotions WHERE purpose = :purpose AND rolled_back_at IS NULL ORDER BY id DESC LIMIT 2
""")
_ROLL_BACK = text("UPDATE model_promotions SET rolled_back_at = clock_timestamp() WHERE id = :id")


def require_name(value: str, what: str) -> str:
    """`value`, which can name a purpose, test or variant.

    Raises:
        BadInput: it cannot.
    """
    try:
        return _NAME.validate_python(value)
    except ValidationError:
        raise BadInput(
            f"{value!r} cannot be the name of a {what}: it has letters, digits, '.', '_' and '-', at most 80"
        ) from None


async def register_version(
    purpose: str, model: str, *, lineage: Lineage | None = None, notes: str | None = None
) -> VersionRecord:
    """The model is the newest version for the purpose; nothing calls it until it is promoted.

    A fine-tuning run registers its model once; doing so again returns that version.

    Args:
        model: LiteLLM name or named model.

    Raises:
        BadInput: the purpose cannot be named so, or the model is itself a `version:PURPOSE`.
        ConfigurationError: there is no such local model, or the file of named models is wrong.
    """
    require_name(purpose, "purpose")
    require_storable(model, "model")
    require_storable(notes, "notes")
    if not model.strip() or purpose_of(model) is not None:
        raise BadInput(f"{model!r} cannot be a version: name a model, as gpt-4o-mini or a named one")
    async with open_ledger() as ledger:
        ledger.providers.table_of(model)
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_register, purpose, model, lineage or Lineage(), notes)


def _register(connection: Connection, purpose: str, model: str, lineage: Lineage, notes: str | None) -> VersionRecord:
    connection.execute(_LOCK_PURPOSE, {"purpose": purpose})
    if lineage.run_id is not None:
        known = connection.execute(_OF_RUN, {"run": lineage.run_id}).first()
        if known is not None:
            return find_version(connection, known.purpose, known.number)
    number = connection.execute(_LAST, {"purpose": purpose}).scalar_one() + 1
    row: dict[str, Any] = {"id": new_id(), "purpose": purpose, "number": number, "model": model, "notes": notes}
    insert_rows(connection, "model_versions", [row | lineage.model_dump()])
    return find_version(connection, purpose, number)


def find_version(connection: Connection, purpose: str, number: int) -> VersionRecord:
    """The version of the purpose with this number.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(_LIST, {"purpose": purpose, "number": number}).first()
    if row is None:
        raise NotFound(f"there is no version {number} of {purpose}; `headrace versions list` shows those there are")
    return VersionRecord.model_validate(row)


async def list_versions(purpose: str | None = None) -> list[VersionRecord]:
    """All versions, of one purpose or of every one, oldest first."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(_LIST, {"purpose": purpose, "number": None})).all()
    return [VersionRecord.model_validate(row) for row in rows]


async def promote_version(purpose: str, number: int) -> VersionRecord:
    """The version is in charge: calls of `version:PURPOSE` go to it from now on.

    Raises:
        NotFound: there is no such version.
        BadInput: it is in charge already.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_promote, purpose, number)


def _promote(connection: Connection, purpose: str, number: int) -> VersionRecord:
    version, was_in_charge = put_version_in_charge(connection, purpose, number)
    if was_in_charge:
        raise BadInput(f"version {number} of {purpose} is in charge already")
    return version


def put_version_in_charge(connection: Connection, purpose: str, number: int) -> tuple[VersionRecord, bool]:
    """The version is in charge once the transaction commits; and whether it was before.

    Raises:
        NotFound: there is no such version.
    """
    connection.execute(_LOCK_PURPOSE, {"purpose": purpose})
    version = find_version(connection, purpose, number)
    if not version.in_charge:
        connection.execute(_PROMOTE, {"purpose": purpose, "version": version.id})
    return version.model_copy(update={"in_charge": True}), version.in_charge


async def roll_back_version(purpose: str) -> VersionRecord:
    """The version that was in charge of the purpose before the present one is in charge again.

    Raises:
        BadInput: there was none before.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_roll_back, purpose)


def _roll_back(connection: Connection, purpose: str) -> VersionRecord:
    connection.execute(_LOCK_PURPOSE, {"purpose": purpose})
    standing = connection.execute(_STANDING, {"purpose": purpose}).scalars().all()
    if len(standing) < 2:
        before = "no version was" if standing else "none is, nor was one"
        raise BadInput(f"{purpose} cannot be rolled back: {before} in charge before")
    connection.execute(_ROLL_BACK, {"id": standing[0]})
    rows = connection.execute(_LIST, {"purpose": purpose, "number": None}).all()
    return VersionRecord.model_validate(next(row for row in rows if row.in_charge))
