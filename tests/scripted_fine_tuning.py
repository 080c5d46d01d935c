"""A scripted fine-tuning service: OpenAI's files and fine-tuning jobs over real HTTP.

Bodies of requests are held against the types of the openai package (`JobCreateParams`), and what it answers is made
of them; unknown fields, files and jobs are refused as OpenAI does.

    with ScriptedFineTuning() as service:
        ...  # OPENAI_BASE_URL = service.url
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent, JobCreateParams
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

API_KEY = "sk-tuning"
CREATED = 1_767_225_600
PARAMETERS = TypeAdapter(with_config(ConfigDict(extra="forbid"))(JobCreateParams))
USUAL = ("validating_files", "queued", "running", "succeeded")

Fault = int | str
"""An HTTP status, `cut` for an answer that is lost after the request was carried out, `page` for one that is HTML,
`empty` for an object without fields."""


@dataclass
class Job:
    """A job on its way through its states, one at each look until the last."""

    id: str
    given: dict[str, Any]
    states: Sequence[str]
    looks: int = 0
    cancelled: bool = False

    @property
    def metadata(self) -> dict[str, str]:
        return self.given.get("metadata") or {}

    @property
    def status(self) -> str:
        return "cancelled" if self.cancelled else self.states[min(max(self.looks - 1, 0), len(self.states) - 1)]


@dataclass
class Served:
    """One request as the service saw it."""

    operation: str
    status: int
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)


class ScriptedFineTuning:
    """Serves `/v1/files` and `/v1/fine_tuning/jobs` in a thread of its own.

    Args:
        states: of each job, one at each look at it.
        failure: code and message of a job that fails.
        faults: `{("look", 2): 503}`: by operation (`upload`, `create`, `find`, `look`, `events`, `cancel`) and number.
        more: fields that this server has beyond OpenAI's.
    """

    def __init__(
        self,
        states: Sequence[str] = USUAL,
        *,
        failure: tuple[str, str] = ("invalid_training_file", "The file is\nno good."),
        faults: Mapping[tuple[str, int], Fault] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.states = states
        self._failure = failure
        self._faults = dict(faults or {})
        self._more = dict(more or {})
        self._changed = threading.Condition()
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.log: list[Served] = []
        self.url = ""

    def count(self, operation: str) -> int:
        """How many requests of this kind were served."""
        return sum(served.operation == operation for served in self.log)

    def wait_served(self, operation: str, count: int = 1) -> None:
        """Returns when so many requests of this kind were served; TimeoutError when they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.count(operation) >= count, 60):
                raise TimeoutError(f"{self.count(operation)} of {count} requests for {operation} came")

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        if not ready.wait(30):
            raise TimeoutError("the scripted service did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.removeprefix("/v1/").split("/")
        operation, body = _operation(request.method, parts), await _body(request)
        fault = self._faults.get((operation, self.count(operation) + 1))
        refused = (fault, _error("server_error", "scripted")) if isinstance(fault, int) else None
        status, answer = refused or self._route(request, operation, parts, body)
        with self._changed:
            kept = {"bytes": len(body[0])} if operation == "upload" and isinstance(body, tuple) else body
            self.log.append(Served(operation, status, kept, dict(request.query)))
            self._changed.notify_all()
        if fault == "cut":
            assert request.transport is not None
            request.transport.abort()
        if fault == "page":
            return web.Response(text="<html>Welcome</html>", content_type="text/html")
        answer = {} if fault == "empty" else answer
        return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")

    def _route(self, request: web.Request, operation: str, parts: list[str], body: Any) -> tuple[int, Any]:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return 401, _error("invalid_api_key", f"Incorrect API key provided: {request.headers.get('Authorization')}")
        if operation in ("look", "events", "cancel") and parts[2] not in self.jobs:
            return 404, _error("fine_tune_not_found", f"Could not find fine tune: {parts[2]}", "fine_tune_id")
        match operation:
            case "upload":
                return self._upload(body)
            case "create":
                return self._create(body)
            case "find":
                wanted = {key[9:-1]: value for key, value in request.query.items() if key.startswith("metadata[")}
                found = [
                    job for job in self.jobs.values() if wanted.items() <= (job.given.get("metadata") or {}).items()
                ]
                return 200, {"object": "list", "data": [self._shown(job) for job in found], "has_more": False}
            case "look":
                self.jobs[parts[2]].looks += 1
                return 200, self._shown(self.jobs[parts[2]])
            case "events":
                return 200, {"object": "list", "data": self._events(self.jobs[parts[2]]), "has_more": False}
            case "cancel":
                self.jobs[parts[2]].cancelled = True
                return 200, self._shown(self.jobs[parts[2]])
        return 404, _error("unknown_url", request.path)

    def _upload(self, body: Any) -> tuple[int, Any]:
        content, name, fields = body
        if fields != {"purpose": "fine-tune"}:
            return 400, _error("invalid_request_error", "purpose", "purpose")
        number = f"file-{len(self.files) + 1}"
        self.files[number] = content
        made = FileObject(
            id=number, bytes=len(content), created_at=CREATED, filename=name, object="file", purpose="fine-tune",
            status="processed",
        )  # fmt: skip
        return 200, made.model_dump(mode="json")

    def _create(self, body: Any) -> tuple[int, Any]:
        try:
            given: dict[str, Any] = dict(PARAMETERS.validate_python(body))
        except ValidationError as error:
            return 400, _error("invalid_request_error", str(error))
        for name in ("training_file", "validation_file"):
            if given.get(name) is not None and given[name] not in self.files:
                return 400, _error("invalid_file", f"no such {name}", name)
        job = Job(f"ftjob-{len(self.jobs) + 1}", given, self.states)
        self.jobs[job.id] = job
        return 200, self._shown(job)

    def _shown(self, job: Job) -> dict[str, Any]:
        done, failed = job.status == "succeeded", job.status == "failed"
        code, message = self._failure
        made = f"ft:{job.given['model']}:acme:{job.given.get('suffix') or ''}:{job.id}"
        shown = FineTuningJob.model_validate({
            "id": job.id, "object": "fine_tuning.job", "created_at": CREATED, "model": job.given["model"],
            "organization_id": "org-1", "result_files": [], "seed": job.given.get("seed") or 7, "status": job.status,
            "training_file": job.given["training_file"], "validation_file": job.given.get("validation_file"),
            "hyperparameters": {}, "metadata": job.given.get("metadata"), "method": job.given.get("method"),
            "trained_tokens": 12_345 if done else None,
            "fine_tuned_model": made if done else None,
            "error": {"code": code, "message": message, "param": "training_file"} if failed else None,
        })  # fmt: skip
        return shown.model_dump(mode="json") | (self._more if done else {})

    def _events(self, job: Job) -> list[dict[str, Any]]:
        """Newest first, one for each look and state so far."""
        events = [
            FineTuningJobEvent(
                id=f"{job.id}-{number}", created_at=CREATED + number, level="info", object="fine_tuning.job.event",
                message=f"Step {number} of {len(job.states)}", type="metrics",
                data={"step": number, "total_steps": len(job.states)},
            )
            for number in range(1, min(job.looks, len(job.states)) + 1)
        ]  # fmt: skip
        return [event.model_dump(mode="json") for event in reversed(events)]


def _operation(method: str, parts: list[str]) -> str:
    match method, parts:
        case "POST", ["files"]:
            return "upload"
        case "POST", ["fine_tuning", "jobs"]:
            return "create"
        case "GET", ["fine_tuning", "jobs"]:
            return "find"
        case "GET", ["fine_tuning", "jobs", _]:
            return "look"
        case "GET", ["fine_tuning", "jobs", _, "events"]:
            return "events"
        case "POST", ["fine_tuning", "jobs", _, "cancel"]:
            return "cancel"
    return "/".join(parts)


async def _body(request: web.Request) -> Any:
    """The parsed JSON, or content, name and other fields of an upload."""
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        return orjson.loads(raw) if raw else None
    content, name, fields = b"", "", {}
    async for part in await request.multipart():
        assert hasattr(part, "filename")
        if part.filename:
            content, name = bytes(await part.read()), part.filename
        else:
            fields[str(part.name)] = (await part.read()).decode()
    return content, name, fields


def _error(code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
