"""The chat completions of OpenAI's API, as OpenRouter and Azure speak them.

Requests: the parameter types of the openai package, by way of `tests.scripted_provider.validation`; what each
provider adds is in its own module. Answers: `ChatCompletion` and `CompletionUsage` there.
"""

from __future__ import annotations

from typing import Any

from tests.scripted_provider.validation import chat_complaint
from tests.wire.server import Answer, Asked, WireServer, require


def require_chat(body: dict[str, Any]) -> None:
    """`body` is a request of OpenAI's API, without fields it does not know; else ValueError."""
    complaint = chat_complaint(body, None)
    require(complaint is None, str(complaint.body if complaint else ""))


class ChatCompletions(WireServer):
    """The answers that OpenRouter's and Azure's have in common."""

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        counts = answer.counts
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {
            "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
            "object": "chat.completion",
            "created": 1741569952,
            "model": asked.body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.stop or "stop"}],
            "usage": {
                "prompt_tokens": counts.input,
                "completion_tokens": counts.output,
                "total_tokens": counts.input + counts.output,
                "prompt_tokens_details": {"cached_tokens": counts.cached, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": counts.reasoning, "audio_tokens": 0},
            },
        }
