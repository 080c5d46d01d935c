"""Images by OpenRouter's chat completions.

Requests: as in `openrouter`, with `image_config` of "Image Generation" in OpenRouter's documentation. Answers: the
same page, whose pictures are data URLs in `message.images`, and "Usage Accounting" for `usage.cost` in USD.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from tests.wire.openai_images import Picture
from tests.wire.openrouter import OpenRouter
from tests.wire.server import Answer, Asked, Failure


class OpenRouterImages(OpenRouter):
    """`POST /api/v1/chat/completions`, asked for images."""

    model = "openrouter/google/gemini-2.5-flash-image"
    cost = 0.0387243

    def __init__(self, *outcomes: Answer | Failure) -> None:
        super().__init__(*(outcomes or (Picture(),)))

    def check(self, asked: Asked) -> None:
        known = {name: value for name, value in asked.body.items() if name not in {"image_config", "modalities"}}
        super().check(replace(asked, body=known))

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        assert isinstance(answer, Picture)
        body = super().body(asked, answer)
        urls = [f"data:image/png;base64,{base64.b64encode(file).decode()}" for file in answer.files]
        body["choices"][0]["message"]["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        body["usage"]["completion_tokens_details"] = {"image_tokens": 1290}
        return body
