"""Feedback on answers: one of each person on each response, the latest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID

from sqlalchemy import Connection, Row, text

from blocks.database import database_errors
from schemas.canonical import postgres_text, require_storable
from schemas.choices import Rating
from schemas.errors import BadInput, NotFound
from schemas.feedback import FeedbackRecord
from schemas.identifiers import new_id
from tasks.ledger.session import open_ledger

_RESPONSES = text("""
    SELECT uses.id AS used, coalesce(originals.id, uses.id) AS id, uses.user_id,
        uses.status IN ('succeeded', 'replayed') AS answered,
        coalesce(originals.request, uses.request, '{}') ? 'output_schema' AS structured
    FROM llm_requests AS uses LEFT JOIN llm_requests AS originals ON originals.id = uses.replayed_from
    WHERE uses.id = ANY(:ids)
""")
_GIVE = text("""
    INSERT INTO feedback (id, response_id, user_id, rating, notes, categories, correction)
    VALUES (:id, :response, :user, :rating, :notes, :categories, :correction)
    ON CONFLICT (response_id, user_id)
    DO UPDATE SET rating = excluded.rating, notes = excluded.notes, categories = excluded.categories,
        correction = excluded.correction, updated_at = clock_timestamp()
    RETURNING *
""")
_OF = text("""
    SELECT feedback.* FROM feedback
    LEFT JOIN llm_requests AS uses ON uses.id = :response
    WHERE (CAST(:response AS uuid) IS NULL OR response_id IN (uses.id, uses.replayed_from))
        AND (CAST(:user AS text) IS NULL OR feedback.user_id = :user)
    ORDER BY updated_at DESC, feedback.id LIMIT :limit
""")
LONGEST_CATEGORY = 64


async def give_feedback(
    response_id: UUID,
    rating: Rating,
    *,
    notes: str | None = None,
    user: str | None = None,
    categories: Iterable[str] = (),
    correction: str | None = None,
) -> FeedbackRecord:
    """The feedback of `user` on the response is this; what they said of it before is replaced, all of it.

    Args:
        response_id: the request id that came with the answer, also of a replay.
        user: by default whose request it was; nobody else may rate it. A request of nobody's may be rated by all.
        categories: short labels, such as `wrong price`.
        correction: what the response should have been, in full; JSON where the call wanted JSON.

    Raises:
        NotFound: there is no such request.
        BadInput: it has no answer, is another user's, or something said of it is not as it should be.
    """
    given = said_of(response_id, rating, notes=notes, user=user, categories=categories, correction=correction)
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_give, given)


async def read_feedback(
    *, response_id: UUID | None = None, user: str | None = None, limit: int = 100
) -> list[FeedbackRecord]:
    """The latest feedback on a response (also of a replay), of a user, or of all; newest first.

    Raises:
        NotFound: there is no such response.
    """
    values = {"response": response_id, "user": user, "limit": limit}
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                rows = (await connection.execute(_OF, values)).all()
                if not rows and response_id is not None:
                    uses = await connection.execute(_RESPONSES, {"ids": [response_id]})
                    _require(uses.first(), response_id)
    return [FeedbackRecord.model_validate(row) for row in rows]


@dataclass(frozen=True)
class Said:
    """What one person says of one response, before it is looked up."""

    response_id: UUID
    rating: Rating
    notes: str | None
    user: str | None
    categories: list[str]
    correction: str | None


def said_of(
    response_id: UUID,
    rating: Rating,
    *,
    notes: str | None = None,
    user: str | None = None,
    categories: Iterable[str] = (),
    correction: str | None = None,
) -> Said:
    """What `give_feedback` is given, as it can be stored.

    Raises:
        BadInput: it cannot be.
    """
    require_storable(user, "user")
    labels = _labels(categories)
    if rating not in get_args(Rating):
        raise BadInput(f"{rating!r} is no rating: give {', '.join(get_args(Rating))}")
    return Said(response_id, rating, notes, user, labels, correction)


def give_together(connection: Connection, given: Sequence[Said]) -> list[BadInput | NotFound | None]:
    """Everything that `give_feedback` would take is recorded; of the others why not, in the order they are given.

    What is said twice of a response by one person is in the end what was said last.
    """
    responses = _responses(connection, given)
    refused, values = list[BadInput | NotFound | None](), list[dict[str, Any]]()
    for said in given:
        try:
            values.append(_values(said, responses.get(said.response_id)))
        except (BadInput, NotFound) as error:
            refused.append(error)
        else:
            refused.append(None)
    if values:  # in one order everywhere, so that no two transactions wait for each other
        connection.execute(_GIVE, sorted(values, key=lambda row: (row["response"], row["user"] or "")))
    return refused


def _labels(categories: Iterable[str]) -> list[str]:
    labels = {postgres_text(" ".join(label.split())) for label in categories} - {""}
    for label in labels:
        if len(label) > LONGEST_CATEGORY:
            raise BadInput(f"the category {label[:20]!r}… is longer than {LONGEST_CATEGORY} characters")
    return sorted(labels)


def _give(connection: Connection, said: Said) -> FeedbackRecord:
    values = _values(said, _responses(connection, [said]).get(said.response_id))
    return FeedbackRecord.model_validate(connection.execute(_GIVE, values).one())


def _responses(connection: Connection, given: Sequence[Said]) -> dict[UUID, Row[Any]]:
    rows = connection.execute(_RESPONSES, {"ids": [said.response_id for said in given]})
    return {row.used: row for row in rows}


def _require(response: Row[Any] | None, response_id: UUID) -> Row[Any]:
    if response is None:
        raise NotFound(f"there is no response {response_id}", response_id=str(response_id))
    return response


def _values(said: Said, response: Row[Any] | None) -> dict[str, Any]:
    """The row of `feedback`.

    Raises:
        NotFound, BadInput: as `give_feedback`.
    """
    response_id = said.response_id
    response = _require(response, response_id)
    if not response.answered:
        raise BadInput(f"request {response_id} has no answer to rate", response_id=str(response_id))
    if response.user_id is not None and said.user not in (None, response.user_id):
        raise BadInput(f"response {response_id} is not {said.user}'s to rate", response_id=str(response_id))
    return {
        "id": new_id(),
        "response": response.id,
        "user": said.user or response.user_id,
        "rating": said.rating,
        "notes": postgres_text(said.notes) if said.notes else None,
        "categories": said.categories,
        "correction": _correction(said.correction, structured=response.structured),
    }


def _correction(text: str | None, *, structured: bool) -> str | None:
    """The correction as it is kept.

    Raises:
        BadInput: it is empty, or no JSON where the response was to be JSON.
    """
    if text is None:
        return None
    if not text.strip():
        raise BadInput("the correction is empty: give the whole response as it should have been")
    if structured:
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"the response was to be JSON, and the correction is not: {error}") from None
    return postgres_text(text)
