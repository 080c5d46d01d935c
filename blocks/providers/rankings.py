"""What a ranking must be before anybody relies on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from blocks.providers.failures import Origin, unreadable
from schemas.calls import RankedDocument, RerankCall


class SaidRank(BaseModel):
    """One row of an answer, as the provider says it."""

    model_config = ConfigDict(strict=True)

    index: int
    relevance_score: float


def ranked(said: Sequence[SaidRank], call: RerankCall, origin: Origin) -> tuple[RankedDocument, ...]:
    """The ranking of `call`, most relevant first, equal scores in the order of the documents.

    Raises:
        ProviderUnavailable: it names a document that there is not, or one twice, has a score that is no number,
            or leaves documents out; it may be billed.
    """
    indices = [row.index for row in said]
    if any(not 0 <= index < len(call.documents) for index in indices):
        raise unreadable(origin, "a ranking of a document that was not sent")
    if len(set(indices)) < len(indices):
        raise unreadable(origin, "a ranking with a document twice")
    if not all(math.isfinite(row.relevance_score) for row in said):
        raise unreadable(origin, "a score that is no number")
    if len(said) < call.wanted:
        raise unreadable(origin, f"{len(said)} documents ranked where {call.wanted} were asked for")
    best = sorted(said, key=lambda row: (-row.relevance_score, row.index))[: call.wanted]
    return tuple(RankedDocument(index=row.index, relevance_score=row.relevance_score) for row in best)
