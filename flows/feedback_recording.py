"""Feedback on responses, one by one or from a file.

from flows.feedback_recording import record_feedback
from flows.running import run_flow

given = await run_flow(record_feedback, {"response": request_id, "rating": "positive", "user": "ada"})
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from uuid import UUID

from prefect import flow

from schemas.choices import Rating
from schemas.errors import BadInput
from schemas.feedback import FeedbackRecord, FeedbackReport
from tasks.ledger.feedback import give_feedback
from tasks.ledger.feedback_files import give_feedback_of

RECORD_FEEDBACK = "record-feedback"


@flow(name=RECORD_FEEDBACK, persist_result=False)
async def record_feedback(
    response: UUID | None = None,
    rating: Rating | Literal[""] = "",
    user: str = "",
    notes: str = "",
    categories: list[str] = [],  # noqa: B006 - Prefect makes the form from it and nobody changes it
    correction: str = "",
    file: str = "",
) -> FeedbackRecord | FeedbackReport:
    """Record what a user thinks of a response; what they said of it before is replaced.

    Args:
        response: The request id that came with the answer
        rating: What the user thinks of it: positive, negative or neutral
        user: Who thinks so; empty: the user of the request
        notes: Why
        categories: Short labels, such as wrong price
        correction: What the response should have been, in full; JSON where it was to be JSON
        file: Instead of a response: a CSV file with many, with the columns response and rating and any of the others

    Raises:
        BadInput: something said is not as it should be, or the response is another user's.
        NotFound: there is no such response.
    """
    if bool(file) == (response is not None) or (response is not None and not rating):
        raise BadInput("give a response and its rating, or a file with many")
    if file and (rating or notes or categories or correction):
        raise BadInput("a file says itself what is thought of each response: beside it, only a user can be given")
    if response is None or not rating:
        return await give_feedback_of(Path(file), user=user or None)
    return await give_feedback(
        response,
        rating,
        user=user or None,
        notes=notes or None,
        categories=categories,
        correction=correction or None,
    )
