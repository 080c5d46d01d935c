"""Azure OpenAI's chat completions.

Requests: OpenAI's, at the path and with the header and version of "Azure OpenAI REST API reference" (data plane
inference, 2024-10-21). Errors: "Content filtering" (Error handling) and "Azure OpenAI quotas and limits" in
Microsoft's documentation.
"""

from __future__ import annotations

import re
from typing import Any

from tests.wire.chat_completions import ChatCompletions, require_chat
from tests.wire.server import Asked, Failure, require

_PATH = re.compile(r"/openai/deployments/[^/]+/chat/completions")


class Azure(ChatCompletions):
    """`POST /openai/deployments/{deployment-id}/chat/completions?api-version=2024-10-21`."""

    model = "azure/o4-mini"
    key = "91c4f0e2d7b84a6e9c0f"

    def environment(self) -> dict[str, str]:
        return {"AZURE_API_BASE": self.url, "AZURE_API_KEY": self.key, "AZURE_API_VERSION": "2024-10-21"}

    def check(self, asked: Asked) -> None:
        require(asked.method == "POST" and _PATH.fullmatch(asked.path) is not None, f"{asked.path}: Not Found")
        require(asked.query == {"api-version": "2024-10-21"}, "Missing required query parameter: api-version")
        require(asked.headers.get("api-key") == self.key, "Access denied due to invalid subscription key")
        require_chat(asked.body)

    def failure(self, status: int, message: str, code: str | None = None, **more: Any) -> Failure:
        said = {"code": code or str(status), "message": message, **more}
        return Failure(status, {"error": said}, {"retry-after": "7"} if status == 429 else {})
