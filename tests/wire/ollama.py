"""Ollama's own API.

Requests: "Generate a completion" and "Generate a chat completion" in docs/api.md of Ollama, whose fields are those
of `GenerateRequest`, `ChatRequest` and `Options` in its api/types.go. Answers: `GenerateResponse`, `ChatResponse`
and `Metrics` there. Errors: `StatusError` there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tests.wire.server import Answer, Asked, Closed, Failure, WireServer, require

Number = Annotated[float, Field(strict=False)]


class Options(Closed):
    """`Options` with `Runner`."""

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    num_predict: int | None = None
    top_k: int | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    typical_p: Number | None = None
    repeat_last_n: int | None = None
    temperature: Number | None = None
    repeat_penalty: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: list[str] | None = None


class _Request(Closed):
    model: Annotated[str, Field(min_length=1)]
    stream: Literal[False]
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: str | int | None = None
    think: bool | str | None = None


class Generate(_Request):
    """`GenerateRequest`."""

    prompt: str
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    images: list[str] | None = None


class Turn(Closed):
    """`Message`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: list[str] | None = None


class Chat(_Request):
    """`ChatRequest`."""

    messages: list[Turn]
    tools: list[dict[str, Any]] | None = None


class Ollama(WireServer):
    """`POST /api/generate` and `POST /api/chat`; there is no key."""

    model = "ollama_chat/llama3.2"
    key = ""

    def environment(self) -> dict[str, str]:
        return {"OLLAMA_API_BASE": self.url}

    def check(self, asked: Asked) -> None:
        shapes: dict[str, type[_Request]] = {"/api/generate": Generate, "/api/chat": Chat}
        require(asked.method == "POST" and asked.path in shapes, f"404 page not found: {asked.path}")
        shapes[asked.path].model_validate(asked.body)

    def failure(self, status: int, message: str) -> Failure:
        return Failure(status, {"error": message})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        said: dict[str, Any] = {"message": {"role": "assistant", "content": answer.text}}
        return {
            "model": asked.body["model"],
            "created_at": "2024-12-12T14:13:43.416799Z",
            **(said if asked.path == "/api/chat" else {"response": answer.text}),
            "done": True,
            "done_reason": answer.stop or "stop",
            "total_duration": 5191566416,
            "load_duration": 2154458,
            "prompt_eval_count": answer.counts.input,
            "prompt_eval_duration": 383809000,
            "eval_count": answer.counts.output,
            "eval_duration": 4799921000,
        }
