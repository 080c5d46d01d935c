"""Images by the Gemini API's generateContent.

Requests: as in `gemini`. Answers: "Image generation" in the Gemini API's guide, whose pictures are `Blob`s
(`inlineData` with `mimeType` and `data`) among the parts of a candidate; a candidate without one has
`finishReason` IMAGE_SAFETY or the like (`Candidate.FinishReason`).
"""

from __future__ import annotations

import base64
from typing import Any

from tests.wire.gemini import Gemini
from tests.wire.openai_images import Picture
from tests.wire.server import Answer, Asked, Failure


class GeminiImages(Gemini):
    """`POST /v1beta/models/gemini-2.5-flash-image:generateContent`."""

    model = "gemini/gemini-2.5-flash-image"

    def __init__(self, *outcomes: Answer | Failure) -> None:
        super().__init__(*(outcomes or (Picture(),)))

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        assert isinstance(answer, Picture)
        shown = answer.files if answer.most else ()
        parts = [{"inlineData": {"mimeType": "image/png", "data": base64.b64encode(file).decode()}} for file in shown]
        said = answer.usage or {"input_tokens": 10, "output_tokens": 1290}
        made = {"modality": "IMAGE", "tokenCount": said["output_tokens"]}
        return {
            "candidates": [
                {
                    "content": {"parts": parts, "role": "model"},
                    "finishReason": "STOP" if parts else "IMAGE_SAFETY",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": said["input_tokens"],
                "candidatesTokenCount": said["output_tokens"],
                "totalTokenCount": said["input_tokens"] + said["output_tokens"],
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said["input_tokens"]}],
                "candidatesTokensDetails": [made] if parts else [],
            },
            "modelVersion": "gemini-2.5-flash-image",
            "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
        }
