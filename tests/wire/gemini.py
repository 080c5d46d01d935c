"""The Gemini API's generateContent.

Requests and answers: "Generating content" and "Caching" in the Gemini API reference (v1beta), whose fields are
those of `GenerateContentRequest`, `GenerationConfig`, `Content` and `GenerateContentResponse` in
google/ai/generativelanguage/v1beta of googleapis; ProtoJSON takes a field by its proto name as well. Errors:
"Troubleshooting guide" there, and google/rpc/error_details.proto (`ErrorInfo`, `RetryInfo`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tests.wire.server import Answer, Asked, Closed, Failure, WireServer, require

_PATH = re.compile(r"/v1beta/models/([^/:]+):generateContent")


class Proto(Closed):
    """A message in ProtoJSON: each field by its lowerCamelCase or its proto name."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        alias_generator=lambda name: to_camel(name),
        populate_by_name=True,
    )


class Part(Proto):
    """`Part`; of its kinds only text, the one that is sent here."""

    text: str
    thought: bool | None = None
    thought_signature: str | None = None


class Content(Proto):
    """`Content`."""

    role: Literal["user", "model"] | None = None
    parts: Annotated[list[Part], Field(min_length=1)]


class GenerationConfig(Proto):
    """`GenerationConfig`."""

    stop_sequences: Annotated[list[str], Field(max_length=5)] | None = None
    response_mime_type: Literal["text/plain", "application/json", "text/x.enum"] | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: Annotated[
        dict[str, Any] | None,
        Field(validation_alias=AliasChoices("responseJsonSchema", "response_json_schema", "_responseJsonSchema")),
    ] = None
    response_modalities: list[str] | None = None
    candidate_count: int | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    top_p: Annotated[float, Field(strict=False)] | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Field(strict=False)] | None = None
    frequency_penalty: Annotated[float, Field(strict=False)] | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    enable_enhanced_civic_answers: bool | None = None
    speech_config: dict[str, Any] | None = None
    thinking_config: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    media_resolution: str | None = None


class GenerateContent(Proto):
    """`GenerateContentRequest` without `model`, which is in the path."""

    contents: Annotated[list[Content], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    tool_config: dict[str, Any] | None = None
    safety_settings: list[dict[str, Any]] | None = None
    system_instruction: Content | None = None
    generation_config: GenerationConfig | None = None
    cached_content: str | None = None


class Gemini(WireServer):
    """`POST /v1beta/models/{model}:generateContent`."""

    model = "gemini/gemini-2.5-flash"
    key = "AIzaSyD-91c4exampleexampleexample"

    def environment(self) -> dict[str, str]:
        return {"GEMINI_API_BASE": f"{self.url}/v1beta", "GEMINI_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require(asked.method == "POST" and _PATH.fullmatch(asked.path) is not None, f"{asked.path}: Not Found")
        require(asked.headers.get("x-goog-api-key") == self.key, "API key not valid. Please pass a valid API key.")
        request = GenerateContent.model_validate(asked.body)
        wanted = request.generation_config
        has_schema = wanted is not None and (wanted.response_schema or wanted.response_json_schema)
        is_json = wanted is not None and wanted.response_mime_type == "application/json"
        require(not has_schema or is_json, "a response schema needs the MIME type application/json")

    def failure(self, status: int, message: str, *details: dict[str, Any]) -> Failure:
        kinds = {
            400: "INVALID_ARGUMENT",
            401: "UNAUTHENTICATED",
            403: "PERMISSION_DENIED",
            404: "NOT_FOUND",
            429: "RESOURCE_EXHAUSTED",
            500: "INTERNAL",
            503: "UNAVAILABLE",
            504: "DEADLINE_EXCEEDED",
        }
        said: dict[str, Any] = {"code": status, "message": message, "status": kinds[status]}
        return Failure(status, {"error": said | ({"details": list(details)} if details else {})})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        counts = answer.counts
        candidate = {
            "content": {"parts": [{"text": answer.text}], "role": "model"},
            "finishReason": answer.stop or "STOP",
            "index": 0,
        }
        usage = {
            "promptTokenCount": counts.input,
            "candidatesTokenCount": counts.output - counts.reasoning,
            "totalTokenCount": counts.input + counts.output,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.input}],
        }
        usage |= {"thoughtsTokenCount": counts.reasoning} if counts.reasoning else {}
        usage |= {"cachedContentTokenCount": counts.cached} if counts.cached else {}
        body = {"usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}
        if answer.stop and answer.stop.startswith("blockReason="):
            return body | {"promptFeedback": {"blockReason": answer.stop.partition("=")[2]}}
        return body | {"candidates": [candidate]}


def error_info(reason: str) -> dict[str, Any]:
    """`google.rpc.ErrorInfo`."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


def retry_info(delay: str) -> dict[str, Any]:
    """`google.rpc.RetryInfo`."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
