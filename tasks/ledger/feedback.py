"""Feedback on answers: one of each person on each response, the latest."""

from __future__ import annotations

from typing import get_args
from uuid import UUID

from sqlalchemy import Connection, text

from blocks.database import database_errors
from schemas.canonical import postgres_text
from schemas.choices import Rating
from schemas.errors import BadInput, NotFound
from schemas.feedback import FeedbackRecord
from schemas.identifiers import new_id
from tasks.ledger.session import open_ledger

_RESPONSE = text("""
    SELECT coalesce(originals.id, uses.id) AS id, uses.user_id, uses.status IN ('succeeded', 'replayed') AS answered
    FROM llm_requests AS uses LEFT JOIN llm_requests AS originals ON originals.id = uses.replayed_from
    WHERE uses.id = :id
""")
_GIVE = text("""
    INSERT INTO feedback (id, response_id, user_id, rating, notes) VALUES (:id, :response, :user, :rating, :notes)
    ON CONFLICT (response_id, user_id)
    DO UPDATE SET rating = excluded.rating, notes = excluded.notes, updated_at = clock_timestamp()
    RETURNING *
""")


async def give_feedback(
    response_id: UUID, rating: Rating, *, notes: str | None = None, user: str | None = None
) -> FeedbackRecord:
    """The feedback of `user` on the response is this; what they said of it before is replaced.

    Args:
        response_id: the request id that came with the answer, also of a replay.
        user: by default whose request it was.

    Raises:
        NotFound: there is no such request.
        BadInput: it has no answer, or the rating is none.
    """
    if rating not in get_args(Rating):
        raise BadInput(f"{rating!r} is no rating: give {', '.join(get_args(Rating))}")
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.begin() as connection:
                return await connection.run_sync(_give, response_id, rating, notes, user)


def _give(
    connection: Connection, response_id: UUID, rating: Rating, notes: str | None, user: str | None
) -> FeedbackRecord:
    response = connection.execute(_RESPONSE, {"id": response_id}).first()
    if response is None:
        raise NotFound(f"there is no response {response_id}", response_id=str(response_id))
    if not response.answered:
        raise BadInput(f"request {response_id} has no answer to rate", response_id=str(response_id))
    values = {
        "id": new_id(),
        "response": response.id,
        "user": user or response.user_id,
        "rating": rating,
        "notes": postgres_text(notes) if notes else None,
    }
    return FeedbackRecord.model_validate(connection.execute(_GIVE, values).one())
