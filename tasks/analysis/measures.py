"""What an analysis takes, so that two can be compared."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from blocks.database import database_errors
from tasks.ledger.session import open_ledger


class Effort(BaseModel):
    """Cost and time of the answers that an analysis rests on, research apart.

    Attributes:
        cost_usd: what they cost when they were given, also where this run was given them again for nothing;
            None where it is not known of one.
        model_seconds: how long the models took, added up over the answers.
    """

    model_config = ConfigDict(frozen=True)

    cost_usd: Decimal | None
    model_seconds: float


_EFFORT = text("""
    WITH used AS (
        SELECT DISTINCT coalesce(replayed_from, id) AS id FROM llm_requests
        WHERE run_id = :run AND status IN ('succeeded', 'replayed') AND purpose <> 'research'
    )
    SELECT CASE WHEN bool_or(cost_usd IS NULL) THEN NULL ELSE coalesce(sum(cost_usd), 0) END AS cost_usd,
           coalesce(sum(latency_ms), 0) / 1000.0 AS model_seconds
    FROM used JOIN llm_requests USING (id)
""")


async def measure_effort(run_id: UUID) -> Effort:
    """What the drafts and reviews of a run take."""
    async with open_ledger() as ledger:
        with database_errors():
            async with ledger.engine.connect() as connection:
                return Effort(**(await connection.execute(_EFFORT, {"run": run_id})).mappings().one())
