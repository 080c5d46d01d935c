"""Jina's reranker.

Requests and answers: Jina's description of the reranker's API (jina.ai/reranker, "API"): `model`, `query`,
`documents`, `top_n`, `return_documents`; the documents are sent back unless told not to, `usage.total_tokens` is what
is billed. Errors: `{"detail"}`.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tests.wire.cohere_rerank import Scores, ranking
from tests.wire.server import Answer, Asked, Closed, Failure, WireServer, require


class Request(Closed):
    """The body of `POST /v1/rerank`."""

    model: str
    query: str
    documents: list[str] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1)
    return_documents: bool | None = None


class Jina(WireServer):
    """`POST /v1/rerank`."""

    model = "jina_ai/jina-reranker-v2-base-multilingual"
    key = "jina_5b2a"

    def __init__(self, *outcomes: Answer | Failure) -> None:
        super().__init__(*(outcomes or (Scores(),)))

    def environment(self) -> dict[str, str]:
        return {"JINA_AI_API_BASE": f"{self.url}/v1", "JINA_AI_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require((asked.method, asked.path) == ("POST", "/v1/rerank"), f"{asked.path}: Not Found")
        require(asked.headers.get("authorization") == f"Bearer {self.key}", "invalid API key")
        Request.model_validate(asked.body)

    def failure(self, status: int, message: str) -> Failure:
        return Failure(status, {"detail": message}, {"Retry-After": "7"} if status == 429 else {})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        assert isinstance(answer, Scores)
        documents = asked.body["documents"]
        rows = ranking(documents, asked.body.get("top_n"), answer)
        if asked.body.get("return_documents", True):
            rows = [row | {"document": {"text": documents[row["index"]]}} for row in rows]
        return {
            "model": asked.body["model"],
            "object": "list",
            "usage": {"total_tokens": answer.tokens},
            "results": rows,
        }
