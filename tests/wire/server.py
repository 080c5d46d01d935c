"""What the servers of all providers have in common: scripted outcomes, and a look at what was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError


class Closed(BaseModel):
    """An object of a provider's schema; a field it does not know is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Counts:
    """Tokens as Headrace counts them: input with what was cached and written, output with reasoning."""

    input: int = 1000
    output: int = 100
    cached: int = 0
    written: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Answer:
    """A paid answer; `stop` is the provider's own word for why it ended, its usual one when not given."""

    text: str = "Yes."
    counts: Counts = Counts()
    stop: str | None = None


@dataclass(frozen=True)
class Failure:
    """An answer that is none, worded as the provider's documentation words it."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class WireServer:
    """Answers each request with the next of `outcomes`, the last again and again.

    Attributes:
        asked: the requests, in order.
        refused: what was wrong with those that the schema does not allow.
    """

    model: str
    key: str
    own_variables: tuple[str, ...] = ()

    def __init__(self, *outcomes: Answer | Failure) -> None:
        self._outcomes = list(outcomes) or [Answer()]
        self.asked: list[Asked] = []
        self.refused: list[str] = []
        self.url = ""

    def environment(self) -> dict[str, str]:
        """The variables that lead LiteLLM here."""
        raise NotImplementedError

    def check(self, asked: Asked) -> None:
        """Nothing happens where the provider would take the request; else ValueError."""
        raise NotImplementedError

    def failure(self, status: int, message: str) -> Failure:
        """How the provider words a request that it does not take."""
        raise NotImplementedError

    def body(self, asked: Asked, answer: Answer) -> dict[str, Any]:
        """How the provider words an answer."""
        raise NotImplementedError

    async def __aenter__(self) -> WireServer:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = orjson.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, dict(request.query), headers, body)
        self.asked.append(asked)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        try:
            self.check(asked)
        except ValueError as error:
            self.refused.append(_plainly(error))
            outcome = self.failure(400, self.refused[-1])
        if isinstance(outcome, Failure):
            return web.json_response(outcome.body, status=outcome.status, headers=outcome.headers)
        return web.json_response(self.body(asked, outcome), headers=self.answer_headers())

    def answer_headers(self) -> dict[str, str]:
        """Headers of a paid answer."""
        return {}


@contextmanager
def in_thread(server: WireServer) -> Iterator[WireServer]:
    """The server, running in a thread of its own, for tests whose event loop is not theirs."""
    loop, running = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        async with server:
            running.set()
            await stopping.wait()

    stopping = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert running.wait(30), "the server did not start"
    yield server
    loop.call_soon_threadsafe(stopping.set)
    thread.join(30)
    loop.close()


def _plainly(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())


def require(holds: bool, complaint: str) -> None:
    """Nothing happens where it holds; else ValueError with the complaint."""
    if not holds:
        raise ValueError(complaint)
