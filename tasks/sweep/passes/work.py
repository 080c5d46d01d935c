"""Work over many things that ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from schemas.errors import HeadraceError

T = TypeVar("T")


async def work_through(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Every item is worked on, at most `at_once` at a time; of `items` no more than these are held.

    After a failure nothing more is begun; what is under way, and may be paid for, is waited for. Then the first failure
    is raised.
    """
    slots = asyncio.Semaphore(at_once)
    failed: HeadraceError | None = None

    async def one(item: T) -> None:
        nonlocal failed
        try:
            await work(item)
        except HeadraceError as error:
            failed = failed or error
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for item in items:
            await slots.acquire()
            if failed is not None:
                break
            group.create_task(one(item))
    if failed is not None:
        raise failed
