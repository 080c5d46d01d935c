"""Calls of a test between variants, and ratings of them, at moments of the test's choice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from tests.tasks.ledger.cost_rows import id_at

_CALLS = text("""
    INSERT INTO llm_requests (id, worker_id, answer_key, attempt, project, user_id, kind, provider, model, status,
                              replayed_from, cost_usd, cost_source, latency_ms, context, insight_type, model_version,
                              created_at)
    SELECT r.id, r.id, r.id::text, 1, 'lexybrain', r.user_id, 'chat', 'openai', r.model, r.status, r.replayed_from,
           r.cost_usd, 'price_table', r.latency_ms, r.context, r.insight_type, r.model_version, r.created_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        id uuid, user_id text, model text, status text, replayed_from uuid, cost_usd numeric, latency_ms int,
        context jsonb, insight_type text, model_version text, created_at timestamptz)
""")
_RATINGS = text("""
    INSERT INTO feedback (response_id, user_id, rating, created_at)
    SELECT r.response_id, r.user_id, r.rating, r.created_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(response_id uuid, user_id text, rating text,
                                                      created_at timestamptz)
""")
_USUAL: Mapping[str, Any] = {
    "model": "gpt-4o-mini",
    "status": "succeeded",
    "replayed_from": None,
    "cost_usd": "0.001",
    "latency_ms": 500,
    "context": None,
    "insight_type": "radar",
    "model_version": None,
}


def call(moment: datetime, user: str | None, tests: Mapping[str, str] | None = None, **columns: Any) -> dict[str, Any]:
    """A call at `moment` of a user who has these variants of tests."""
    context = {"market": "US", "ab_tests": dict(tests)} if tests else None
    row = {**_USUAL, "id": str(id_at(moment)), "user_id": user, "created_at": moment.isoformat(), "context": context}
    return row | columns


def rating(of: Mapping[str, Any], rating: str, moment: datetime, user: str | None = None) -> dict[str, Any]:
    """What the user of a call, or somebody else, thinks of its answer."""
    user = user or of["user_id"]
    return {"response_id": of["id"], "user_id": user, "rating": rating, "created_at": moment.isoformat()}


def store(database: Engine, calls: Iterable[Mapping[str, Any]], ratings: Iterable[Mapping[str, Any]] = ()) -> None:
    """They are on record."""
    with database.begin() as connection:
        connection.execute(_CALLS, {"rows": json.dumps(list(calls))})
        connection.execute(_RATINGS, {"rows": json.dumps(list(ratings))})
