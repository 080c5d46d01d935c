"""Steps: plain functions, recorded by one decorator.

    @step("generate", version="1", prompt=GENERATE)
    async def generate(bill: BillText, model: str) -> BillAnalysis: ...

Within a run the step's output is stored under the SHA-256 of what it depends on (its name and version,
its prompt file, its arguments); when the run is resumed, a finished step is not run again. Inside a
Prefect flow run it is a Prefect task as well. Outside a run it is just the function.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints
from uuid import UUID

from pydantic import BaseModel

from schemas.canonical import content_key, postgres_json
from schemas.errors import DatabaseUnavailable, HeadraceError
from schemas.identifiers import new_id
from tasks.ledger.operations import BeginStep, EndStep
from tasks.ledger.prompts import Prompt
from tasks.ledger.runs import Run, StoredStep, current_run
from tasks.ledger.scope import CallScope, current_scope

if TYPE_CHECKING:
    from prefect import Task

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R", bound=BaseModel)
AsyncFunction = Callable[P, Coroutine[Any, Any, R]]


def step(
    name: str, *, version: str, prompt: Prompt | None = None, as_task: bool = True
) -> Callable[[AsyncFunction[P, R]], AsyncFunction[P, R]]:
    """Make an async function a step.

    Its arguments must have a stable JSON form (Pydantic models, plain values) and its result must be a
    Pydantic model. Raise `version` when the function's logic changes what it answers.

    Args:
        as_task: also a Prefect task; not of a function that hands its work to one (`task_runners`).
    """

    def decorate(function: AsyncFunction[P, R]) -> AsyncFunction[P, R]:
        definition = _Definition(name, version, prompt, function)

        @functools.wraps(function)
        async def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            run = current_run.get()
            if run is None:
                return await function(*args, **kwargs)
            arguments = definition.bind(args, kwargs)
            key = definition.key(arguments, run)
            async with run.turns.turn(key):
                stored = run.steps.get(key)
                if stored is not None and stored.status == "completed":
                    replayed: R = definition.output(stored)
                    return replayed

                async def work() -> R:
                    return await _record(definition, run, key, arguments, lambda: function(*args, **kwargs))

                return await (_as_prefect_task(name, work) if as_task else work())

        return recorded

    return decorate


class _Definition:
    """What the decorator knows of a step before it is called."""

    def __init__(self, name: str, version: str, prompt: Prompt | None, function: Callable[..., Any]) -> None:
        self.name = name
        self.version = version
        self.prompt = prompt
        self.function = function
        self.signature = inspect.signature(function)
        self._result: type[BaseModel] | None = None

    def result(self) -> type[BaseModel]:
        """The model that the function says it returns.

        Raises:
            TypeError: it says nothing of the kind.
        """
        if self._result is None:
            found = get_type_hints(self.function).get("return")
            if not (isinstance(found, type) and issubclass(found, BaseModel)):
                raise TypeError(f"the step {self.name} must say which Pydantic model it returns")
            self._result = found
        return self._result

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        self.result()  # that it cannot be read back later must be known before anything is spent
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def key(self, arguments: dict[str, Any], run: Run) -> str:
        prompt_hash = self.prompt.hash if self.prompt else None
        return content_key([self.name, self.version, prompt_hash, arguments, run.nonce])

    def output(self, stored: StoredStep) -> Any:
        return self.result().model_validate(stored.output)


async def _record(
    definition: _Definition, run: Run, key: str, arguments: dict[str, Any], work: Callable[[], Awaitable[R]]
) -> R:
    """Run the step between its two records, neither of which is waited for.

    The end is durable before the next call of the run is made, and before the run ends: both are recorded
    after it, and refused if another attempt has taken the run over.

    The result is read back from its record, so that it is the same now as in every later replay.
    """
    step_id = _begin(definition, run, key, arguments)
    token = current_scope.set(_scope_of(run, definition.name, step_id))
    began = time.monotonic()
    label = _label(definition, run)
    log.info("%s …", label)
    try:
        result = await work()
    except (Exception, asyncio.CancelledError) as error:
        run.ledger.recorder.record_soon(_ending(run, step_id, "failed", error=error))
        raise
    finally:
        current_scope.reset(token)
    output = postgres_json(result.model_dump(mode="json"))
    run.ledger.recorder.record_soon(_ending(run, step_id, "completed", output=output))
    run.steps[key] = run.steps[key].model_copy(update={"status": "completed", "output": output})
    log.info("%s done in %.1f s", label, time.monotonic() - began)
    replayed: R = definition.output(run.steps[key])
    return replayed


def _label(definition: _Definition, run: Run) -> str:
    """The step as progress names it: with the run's subject where several runs go on beside each other."""
    if len(run.ledger.attempts) < 2:
        return definition.name
    return f"{run.subject.rstrip('/').rpartition('/')[2]}: {run.ordinal} {definition.name}"


def _begin(definition: _Definition, run: Run, key: str, arguments: dict[str, Any]) -> UUID:
    """The step is on its way to being on record as running; returns its id."""
    known = run.steps.get(key) or StoredStep(id=new_id(), key=key, status="running", attempts=0)
    run.steps[key] = known.model_copy(update={"attempts": known.attempts + 1})
    model = arguments.get("model")
    row = {
        "id": known.id,
        "run_id": run.id,
        "name": definition.name,
        "version": definition.version,
        "ordinal": run.next_ordinal(),
        "key": key,
        "attempts": known.attempts + 1,
        "model": model if isinstance(model, str) else None,
        "prompt_hash": definition.prompt.hash if definition.prompt else None,
    }
    run.ledger.recorder.record_soon(BeginStep(row, run.attempt))
    return known.id


def _scope_of(run: Run, purpose: str, step_id: UUID) -> CallScope:
    scope = current_scope.get() or CallScope(project=run.project, user=run.user, attempt=run.attempt, nonce=run.nonce)
    return replace(scope, purpose=purpose, step_id=step_id)


def _ending(run: Run, step_id: UUID, status: str, *, output: Any = None, error: BaseException | None = None) -> EndStep:
    said = None
    if isinstance(error, HeadraceError):
        said = postgres_json({"code": error.code, "message": str(error)})
    elif isinstance(error, asyncio.CancelledError):
        said = {"code": "cancelled", "message": "interrupted"}
    elif error is not None:
        said = {"code": "internal", "message": type(error).__name__}
    return EndStep({"id": step_id, "status": status, "output": output, "error": said}, run.attempt)


async def _as_prefect_task(name: str, work: Callable[[], Awaitable[R]]) -> R:
    """`work`, as a task of the Prefect flow run in progress, or by itself where there is none."""
    if "prefect" not in sys.modules:
        return await work()
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return await work()
    result: R = await _prefect_task(name)(work)
    return result


@functools.lru_cache(maxsize=128)
def _prefect_task(name: str) -> Task[..., Coroutine[Any, Any, Any]]:
    """The Prefect task for steps called `name`; it retries only what is transient around us."""
    from prefect import task

    async def run_step(work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()

    return task(name=name, **_task_options())(run_step)


def chunk_task(name: str, work: Callable[..., Any]) -> Task[..., Any]:
    """The Prefect task of a chunk of work that a task runner takes elsewhere."""
    from prefect import task

    made: Task[..., Any] = task(name=name, **_task_options())(work)
    return made


def _task_options() -> dict[str, Any]:
    from prefect.cache_policies import NO_CACHE
    from prefect.tasks import exponential_backoff

    return {
        "retries": 3,
        "retry_delay_seconds": exponential_backoff(2),
        "retry_jitter_factor": 0.5,
        "retry_condition_fn": _is_trouble_around_us,
        "persist_result": False,
        "cache_policy": NO_CACHE,
    }


def _is_trouble_around_us(_: Any, __: Any, state: Any) -> bool:
    """True for what a later try may find mended: the gateway has retried providers already."""
    return isinstance(state.data, DatabaseUnavailable) or isinstance(
        getattr(state.data, "exception", None), DatabaseUnavailable
    )
