"""The process that serves the embedding model as an OpenAI-compatible endpoint on loopback.

Format: platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from blocks.embedded.embedding_model import (
    CONTEXT_TOKENS,
    DIMENSIONS,
    MODEL,
    EmbeddingModel,
    batches_by_length,
)
from blocks.embedded.model_server import LOOPBACK, announce, free_port

if TYPE_CHECKING:
    from blocks.embedded.embedding_model import Vectors

REQUEST_BYTES = 64 * 2**20
SHUTDOWN_SECONDS = 2.0

Text = Annotated[str, StringConstraints(min_length=1)]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EmbeddingsRequest(BaseModel):
    """The body of `POST /v1/embeddings`."""

    model_config = ConfigDict(strict=True)

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    model: Literal["all-MiniLM-L6-v2-int8"]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Literal[384] | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """The input as a list, whichever way it came."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedder:
    """Runs the model beside the event loop, a batch at a time, so that requests take turns."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def embed(self, texts: list[str]) -> tuple[Vectors, int]:
        """One unit vector per text, and the number of tokens read."""
        import numpy as np

        loop = asyncio.get_running_loop()
        tokenized = await loop.run_in_executor(self._thread, self._model.tokenize, texts)
        vectors = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        for batch in batches_by_length(tokenized):
            rows = [text.position for text in batch]
            vectors[rows] = await loop.run_in_executor(self._thread, self._model.embed, batch)
        return vectors, sum(len(text.ids) for text in tokenized)

    def close(self) -> None:
        """No further batch starts."""
        self._thread.shutdown(wait=False, cancel_futures=True)


EMBEDDER = web.AppKey("embedder", Embedder)


def build_application(model: EmbeddingModel) -> web.Application:
    """The three routes over `model`."""
    application = web.Application(client_max_size=REQUEST_BYTES, middlewares=[errors_as_openai])
    application[EMBEDDER] = Embedder(model)
    application.add_routes(
        [
            web.post("/v1/embeddings", create_embeddings),
            web.get("/v1/models", list_models),
            web.get("/health", report_health),
        ]
    )
    application.cleanup_ctx.append(_close_embedder)
    return application


async def create_embeddings(request: web.Request) -> web.Response:
    """Vectors for the texts of the request."""
    try:
        asked = EmbeddingsRequest.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return _error(400, f"{place or 'body'}: {first['msg']}", parameter=place or None)
    vectors, tokens = await request.app[EMBEDDER].embed(asked.texts)
    rows = [
        {"object": "embedding", "index": index, "embedding": _encode(vector, asked.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": rows, "model": MODEL, "usage": usage})


async def list_models(request: web.Request) -> web.Response:
    """The one model there is."""
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "headrace"}
    return _json({"object": "list", "data": [model]})


async def report_health(request: web.Request) -> web.Response:
    """200: the model is loaded, or nobody would listen here."""
    return _json({"status": "ok"})


@web.middleware
async def errors_as_openai(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors of the HTTP layer (unknown path, wrong method, body too large) in the shape of OpenAI's."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        return _error(error.status, error.reason)


async def _close_embedder(application: web.Application) -> AsyncIterator[None]:
    yield
    application[EMBEDDER].close()


def _encode(vector: Any, encoding_format: str) -> Any:
    """The vector as numbers, or as base64 of its little-endian 32-bit floats."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    encoded = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return web.Response(body=encoded, status=status, content_type="application/json")


def _error(status: int, message: str, parameter: str | None = None) -> web.Response:
    kind = "invalid_request_error"
    return _json({"error": {"message": message, "type": kind, "param": parameter, "code": None}}, status)


def main() -> None:
    """Announce this process, load the model, serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--announce", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    announce(options.announce)
    asyncio.run(_serve(build_application(EmbeddingModel()), options.announce, options.port))


async def _serve(application: web.Application, announced: Path, port: int) -> None:
    import signal

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, free_port(port)).start()
        bound = runner.addresses[0][1]
        announce(announced, f"http://{LOOPBACK}:{bound}", CONTEXT_TOKENS)
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
