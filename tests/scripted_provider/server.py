"""The server: one request at a time from arrival to log line."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
from aiohttp import web

from tests.scripted_provider.faults import Fault, FaultPlan
from tests.scripted_provider.gate import Gate
from tests.scripted_provider.instances import InstanceMaker
from tests.scripted_provider.log import RequestLog, ServedRequest, body_sha256
from tests.scripted_provider.replies import Reply, completion, embeddings, error, model_list
from tests.scripted_provider.validation import chat_complaint, embedding_complaint, load_types

Responder = Callable[[dict[str, Any]], Any]
MODELS = ("gpt-4o-mini", "gpt-4o", "text-embedding-3-small")


class ScriptedProvider:
    """Serves `/v1/chat/completions`, `/v1/embeddings` and `/v1/models` on loopback while entered.

    Args:
        respond: parsed chat request → text, JSON value (sent as text) or `Reply`; may be async. Without
            it the answer is made: an instance of the asked schema, or a line of text.
        faults: `{2: "hang", "429": 0.3}`: by request number, or by chance (see `Fault`).
        latency_ms: time each answer takes.
        api_key: the only key accepted; None accepts any and none.
        models: the only models known; None knows all.
        context_window: tokens of prompt and answer above which a request is refused.
        log_path: file that gets one JSON line for each request before its answer is sent.
        keep_bodies: keep parsed requests in `log`.

    Attributes:
        url: the base URL, `http://127.0.0.1:PORT/v1`.
    """

    def __init__(
        self,
        respond: Responder | None = None,
        *,
        faults: Mapping[Any, Any] | None = None,
        seed: int = 0,
        latency_ms: float = 0.0,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        context_window: int | None = None,
        log_path: Path | None = None,
        keep_bodies: bool = True,
        port: int = 0,
    ) -> None:
        self._respond = respond
        self._plan = FaultPlan.of(faults or {}, seed)
        self._latency_s = latency_ms / 1000
        self._api_key = api_key
        self._models = models
        self._context_window = context_window
        self._keep_bodies = keep_bodies
        self._requests = RequestLog(log_path)
        self._gate = Gate()
        self._port = port
        self._arrived = 0
        self._runner: web.AppRunner | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    @property
    def log(self) -> list[ServedRequest]:
        """The requests served so far, in the order they ended."""
        return self._requests.snapshot()

    @property
    def paid(self) -> int:
        """How many answers were made and would be billed."""
        return sum(served.paid for served in self.log)

    def hold(self) -> None:
        """From now on answers wait for `release`."""
        self._gate.close()

    def release(self) -> None:
        """Waiting answers go out, and new ones no longer wait."""
        self._gate.open()

    def release_one(self) -> None:
        """The answer that has waited longest goes out, and new ones still wait."""
        self._gate.let_one_pass()

    def wait_held(self, count: int, timeout: float = 30.0) -> None:
        """Returns when `count` answers wait at the gate; TimeoutError when they do not come."""
        self._gate.wait_for(count, timeout)

    async def held(self, count: int, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Like `wait_held`, for asynchronous tests."""
        await asyncio.to_thread(self.wait_held, count, timeout)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        if not ready.wait(30):
            raise TimeoutError("the scripted provider did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self._start()
        ready.set()
        await self._ended.wait()
        await self._stop()

    async def _start(self) -> None:
        load_types()
        self._stopping = asyncio.Event()
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_post("/v1/embeddings", self._embed)
        application.router.add_get("/v1/models", self._list_models)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/v1"

    async def _stop(self) -> None:
        assert self._runner is not None
        assert self._stopping is not None
        self._stopping.set()
        self.release()
        await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._chat_reply)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._embedding_reply)

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refused(request, None)
        return _response(refusal or Reply(body=orjson.dumps(model_list(self._models or MODELS))))

    async def _answer(self, request: web.Request, make: Callable[..., Any]) -> web.StreamResponse:
        started, number = time.time(), self._next_number()
        body = _parsed(await request.read())
        fault = self._plan.fault_for(number)
        reply = self._refused(request, body) or (fault.reply() if fault and fault.kind == "status" else None)
        if reply is None and fault is not None and fault.kind == "hang":
            self._record(request.path, number, body, Reply(), fault, started)
            return await self._hang(request)
        if reply is None:
            await self._work()
            reply = await make(body, number, fault)
        self._record(request.path, number, body, reply, fault, started)
        return await _send(request, reply, fault)

    def _next_number(self) -> int:
        self._arrived += 1
        return self._arrived

    async def _work(self) -> None:
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        await self._gate.passed()

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        assert self._stopping is not None
        await self._stopping.wait()
        return _cut(request)

    def _refused(self, request: web.Request, body: Any) -> Reply | None:
        """The refusal of a wrong key or an unknown model, worded as OpenAI words it."""
        if self._api_key is not None and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return error(401, "Incorrect API key provided: sk-***.", code="invalid_api_key")
        model = body.get("model") if isinstance(body, dict) else None
        if self._models is not None and model is not None and model not in self._models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            return error(404, message, code="model_not_found")
        return None

    async def _chat_reply(self, body: Any, number: int, fault: Fault | None) -> Reply:
        reply = chat_complaint(body, self._context_window)
        if reply is None and fault is not None and fault.kind == "wrong_schema":
            reply = Reply(text='{"unexpected": true}')
        reply = reply or _as_reply(await self._script(body))
        if reply.body is not None:
            return reply
        return _with_body(reply, completion(body, reply, number))

    async def _script(self, body: dict[str, Any]) -> Any:
        if self._respond is None:
            return made_answer(body)
        answer = self._respond(body)
        return await answer if inspect.isawaitable(answer) else answer

    async def _embedding_reply(self, body: Any, number: int, fault: Fault | None) -> Reply:
        complaint = embedding_complaint(body, self._context_window)
        return complaint or _with_body(Reply(), embeddings(body))

    def _record(self, path: str, number: int, body: Any, reply: Reply, fault: Fault | None, started: float) -> None:
        kind = fault.kind if fault else None
        usage = _usage(reply) if reply.status == 200 else {}
        self._requests.append(
            ServedRequest(
                number=number,
                path=path,
                sha256=body_sha256(body),
                status=0 if kind in ("hang", "reset", "lost_answer") else reply.status,
                paid=bool(usage) and kind not in ("hang", "reset", "broken_json", "no_choices", "truncated"),
                fault=kind,
                model=body.get("model") if isinstance(body, dict) else None,
                input_tokens=usage.get("prompt_tokens", 0),
                output_tokens=usage.get("completion_tokens", 0),
                started_at=started,
                finished_at=time.time(),
                body=body if self._keep_bodies else None,
            )
        )


def made_answer(request: dict[str, Any]) -> str:
    """An answer for `request`, the same each time: an instance of its schema, or a line of text."""
    seed = hashlib.sha256(orjson.dumps(request["messages"])).hexdigest()
    response_format = request.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        schema = response_format["json_schema"].get("schema", {})
        return orjson.dumps(InstanceMaker(schema, seed).make()).decode()
    return "{}" if response_format.get("type") == "json_object" else f"Scripted answer {seed[:12]}."


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _as_reply(answer: Any) -> Reply:
    if isinstance(answer, Reply):
        return answer
    return Reply(text=answer if isinstance(answer, str) else orjson.dumps(answer).decode())


def _with_body(reply: Reply, body: dict[str, Any]) -> Reply:
    return Reply(status=reply.status, headers=reply.headers, body=orjson.dumps(body))


def _usage(reply: Reply) -> dict[str, Any]:
    body = _parsed(reply.body or b"")
    usage = body.get("usage") if isinstance(body, dict) else None
    return dict(usage) if isinstance(usage, dict) else {}


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type="application/json", headers=reply.headers)


async def _send(request: web.Request, reply: Reply, fault: Fault | None) -> web.StreamResponse:
    """The reply goes out, whole or as the fault would have it."""
    body = reply.body or b""
    match fault.kind if fault else None:
        case "reset" | "lost_answer":
            return _cut(request)
        case "broken_json":
            return _response(Reply(body=body[: len(body) // 2]))
        case "no_choices":
            return _response(Reply(body=b'{"object": "chat.completion", "choices": []}'))
        case "truncated":
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            return _cut(request, response)
    return _response(reply)


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection is closed without (the rest of) an answer."""
    if request.transport is not None:
        request.transport.abort() if response is None else request.transport.close()
    return response or web.Response()
