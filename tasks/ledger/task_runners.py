"""Prefect's task runners, for chunks of work that are done in other threads, processes or machines."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from importlib import import_module
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from schemas.errors import ConfigurationError, RetriesExhausted
from schemas.task_runners import RunnerChoice

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

T = TypeVar("T", bound=BaseModel)
_INTEGRATIONS = {"dask": ("prefect_dask", "DaskTaskRunner"), "ray": ("prefect_ray", "RayTaskRunner")}


class ChunkRunner(AbstractContextManager["ChunkRunner"]):
    """Prefect's task runner of a choice; inside, it takes chunks.

    Raises:
        ConfigurationError: the choice needs an integration of Prefect that is not installed.
    """

    def __init__(self, choice: RunnerChoice) -> None:
        self.choice = choice
        self._runner = _make(choice)
        # Not the event loop's own threads: chunks would hold all of them, and nobody's address would be looked up.
        self._waiting = ThreadPoolExecutor(choice.workers, thread_name_prefix="chunk")

    def __enter__(self) -> ChunkRunner:
        self._runner.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        try:
            self._runner.__exit__(*problem)
        finally:
            self._waiting.shutdown(wait=False)

    async def run(self, name: str, work: Callable[[BaseModel], T], order: BaseModel) -> T:
        """What `work` gave for `order`, as a Prefect task of the flow run in progress.

        Args:
            work: a function of a module; it and `order` may travel to another process, and its result comes from there.

        Raises:
            RetriesExhausted: the process that worked on it is gone, and with it the others; the run can be resumed.
        """
        from tasks.ledger.steps import chunk_task

        loop, context = asyncio.get_running_loop(), copy_context()
        try:
            future = self._runner.submit(chunk_task(name, work), {"order": order})
            found: T = await loop.run_in_executor(self._waiting, context.run, future.result)
        except BrokenExecutor as error:
            raise RetriesExhausted(
                "a process that worked on a chunk was killed, maybe for want of memory: resume the run, with fewer "
                "workers in HEADRACE_TASK_RUNNER where memory is short"
            ) from error
        return found


def _make(choice: RunnerChoice) -> TaskRunner[Any]:
    if choice.kind == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=choice.workers)
    if choice.kind == "processes":
        return _processes(choice.workers)
    module, name = _INTEGRATIONS[choice.kind]
    try:
        kind = getattr(import_module(module), name)
    except ImportError as error:
        package = module.replace("_", "-")
        raise ConfigurationError(
            f"HEADRACE_TASK_RUNNER says {choice.kind}: that needs {package}, which is not installed here"
        ) from error
    runner: TaskRunner[Any] = kind(address=choice.address) if choice.address else kind()
    return runner


def _processes(workers: int) -> TaskRunner[Any]:
    from prefect.task_runners import ProcessPoolTaskRunner

    class Processes(ProcessPoolTaskRunner):
        """Forwards what processes say to the API of the flow run.

        Its thread would not see that address, which `run_flow` sets for its own context only, and Prefect would start a
        server of its own for it.
        """

        def __enter__(self) -> Any:
            self._around = copy_context()
            return super().__enter__()

        def _forward_subprocess_messages(self) -> None:
            self._around.run(super()._forward_subprocess_messages)

    return Processes(max_workers=workers, initializer=end_with_parent)


def end_with_parent() -> None:
    """This process ends when the one that made it does, however that ends; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
