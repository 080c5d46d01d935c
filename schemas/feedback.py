"""Feedback as it is given and kept."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from schemas.choices import Rating


class FeedbackRecord(BaseModel):
    """What one person thinks of one response.

    Attributes:
        response_id: the request that answered; where a replay was rated, the one it replayed.
        user_id: None where nobody is named.
        categories: short labels, in alphabetical order.
        correction: what the response should have been, in full; JSON where it was to be JSON.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    response_id: UUID
    user_id: str | None
    rating: Rating
    notes: str | None
    categories: tuple[str, ...] = ()
    correction: str | None = None
    created_at: datetime
    updated_at: datetime


class RejectedFeedback(BaseModel):
    """A row of a file that was not taken, and why."""

    model_config = ConfigDict(frozen=True)

    row: int = Field(description="Line in the file, the header being the first")
    reason: str


class FeedbackReport(BaseModel):
    """What became of feedback that was given in bulk.

    Attributes:
        recorded: rows whose feedback stands now.
    """

    run_id: UUID | None = None
    status: str = "completed"
    recorded: int
    rejected: tuple[RejectedFeedback, ...] = ()
