"""Work over many things, some at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, at_once: int) -> list[R]:
    """What `work` gave for each of `items`, in their order; at most `at_once` were worked on at a time.

    The first failure ends the others and is raised as it is; those that failed beside it are logged.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with slots:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:
        for other in failures.exceptions[1:]:
            log.warning("something beside it failed too: %s", type(other).__name__, exc_info=other)
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
