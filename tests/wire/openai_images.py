"""OpenAI's images, and those of servers of the same API.

Requests: `ImageGenerateParams` of the openai package (`openai/types/image_generate_params.py`), whose docstrings
say that GPT image models take no `response_format`. Answers: `ImagesResponse` (`openai/types/images_response.py`).
Errors: "Error codes" in OpenAI's documentation.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web
from openai.types import ImageGenerateParams
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming
from openai.types.images_response import ImagesResponse
from pydantic import TypeAdapter

from tests.wire.server import Answer, Asked, Failure, WireServer, require


def png(shade: int = 0) -> bytes:
    """A picture of one grey point (https://www.w3.org/TR/png-3/, "Datastream structure")."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes([0, shade]))) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Picture(Answer):
    """A paid answer with pictures.

    Attributes:
        files: the picture of each image asked for; the last again and again.
        usage: as the provider counts it; None where it does not.
        addressed: it says where the pictures are instead of sending them, under this beginning.
        most: it sends at most so many.
    """

    files: tuple[bytes, ...] = (png(),)
    usage: dict[str, Any] | None = None
    addressed: str | None = None
    revised_prompt: str | None = None
    most: int = 10


def usage(text: int, made: int, text_made: int | None = None) -> dict[str, Any]:
    """The `usage` of an answer: tokens of the prompt, of all output, and of its text where that is said."""
    said: dict[str, Any] = {
        "input_tokens": text,
        "input_tokens_details": {"text_tokens": text, "image_tokens": 0},
        "output_tokens": made,
        "total_tokens": text + made,
    }
    if text_made is not None:
        said["output_tokens_details"] = {"image_tokens": made - text_made, "text_tokens": text_made}
    return said


@lru_cache(maxsize=1)
def _request_type() -> tuple[TypeAdapter[Any], frozenset[str]]:
    known = ImageGenerateParamsNonStreaming
    return TypeAdapter(ImageGenerateParams), frozenset(known.__required_keys__ | known.__optional_keys__)


def require_image_request(body: dict[str, Any]) -> None:
    """`body` is a request of OpenAI's API, without fields it does not know; else ValueError."""
    adapter, known = _request_type()
    unknown = sorted(set(body) - known)
    require(not unknown, f"Unknown parameter: {unknown}")
    adapter.validate_python(body)
    require(1 <= body.get("n", 1) <= 10, "n: between 1 and 10")
    gpt = str(body["model"]).startswith(("gpt-image-", "chatgpt-image-"))
    require(not gpt or "response_format" not in body, "Unknown parameter: 'response_format'.")


class OpenAIImages(WireServer):
    """`POST /v1/images/generations`, and the files it names."""

    model = "gpt-image-2"
    key = "sk-proj-4f1b"

    def __init__(self, *outcomes: Answer | Failure) -> None:
        super().__init__(*(outcomes or (Picture(usage=usage(12, 200)),)))
        self.files: dict[str, bytes] = {}
        self.fetched: list[Asked] = []
        self.unwell = 0
        self.moved_to: str | None = None

    def environment(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": self.key}

    def check(self, asked: Asked) -> None:
        require((asked.method, asked.path) == ("POST", "/v1/images/generations"), f"{asked.path}: Not Found")
        require(asked.headers.get("authorization") == f"Bearer {self.key}", "Incorrect API key provided")
        require_image_request(asked.body)

    def failure(self, status: int, message: str, code: str | None = None) -> Failure:
        return Failure(status, {"error": {"message": message, "type": "x", "param": None, "code": code}})

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        assert isinstance(answer, Picture)
        count = min(asked.body.get("n", 1), answer.most)
        data = [self._one(answer.files[min(number, len(answer.files) - 1)], number, answer) for number in range(count)]
        body = {"created": 1713833628, "data": data}
        if answer.usage is not None:
            body["usage"] = answer.usage
        ImagesResponse.model_validate(body)
        return body

    def _one(self, file: bytes, number: int, answer: Picture) -> dict[str, Any]:
        said = {} if answer.revised_prompt is None else {"revised_prompt": answer.revised_prompt}
        if answer.addressed is None:
            return said | {"b64_json": base64.b64encode(file).decode()}
        self.files[f"/files/{number}"] = file
        return said | {"url": f"{answer.addressed}/files/{number}"}

    async def _serve(self, request: web.Request) -> web.Response:
        if not request.path.startswith("/files/"):
            return await super()._serve(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.fetched.append(Asked(request.method, request.path, {}, headers, None))
        if self.unwell > 0:
            self.unwell -= 1
            return web.Response(status=503)
        if self.moved_to is not None:
            return web.Response(status=302, headers={"Location": self.moved_to})
        return web.Response(body=self.files[request.path], content_type="image/png")
