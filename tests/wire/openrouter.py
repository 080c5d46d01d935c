"""OpenRouter's chat completions.

Requests: OpenAI's, and the fields of "API Reference: Overview" (Completions Request Format) and "Usage
Accounting" in OpenRouter's documentation. Answers: "Usage Accounting", whose `usage.cost` is in USD. Errors:
"Errors and Debugging".
"""

from __future__ import annotations

from typing import Any

from tests.wire.chat_completions import ChatCompletions, require_chat
from tests.wire.server import Answer, Asked, Failure, require

OWN_FIELDS = frozenset(
    {"usage", "provider", "models", "route", "transforms", "plugins", "reasoning", "top_k", "top_a", "min_p"}
) | {"repetition_penalty", "session_id", "trace"}


class OpenRouter(ChatCompletions):
    """`POST /api/v1/chat/completions`."""

    model = "openrouter/openai/gpt-4o-mini"
    key = "sk-or-v1-91c4"
    cost: float | None = 0.00021375

    def environment(self) -> dict[str, str]:
        return {"OPENROUTER_API_BASE": f"{self.url}/api/v1", "OPENROUTER_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require((asked.method, asked.path) == ("POST", "/api/v1/chat/completions"), f"{asked.path}: Not Found")
        require(asked.headers.get("authorization") == f"Bearer {self.key}", "No auth credentials found")
        require_chat({name: value for name, value in asked.body.items() if name not in OWN_FIELDS})
        require(asked.body.get("usage") in (None, {"include": True}), "usage: include is true or absent")

    def failure(self, status: int, message: str, **metadata: Any) -> Failure:
        said: dict[str, Any] = {"code": status, "message": message}
        body = {"error": said | ({"metadata": metadata} if metadata else {}), "user_id": "user_2x"}
        return Failure(status, body, {"Retry-After": "7"} if status == 429 else {})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        body = super().body(asked, answer) | {"provider": "OpenAI"}
        if self.cost is not None:
            body["usage"] |= {"cost": self.cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}
        return body
