"""Anthropic's Messages API.

Requests: `MessageCreateParamsBase` and the types it refers to in anthropic-sdk-python
(src/anthropic/types/message_create_params.py and its neighbours), and `output_format` of
src/anthropic/types/beta/message_create_params.py, which goes with its beta header. Answers: `Message`,
`Usage` and `StopReason` there. Errors: "Errors" in the Claude API documentation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from tests.wire.server import Answer, Asked, Closed, Failure, WireServer, require

STRUCTURED_BETA = "structured-outputs-2025-11-13"


class CacheControl(Closed):
    """`CacheControlEphemeralParam`."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(Closed):
    """`TextBlockParam`."""

    type: Literal["text"]
    text: Annotated[str, Field(min_length=1)]
    cache_control: CacheControl | None = None
    citations: list[dict[str, Any]] | None = None


class MessageParam(Closed):
    """`MessageParam`; of the content blocks only text, the one kind that is sent here."""

    role: Literal["user", "assistant"]
    content: str | list[TextBlock]


class Tool(Closed):
    """`ToolParam`."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    description: str | None = None
    cache_control: CacheControl | None = None
    type: Literal["custom"] | None = None


class ToolChoice(Closed):
    """`ToolChoiceParam`."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(Closed):
    """`JSONOutputFormatParam`."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Closed):
    """`OutputConfigParam`."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class MessageCreate(Closed):
    """`MessageCreateParamsBase`."""

    model: str
    max_tokens: Annotated[int, Field(ge=0)]
    messages: Annotated[list[MessageParam], Field(min_length=1)]
    cache_control: CacheControl | None = None
    container: dict[str, Any] | str | None = None
    inference_geo: str | None = None
    metadata: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    stop_sequences: list[str] | None = None
    stream: Literal[False] | None = None
    system: str | list[TextBlock] | None = None
    temperature: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    thinking: dict[str, Any] | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    top_k: int | None = None
    top_p: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None


class Anthropic(WireServer):
    """`POST /v1/messages`."""

    model = "anthropic/claude-sonnet-4-5"
    key = "sk-ant-api03-91c4"

    def environment(self) -> dict[str, str]:
        return {"ANTHROPIC_API_BASE": self.url, "ANTHROPIC_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require((asked.method, asked.path) == ("POST", "/v1/messages"), f"{asked.method} {asked.path}: Not Found")
        require(asked.headers.get("x-api-key") == self.key, "x-api-key header is required")
        require(asked.headers.get("anthropic-version") == "2023-06-01", "anthropic-version header is required")
        request = MessageCreate.model_validate(asked.body)
        betas = asked.headers.get("anthropic-beta", "")
        require(request.output_format is None or STRUCTURED_BETA in betas, "output_format: needs its beta header")

    def failure(self, status: int, message: str) -> Failure:
        kinds = {
            400: "invalid_request_error",
            401: "authentication_error",
            402: "billing_error",
            403: "permission_error",
            404: "not_found_error",
            413: "request_too_large",
            429: "rate_limit_error",
            529: "overloaded_error",
        }
        body = {
            "type": "error",
            "error": {"type": kinds.get(status, "api_error"), "message": message},
            "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
        }
        return Failure(status, body, {"retry-after": "7"} if status == 429 else {})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        counts, tools = answer.counts, asked.body.get("tools")
        content: dict[str, Any] = {"type": "text", "text": answer.text}
        if tools and answer.stop is None:
            content = {
                "type": "tool_use",
                "id": "toolu_01D7FLrfh4GYq7yT1ULFeyMV",
                "name": tools[0]["name"],
                "input": orjson.loads(answer.text),
            }
        return {
            "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [content],
            "stop_reason": answer.stop or ("tool_use" if tools else "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": counts.input - counts.cached - counts.written,
                "cache_creation_input_tokens": counts.written,
                "cache_read_input_tokens": counts.cached,
                "output_tokens": counts.output,
                "service_tier": "standard",
            },
        }

    def answer_headers(self) -> dict[str, str]:
        return {"request-id": "req_018EeWyXxfu5pfWkrYcMdjWG"}
