"""Answers as the API words them: chat completions, embeddings, the list of models, errors."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

EMBEDDING_DIMENSIONS = 384


@dataclass(frozen=True)
class Reply:
    """One answer; what is left None is filled in.

    Attributes:
        text: the message's content.
        usage: fields laid over the counted usage (`prompt_tokens`, `completion_tokens`, `cost` …).
        body: the whole HTTP body instead of a completion; with a status other than 200, an error.
    """

    text: str | None = ""
    finish_reason: str = "stop"
    refusal: str | None = None
    model: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def count_tokens(text: str) -> int:
    """Tokens of `text` as this provider counts them: one for every four bytes begun."""
    return -(-len(text.encode("utf-8", "replace")) // 4)


def prompt_tokens(request: dict[str, Any]) -> int:
    """Tokens of a chat request's messages: four for each message and those of its text."""
    return sum(4 + count_tokens(str(message.get("content") or "")) for message in request["messages"])


def completion(request: dict[str, Any], reply: Reply, number: int) -> dict[str, Any]:
    """The body of a chat completion."""
    usage = {"prompt_tokens": prompt_tokens(request), "completion_tokens": count_tokens(reply.text or "")}
    usage |= reply.usage
    if "total_tokens" not in usage:
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": reply.model or request["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
        "usage": usage,
        "service_tier": "default",
    }


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    """The body of an embedding answer, as floats or as base64 of little-endian 32-bit floats."""
    texts: list[str] = [request["input"]] if isinstance(request["input"], str) else request["input"]
    dimensions = request.get("dimensions") or EMBEDDING_DIMENSIONS
    vectors = [embed(text, dimensions) for text in texts]
    as_base64 = request.get("encoding_format") == "base64"
    shown: Sequence[Any] = [base64.b64encode(v.tobytes()).decode() if as_base64 else v.tolist() for v in vectors]
    tokens = sum(count_tokens(text) for text in texts)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(shown)],
        "model": request["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


@lru_cache(maxsize=50_000)
def embed(text: str, dimensions: int = EMBEDDING_DIMENSIONS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A unit vector made by hashing the words of `text`: texts that share words lie close.

    Kept, so that a benchmark that asks for the same again waits for its provider no longer than it says.
    """
    words = re.findall(r"\w+", text.lower())
    if not words:
        return np.eye(1, dimensions, dtype="<f4")[0]
    places, signs = zip(*map(_slot, words), strict=True)
    sums = np.bincount(np.array(places) % dimensions, weights=signs, minlength=dimensions)
    length = float(np.linalg.norm(sums))
    if length == 0:
        sums[0], length = 1.0, 1.0
    return (sums.astype("<f4") / np.float32(length)).astype("<f4")


@lru_cache(maxsize=100_000)
def _slot(word: str) -> tuple[int, int]:
    digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:4], "little"), 1 if digest[4] & 1 else -1


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """The body of `GET /v1/models`."""
    rows = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "scripted"} for name in names]
    return {"object": "list", "data": rows}


def error(status: int, message: str, *, code: str | None = None, kind: str | None = None, **more: Any) -> Reply:
    """An error in OpenAI's envelope: `{"error": {"message", "type", "param", "code"}}`."""
    headers = more.pop("headers", {})
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": more.pop("param", None), "code": code, **more}}
    return Reply(status=status, body=orjson.dumps(body), headers=headers)
