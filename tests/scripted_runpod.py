"""A scripted RunPod: a serverless queue and the llama.cpp load balancer before it, over real HTTP.

Operations, fields, states and limits are those of RunPod's documentation (runpod/docs,
`serverless/endpoints/operation-reference.mdx` and `send-requests.mdx`); the worker's input is the union of
what the two generations of the keyword service's worker take; `/completion` is llama.cpp's
(`tools/server/README.md`). Fields that are not documented there are rejected with 400.

    with ScriptedRunPod(Script(output=llama("yes"))) as runpod:
        ...  # RUNPOD_ENDPOINT_BASE_URL = runpod.url
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

API_KEY = "rpa_TEST"
ENDPOINT = "826ys3jox3ev2n"
HEALTH = {
    "jobs": {"completed": 1, "failed": 5, "inProgress": 0, "inQueue": 2, "retried": 0},
    "workers": {"idle": 0, "running": 0},
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class WorkerInput(_Strict):
    """Input of the workers: the older one knows `stop`, the later one `system` and `context`."""

    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    system: str | None = None
    context: dict[str, Any] | None = None


class Policy(_Strict):
    """Execution policy, in milliseconds."""

    executionTimeout: Annotated[int, Field(gt=5000)] | None = None
    lowPriority: bool | None = None
    ttl: Annotated[int, Field(ge=10_000, le=7 * 24 * 3_600_000)] | None = None


class RunBody(_Strict):
    """Body of `/run` and `/runsync`."""

    input: WorkerInput
    policy: Policy | None = None
    webhook: str | None = None
    s3Config: dict[str, str] | None = None


class CompletionBody(_Strict):
    """Body of llama.cpp's `/completion`, as far as a client of ours may have use for it."""

    prompt: str
    n_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    stream: bool | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    json_schema: dict[str, Any] | None = None


def llama(content: str, *, predicted: int = 7, evaluated: int = 11, **more: Any) -> dict[str, Any]:
    """Output of the older worker: that of llama.cpp's server."""
    timings = {"prompt_ms": 80.5, "predicted_ms": 900.25}
    counts = {"tokens_predicted": predicted, "tokens_evaluated": evaluated}
    return {"content": content, "model": "llama-3-8b.gguf", **counts, "timings": timings, **more}


def worker(completion: str, *, prompt_tokens: int = 11, completion_tokens: int = 7, **more: Any) -> dict[str, Any]:
    """Output of the later worker."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {"model": "lexybrain-2", "completion": completion, "usage": usage, "meta": {"latency_ms": 980}, **more}


@dataclass(frozen=True)
class Script:
    """What becomes of a job.

    Attributes:
        states: answers to looks at it, one after the other; the last one stays.
        cancelled: what `/cancel` turns it into; None where it goes on all the same.
        execution_ms: None while and where RunPod does not say.
    """

    states: tuple[str, ...] = ("IN_PROGRESS", "COMPLETED")
    output: Any = field(default_factory=lambda: llama("yes"))
    error: Any = None
    cancelled: str | None = "CANCELLED"
    delay_ms: float | None = 300
    execution_ms: float | None = 1200


@dataclass
class _Job:
    id: str
    input: dict[str, Any]
    script: Script
    looks: int = 0
    state: str | None = None

    def next_state(self, *, held: bool) -> str:
        """The state at this look."""
        if self.state is None:
            if held:
                return "IN_QUEUE"
            self.looks += 1
            return self.script.states[min(self.looks, len(self.script.states)) - 1]
        return self.state

    def body(self, state: str) -> dict[str, Any]:
        """The job as `/status` describes it."""
        shown: dict[str, Any] = {"id": self.id, "status": state}
        if state == "COMPLETED":
            output = self.script.output
            shown["output"] = output(self.input) if callable(output) else output
        if state == "FAILED":
            shown["error"] = self.script.error or "worker exited with exit code 1"
        if state in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED"):
            times = {"delayTime": self.script.delay_ms, "executionTime": self.script.execution_ms}
            shown |= {name: value for name, value in times.items() if value is not None}
        return shown


@dataclass(frozen=True)
class Served:
    """One request as this server saw it."""

    operation: str
    status: int
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


Fault = int | str
"""An HTTP status, `cut` for a connection that ends without an answer, `stall` for one that hears nothing."""


class ScriptedRunPod:
    """Serves one endpoint's queue under `/v2/ENDPOINT`, and `/completion`, in a thread of its own.

    Args:
        script: of every job, or from a job's input to its script.
        faults: `{("status", 2): 503}`: by operation and its number, from 1.
        completion: output of `/completion`.
    """

    def __init__(
        self,
        script: Script | Callable[[dict[str, Any]], Script] | None = None,
        *,
        faults: Mapping[tuple[str, int], Fault] | None = None,
        completion: Any = None,
    ) -> None:
        self._script = script or Script()
        self._faults = dict(faults or {})
        self._completion = completion
        self._jobs: dict[str, _Job] = {}
        self._held = False
        self._changed = threading.Condition()
        self.log: list[Served] = []
        self.url = ""
        self.root = ""

    def count(self, operation: str) -> int:
        """How many requests of this kind were served."""
        return sum(served.operation == operation for served in self.log)

    def bodies(self, operation: str) -> list[Any]:
        """The parsed bodies of the requests of this kind."""
        return [served.body for served in self.log if served.operation == operation]

    def hold(self) -> None:
        """No worker is up: jobs stay in the queue until `release`."""
        self._held = True

    def release(self) -> None:
        """A worker is up."""
        self._held = False

    def forget(self) -> None:
        """The results are no longer kept."""
        self._jobs.clear()

    def end(self, state: str) -> None:
        """Every job is in `state` from now on, whatever its script says."""
        for job in self._jobs.values():
            job.state = state

    async def served(self, operation: str, count: int = 1) -> None:
        """Returns when so many requests of this kind were served; TimeoutError when they do not come."""
        await asyncio.to_thread(self.wait_served, operation, count)

    def wait_served(self, operation: str, count: int = 1) -> None:
        """Like `served`, for other threads."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(operation) >= count, 30):
                raise TimeoutError(f"{self.count(operation)} of {count} requests for {operation} came")

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        if not ready.wait(30):
            raise TimeoutError("the scripted RunPod did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.url = f"{self.root}/v2"
        ready.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = orjson.loads(raw) if raw else None
        operation = _operation(request)
        fault = self._faults.get((operation, self.count(operation) + 1))
        refusal = (fault, {"error": "scripted failure"}) if isinstance(fault, int) else None
        status, answer = refusal or self._route(request, body)
        with self._changed:
            self.log.append(Served(operation, status, body, dict(request.query), dict(request.headers)))
            self._changed.notify_all()
        if fault == "stall":
            await self._ended.wait()
        if fault == "cut":
            assert request.transport is not None
            request.transport.abort()
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer)
        return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")

    def _route(self, request: web.Request, body: Any) -> tuple[int, Any]:
        """Status and answer."""
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return 401, {"error": "unauthorized"}
        parts = request.path.strip("/").split("/")
        match request.method, parts if parts[:2] != ["v2", ENDPOINT] else parts[2:]:
            case "POST", ["completion"]:
                return self._complete(body)
            case "GET", ["health"]:
                return 200, {"status": "ok"} if len(parts) == 1 else HEALTH
            case "POST", ["run" | "runsync" as operation]:
                return self._run(operation, body, request.query)
            case "GET", ["status", job] if job in self._jobs:
                found = self._jobs[job]
                return 200, found.body(found.next_state(held=self._held))
            case "POST", ["cancel", job] if job in self._jobs:
                return self._cancel(self._jobs[job])
        return 404, {"error": "not found"}

    def _run(self, operation: str, body: Any, query: Mapping[str, str]) -> tuple[int, Any]:
        try:
            asked = RunBody.model_validate(body)
        except ValidationError as error:
            return 400, {"error": str(error)}
        if set(query) - {"wait"} or not 1000 <= int(query.get("wait", 90_000)) <= 300_000:
            return 400, {"error": "wait"}
        given = asked.input.model_dump(exclude_none=True)
        script = self._script(given) if callable(self._script) else self._script
        name = f"{'sync-' if operation == 'runsync' else ''}{len(self._jobs):04d}-u1"
        job = self._jobs[name] = _Job(name, given, script)
        if operation == "runsync":
            return 200, job.body(job.next_state(held=self._held))
        return 200, {"id": name, "status": "IN_QUEUE"}

    def _cancel(self, job: _Job) -> tuple[int, Any]:
        if job.script.cancelled is None:
            return 400, {"error": "the job is already done"}
        job.state = job.script.cancelled
        return 200, {"id": job.id, "status": job.state}

    def _complete(self, body: Any) -> tuple[int, Any]:
        try:
            asked = CompletionBody.model_validate(body)
        except ValidationError as error:
            return 400, {"error": {"code": 400, "message": str(error), "type": "invalid_request_error"}}
        answer = self._completion or llama("yes")
        return 200, answer(asked.model_dump(exclude_none=True)) if callable(answer) else answer


def _operation(request: web.Request) -> str:
    """`run`, `status`, `completion` and so on."""
    parts = request.path.strip("/").split("/")
    return parts[2] if parts[0] == "v2" and len(parts) > 2 else parts[0]
