"""Tests that divide users among variants: made, read, stopped; and which variant a user has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from blocks.database import database_errors
from schemas.canonical import require_storable
from schemas.errors import BadInput, NotFound
from schemas.identifiers import new_id
from schemas.versions import AbTestRecord, Assignment, Variant, choose_variant, purpose_of
from tasks.ledger.rows import insert_rows
from tasks.ledger.session import Ledger, open_ledger
from tasks.versions.registry import find_version, put_version_in_charge, require_name

SMALLEST_EFFECT = 0.001
_TESTS = text("""
    SELECT * FROM ab_tests WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY started_at
""")
_RUNNING = text("SELECT name FROM ab_tests WHERE purpose = :purpose AND stopped_at IS NULL")
_STOP = text("UPDATE ab_tests SET stopped_at = clock_timestamp() WHERE name = :name AND stopped_at IS NULL")


async def create_test(
    name: str,
    variants: Sequence[Variant],
    *,
    purpose: str | None = None,
    minimum_effect: float = 0.05,
    error_rate: float = 0.05,
    notes: str | None = None,
) -> AbTestRecord:
    """The test runs; its first variant is the control.

    Args:
        variants: two or more; with a purpose, each has a `model`, or the number of a `version` of the purpose.
        purpose: calls of `version:PURPOSE` get the model of their user's variant. Without one the application asks
            `variant_for` and does the rest.
        minimum_effect: the difference in the rate of positive feedback that is worth knowing, as 0.05.
        error_rate: how likely the test may say that there is a difference where there is none.

    Raises:
        BadInput: there is a test of that name, or one runs on the purpose, or the variants are no test.
        NotFound: there is no such version.
    """
    require_name(name, "test")
    require_storable(notes, "notes")
    _require_test(variants, purpose, minimum_effect, error_rate)
    async with open_ledger() as ledger:
        for variant in variants:
            if variant.model is not None:
                ledger.providers.table_of(variant.model)
        row = {
            "id": new_id(),
            "name": name,
            "purpose": purpose,
            "minimum_effect": minimum_effect,
            "error_rate": error_rate,
            "notes": notes,
        }
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_create, row, variants)


def _require_test(variants: Sequence[Variant], purpose: str | None, minimum_effect: float, error_rate: float) -> None:
    if purpose is not None:
        require_name(purpose, "purpose")
    names = [variant.name for variant in variants]
    if len(names) < 2 or len(set(names)) < len(names):
        raise BadInput("a test has two variants or more, each with a name of its own")
    for variant in variants:
        if purpose is not None and variant.model is None and variant.version is None:
            raise BadInput(f"variant {variant.name} of a test on {purpose} needs a model, or the number of a version")
        if variant.version is not None and purpose is None:
            raise BadInput(f"variant {variant.name} names a version, and the test has no purpose")
        if variant.model is not None and purpose_of(variant.model) is not None:
            raise BadInput(f"variant {variant.name} cannot be {variant.model}: name the model itself, or a version")
    if not SMALLEST_EFFECT <= minimum_effect < 1 or not 0 < error_rate < 1:
        raise BadInput(f"the effect is a difference of rates, from {SMALLEST_EFFECT} to 1; the error rate is below 1")


def _create(connection: Connection, row: dict[str, object], variants: Sequence[Variant]) -> AbTestRecord:
    purpose = row["purpose"]
    whole = [
        variant.model_copy(update={"model": find_version(connection, str(purpose), variant.version).model})
        if variant.version is not None
        else variant
        for variant in variants
    ]
    try:
        with connection.begin_nested():
            listed = [variant.model_dump(mode="json") for variant in whole]
            insert_rows(connection, "ab_tests", [row | {"variants": listed}])
    except IntegrityError:
        running = connection.execute(_RUNNING, {"purpose": purpose}).scalar()
        if running is not None and running != row["name"]:
            raise BadInput(f"{running} runs on {purpose}; `headrace ab-test stop {running}` ends it") from None
        raise BadInput(f"there is a test {row['name']} already; the name of a test is never used again") from None
    return _find(connection, str(row["name"]))


def _find(connection: Connection, name: str) -> AbTestRecord:
    row = connection.execute(_TESTS, {"name": name}).first()
    if row is None:
        raise NotFound(f"there is no test {name}; `headrace ab-test list` shows those there are", test=name)
    return AbTestRecord.model_validate(row)


async def read_test(name: str) -> AbTestRecord:
    """The test of this name.

    Raises:
        NotFound: there is none.
    """
    async with open_ledger() as ledger:
        return await _read(ledger, name)


async def _read(ledger: Ledger, name: str) -> AbTestRecord:
    with database_errors():
        async with ledger.engine.connect() as connection:
            return await connection.run_sync(_find, name)


async def list_tests() -> list[AbTestRecord]:
    """All tests, oldest first."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(_TESTS, {"name": None})).all()
    return [AbTestRecord.model_validate(row) for row in rows]


async def stop_test(name: str, *, promote: str | None = None) -> AbTestRecord:
    """The test has ended: calls of its purpose go to the version in charge, and nothing more is counted.

    Args:
        promote: a variant whose version is put in charge in the same moment.

    Raises:
        NotFound: there is no such test.
        BadInput: it was stopped before, or the variant to promote is none, or no version of the purpose.
    """
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_stop, name, promote)


def _stop(connection: Connection, name: str, promote: str | None) -> AbTestRecord:
    stopped = connection.execute(_STOP, {"name": name}).rowcount
    test = _find(connection, name)
    if not stopped:
        raise BadInput(f"{name} was stopped on {test.stopped_at:%F at %H:%M} UTC")
    if promote is not None:
        chosen = next((variant for variant in test.variants if variant.name == promote), None)
        if chosen is None or chosen.version is None or test.purpose is None:
            what = "no variant" if chosen is None else "no version of a purpose"
            raise BadInput(f"{promote} is {what} of {name}, so that it cannot be put in charge; the test goes on")
        put_version_in_charge(connection, test.purpose, chosen.version)
    return test


async def variant_for(user: str, test: str) -> Assignment:
    """Which variant of the test the user has; hand its `context` to the calls that the variant has a part in.

        chosen = await variant_for("ada", "shorter-briefs")
        answer = await complete(PROMPTS[chosen.variant], user="ada", context=chosen.context)

    Raises:
        BadInput: nobody is named.
        NotFound: there is no such test.
    """
    if not user:
        raise BadInput("a variant is somebody's: name a user")
    async with open_ledger() as ledger:
        found = await _read(ledger, test)
    variant = choose_variant(found.id, user, found.variants)
    return Assignment(
        test=test,
        user=user,
        variant=variant.name,
        model=variant.model,
        version=variant.version,
        running=found.stopped_at is None,
    )
