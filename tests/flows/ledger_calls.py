"""Answered calls with feedback, as the ledger has them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

SYSTEM = {"role": "system", "content": "You are brief."}

_CALL = text("""
    INSERT INTO llm_requests (id, worker_id, answer_key, attempt, project, user_id, kind, provider, model, request,
        response, status, cost_source, input_tokens, output_tokens, finish_reason, created_at, completed_at)
    VALUES (:id, gen_random_uuid(), :key, 1, :project, 'ada', 'chat', 'openai', :model, CAST(:request AS jsonb),
        CAST(:response AS jsonb), :status, 'unpriced', 30, 12, :finish, clock_timestamp(), clock_timestamp())
""")


class Calls:
    """Writes answered calls and feedback as the ledger has them, in the order of their ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made = 0

    def add(
        self, question: str, answer: str | None, rating: str = "", correction: str | None = None, **more: Any
    ) -> UUID:
        """The id of the call."""
        self._made += 1
        made = UUID(int=(0x0199 << 112) | (self._made << 80) | (0x7000 << 64) | (0x8 << 60) | self._made)
        request = {"messages": more.get("messages", [SYSTEM, {"role": "user", "content": question}])}
        if "schema" in more:
            request["output_schema"] = more["schema"]
        values = {
            "id": made,
            "key": str(made),
            "project": more.get("project", "shop"),
            "model": more.get("model", "gpt-4o-mini"),
            "request": json.dumps(request),
            "response": json.dumps({"content": answer}),
            "status": more.get("status", "succeeded"),
            "finish": more.get("finish", "stop"),
        }
        with self._engine.begin() as connection:
            connection.execute(_CALL, values)
            if rating:
                said = "INSERT INTO feedback (response_id, user_id, rating, correction) VALUES (:id, 'ada', :r, :c)"
                connection.execute(text(said), {"id": made, "r": rating, "c": correction})
        return made
