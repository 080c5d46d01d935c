"""Amazon Bedrock's Converse API.

Requests, answers and errors: the service model `bedrock-runtime/2023-09-30` that botocore ships, checked by
botocore's own validator; wording of the errors: "Converse" and "Troubleshooting Amazon Bedrock API Error
Codes" in the Amazon Bedrock documentation.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from tests.wire.server import Answer, Asked, Failure, WireServer, require

REGION = "us-east-1"
_PATH = re.compile(r"/model/([^/]+)/converse")
_SIGNED = re.compile(
    rf"AWS4-HMAC-SHA256 Credential=(\w+)/\d{{8}}/{REGION}/bedrock/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}"
)


@lru_cache(maxsize=1)
def converse() -> Any:
    """The operation `Converse` of the service model."""
    import botocore.session

    return botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")


def require_shape(value: Any, shape: Any) -> None:
    """`value` is of the service model's shape, without fields it does not know; else ValueError."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(value, shape)
    require(not report.has_errors(), report.generate_report())


class Bedrock(WireServer):
    """`POST /model/{modelId}/converse`."""

    model = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    key = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_BEDROCK_RUNTIME_ENDPOINT": self.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": self.key,
            "AWS_REGION_NAME": REGION,
        }

    def check(self, asked: Asked) -> None:
        path = _PATH.fullmatch(asked.path)
        require(asked.method == "POST" and path is not None, f"{asked.method} {asked.path}: UnknownOperationException")
        signed = _SIGNED.fullmatch(asked.headers.get("authorization", ""))
        require(signed is not None and signed[1] == "AKIDEXAMPLE", "MissingAuthenticationTokenException")
        assert path is not None
        require_shape({"modelId": unquote(path[1]), **asked.body}, converse().input_shape)

    def failure(self, status: int, message: str, kind: str | None = None) -> Failure:
        named = {shape.metadata["error"]["httpStatusCode"]: shape.name for shape in reversed(converse().error_shapes)}
        headers = {
            "x-amzn-RequestId": "7a6f2d7b-2e6e-4c1a-9f4f-0c1f9b3f2d11",
            "x-amzn-ErrorType": f"{kind or named[status]}:http://internal.amazon.com/coral/com.amazon.bedrock/",
        }
        return Failure(status, {"message": message}, headers)

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        counts, tools = answer.counts, (asked.body.get("toolConfig") or {}).get("tools")
        content: dict[str, Any] = {"text": answer.text}
        if tools and answer.stop is None:
            use = {"name": tools[0]["toolSpec"]["name"], "input": orjson.loads(answer.text)}
            content = {"toolUse": {"toolUseId": "tooluse_kZJMlvQmRJ6", **use}}
        body = {
            "output": {"message": {"role": "assistant", "content": [content]}},
            "stopReason": answer.stop or ("tool_use" if tools else "end_turn"),
            "usage": {
                "inputTokens": counts.input - counts.cached - counts.written,
                "outputTokens": counts.output,
                "totalTokens": counts.input + counts.output,
                "cacheReadInputTokens": counts.cached,
                "cacheWriteInputTokens": counts.written,
            },
            "metrics": {"latencyMs": 551},
        }
        require_shape(body, converse().output_shape)
        return body

    def answer_headers(self) -> dict[str, str]:
        return {"x-amzn-RequestId": "7a6f2d7b-2e6e-4c1a-9f4f-0c1f9b3f2d11"}
