"""Feedback as it is given and kept."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.choices import Rating


class FeedbackRecord(BaseModel):
    """What one person thinks of one response.

    Attributes:
        response_id: the request that answered; where a replay was rated, the one it replayed.
        user_id: None where nobody is named.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: UUID
    response_id: UUID
    user_id: str | None
    rating: Rating
    notes: str | None
    created_at: datetime
    updated_at: datetime
