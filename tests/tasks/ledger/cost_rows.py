"""Rows of calls at moments of the test's choice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

_number = itertools.count(1)

_INSERT = text("""
    INSERT INTO llm_requests (id, worker_id, answer_key, attempt, project, user_id, kind, purpose, provider, model,
                              answered_model, status, input_tokens, output_tokens, reserved_usd, cost_usd, saved_usd,
                              cost_source, budget_scopes, created_at)
    SELECT r.id, r.id, r.id::text, 1, r.project, r.user_id, 'chat', r.purpose, r.provider, r.model,
           r.answered_model, r.status, r.input_tokens, r.output_tokens, r.reserved_usd, r.cost_usd, r.saved_usd,
           'price_table', '[]', r.created_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        id uuid, project text, user_id text, purpose text, provider text, model text, answered_model text, status text,
        input_tokens int, output_tokens int, reserved_usd numeric, cost_usd numeric, saved_usd numeric,
        created_at timestamptz)
""")
_USUAL: Mapping[str, Any] = {
    "project": "default",
    "user_id": None,
    "purpose": None,
    "provider": "openai",
    "model": "gpt-4o-mini",
    "answered_model": None,
    "status": "succeeded",
    "input_tokens": 10,
    "output_tokens": 5,
    "reserved_usd": None,
    "cost_usd": None,
    "saved_usd": None,
}


def id_at(moment: datetime) -> UUID:
    """An identifier of version 7 made at `moment`."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | next(_number))


def call(moment: datetime, cost: str | None = None, **columns: Any) -> dict[str, Any]:
    """A call made at `moment`, which cost so many dollars."""
    money = {name: None if value is None else str(value) for name, value in columns.items() if name.endswith("_usd")}
    return {**_USUAL, "id": str(id_at(moment)), "created_at": moment.isoformat(), "cost_usd": cost, **columns, **money}


def store(database: Engine, calls: Iterable[Mapping[str, Any]]) -> None:
    """The calls are on record."""
    with database.begin() as connection:
        connection.execute(_INSERT, {"rows": json.dumps(list(calls))})
