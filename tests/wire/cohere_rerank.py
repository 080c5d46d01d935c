"""Cohere's rerank.

Requests and answers: "Rerank API (v2)" of Cohere's API reference (docs.cohere.com/v2/reference/rerank): `model`,
`query`, `documents`, `top_n`, `max_tokens_per_doc`, `priority`; results by descending relevance, and
`meta.billed_units.search_units`. Errors: "Errors" there, `{"id", "message"}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tests.wire.server import Answer, Asked, Closed, Failure, WireServer, require


class Request(Closed):
    """The body of `POST /v2/rerank`."""

    model: str
    query: str
    documents: list[str] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1)
    max_tokens_per_doc: int | None = None
    priority: int | None = Field(None, ge=0, le=999)


@dataclass(frozen=True)
class Scores(Answer):
    """A paid answer with a ranking.

    Attributes:
        of: the score of each document, by its index; the shorter document is the more relevant where not given.
        rows: what is answered instead of a ranking of the request.
        units: search units billed; None where it does not say.
        tokens: tokens billed, likewise.
    """

    of: dict[int, float] | None = None
    rows: list[dict[str, Any]] | None = None
    units: int | None = 1
    tokens: int = 60


def ranking(documents: list[str], top_n: int | None, answer: Scores) -> list[dict[str, Any]]:
    """The rows of an answer, best first."""
    if answer.rows is not None:
        return answer.rows
    scores = answer.of or {index: 1 / (1 + len(text)) for index, text in enumerate(documents)}
    best = sorted(scores.items(), key=lambda pair: -pair[1])[:top_n]
    return [{"index": index, "relevance_score": score} for index, score in best]


class Cohere(WireServer):
    """`POST /v2/rerank`."""

    model = "cohere/rerank-v3.5"
    key = "co-7Qe1"

    def __init__(self, *outcomes: Answer | Failure) -> None:
        super().__init__(*(outcomes or (Scores(),)))

    def environment(self) -> dict[str, str]:
        return {"COHERE_API_BASE": self.url, "COHERE_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require((asked.method, asked.path) == ("POST", "/v2/rerank"), f"{asked.path}: Not Found")
        require(asked.headers.get("authorization") == f"Bearer {self.key}", "invalid api token")
        Request.model_validate(asked.body)

    def failure(self, status: int, message: str) -> Failure:
        body = {"id": "53f5f8a4", "message": message}
        return Failure(status, body, {"Retry-After": "7"} if status == 429 else {})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        assert isinstance(answer, Scores)
        billed = {} if answer.units is None else {"billed_units": {"search_units": answer.units}}
        return {
            "id": "07734bd2-2473-4f07-94e1-0d9f0e6843cf",
            "results": ranking(asked.body["documents"], asked.body.get("top_n"), answer),
            "meta": {"api_version": {"version": "2", "is_experimental": False}, **billed},
        }
