"""Who answers `version:PURPOSE`: the version in charge of the purpose, or a variant of the test that runs on it.

Which it was is on the request's row: `model` and `model_version` (`PURPOSE/NUMBER`), and `context` with
`{"ab_tests": {test: variant}}`. A call without a user is part of no test.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, text

from blocks.database import database_errors
from schemas.calls import ChatCall
from schemas.errors import ConfigurationError
from schemas.versions import CONTEXT_KEY, PREFIX, Variant, choose_variant, purpose_of
from tasks.ledger.fallbacks import fitted_chat
from tasks.ledger.scope import CallScope
from tasks.ledger.session import Ledger

_IN_CHARGE = text("""
    SELECT tests.id AS test_id, tests.name AS test, tests.variants, versions.number, versions.model
    FROM (SELECT CAST(:purpose AS text) AS purpose) AS asked
    LEFT JOIN ab_tests AS tests ON tests.purpose = asked.purpose AND tests.stopped_at IS NULL
    LEFT JOIN LATERAL (
        SELECT model_versions.number, model_versions.model
        FROM model_promotions JOIN model_versions ON model_versions.id = model_promotions.version_id
        WHERE model_promotions.purpose = asked.purpose AND rolled_back_at IS NULL
        ORDER BY model_promotions.id DESC LIMIT 1
    ) AS versions ON true
""")


async def put_in_charge(ledger: Ledger, call: ChatCall, scope: CallScope) -> tuple[ChatCall, CallScope]:
    """`call` to the model in charge, where it names a purpose, with a scope that says which version that is.

    Raises:
        ConfigurationError: no version is in charge of the purpose, and no test runs that has one for the user.
    """
    purpose = purpose_of(call.model)
    if purpose is None:
        return call, scope
    with database_errors():
        async with ledger.engine.connect() as connection:
            found = (await connection.execute(_IN_CHARGE, {"purpose": purpose})).one()
    model, number, exposure = _choose(found, purpose, scope.user)
    context = scope.context
    if exposure:
        context = {**(context or {}), CONTEXT_KEY: {**(context or {}).get(CONTEXT_KEY, {}), **exposure}}
    version = f"{purpose}/{number}" if number else None
    return fitted_chat(call, await ledger.providers.describe(model)), replace(scope, context=context, version=version)


def _choose(found: Row[Any], purpose: str, user: str | None) -> tuple[str, int | None, dict[str, str]]:
    """Model, number of its version, and the exposure to a test."""
    if found.test_id is not None and user:
        variant = choose_variant(found.test_id, user, [Variant.model_validate(each) for each in found.variants])
        assert variant.model is not None  # of a test on a purpose every variant has one
        return variant.model, variant.version, {found.test: variant.name}
    if found.model is None:
        raise ConfigurationError(
            f"{PREFIX}{purpose}: no version is in charge; `headrace versions promote {purpose} NUMBER` puts one there",
            model=f"{PREFIX}{purpose}",
        )
    return found.model, found.number, {}
