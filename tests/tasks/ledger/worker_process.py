"""What processes of their own do in tests of the ledger, telling the test of it as they go."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from blocks.providers.prices import worst_case
from blocks.settings import get_settings
from schemas.calls import ChatParameters
from schemas.errors import HeadraceError
from tasks.ledger.calls import complete
from tasks.ledger.runs import RunRequest, open_run, resuming
from tasks.ledger.searches import search_web
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

MODEL = "gpt-4o-mini"


# What a call would import and read is there already in the processes forked from here.
for module in (
    "aiohttp",
    "blocks.embedded.stack",
    "blocks.providers.registry",
    "sqlalchemy.dialects.postgresql.psycopg",
):
    import_module(module)
worst_case(MODEL, "openai", 1, 1)

_test: list[Connection] = []


def run_in_process(function: str, arguments: dict[str, Any], environment: Mapping[str, str], test: Connection) -> None:
    """Runs a function of this module, or `module.function` of this folder, in `environment`."""
    os.environ.clear()
    os.environ.update(environment)
    get_settings.cache_clear()
    _test.append(test)
    module, _, name = f"worker_process.{function}".rpartition(".")
    found = import_module(f"{__package__}.{module.rpartition('.')[2]}")
    asyncio.run(getattr(found, name)(**arguments))


def say(value: Any) -> None:
    """The test hears `value`."""
    _test[0].send(value)


async def ask_many(first: int, count: int, workers: int, max_tokens: int) -> None:
    """Asks `count` different questions, `workers` at once; says how many ended how."""
    outcomes: Counter[str] = Counter()
    numbers = iter(range(first, first + count))

    async def work() -> None:
        for number in numbers:
            try:
                await complete(f"Question {number:05d}?", model=MODEL, parameters=ChatParameters(max_tokens=max_tokens))
                outcomes["answered"] += 1
            except HeadraceError as error:
                outcomes[error.code] += 1

    async with open_ledger(), asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work())
    say(dict(outcomes))


async def ask_one(prompt: str, times: int = 1, model: str = MODEL) -> None:
    """Asks the same question `times` at once; says the answers and how many were replays."""
    async with open_ledger() as ledger:
        say({"worker": str(ledger.worker.id)})
        answers = await asyncio.gather(*(complete(prompt, model=model) for _ in range(times)))
    say({"texts": [answer.text for answer in answers], "replayed": sum(answer.replayed for answer in answers)})


async def search_one(query: str, times: int = 1) -> None:
    """Searches for the same `times` at once; says the addresses found and how many searches were cached."""
    async with open_ledger() as ledger:
        say({"worker": str(ledger.worker.id)})
        found = await asyncio.gather(*(search_web(query) for _ in range(times)))
    say({"urls": [result.url for result in found[0].results], "cached": sum(each.cached for each in found)})


class Said(BaseModel):
    """A model's words."""

    text: str


@step("ask", version="1")
async def ask_step(prompt: str, model: str = MODEL) -> Said:
    """A step with one call."""
    say({"began": prompt})
    return Said(text=(await complete(prompt, model=model)).text)


async def run_steps(prompts: list[str], resume: str | None = None, model: str = MODEL) -> None:
    """A run, or one that goes on, with a step for each prompt, one after the other."""
    resuming.set(UUID(resume) if resume else None)
    request = RunRequest(flow="ask-steps", subject="prompts", project="default", parameters={"prompts": prompts})
    async with open_run(request) as run:
        say({"run": str(run.id)})
        for prompt in prompts:
            await ask_step(prompt, model)


async def ask_for(user: str, first: int, count: int) -> None:
    """Asks `count` different questions for `user`, all at once; says how many ended how and the longest wait told."""
    outcomes: Counter[str] = Counter()
    told: list[float] = []

    async def ask(number: int) -> None:
        try:
            await complete(f"Question {number:05d}?", model=MODEL, user=user)
            outcomes["answered"] += 1
        except HeadraceError as error:
            outcomes[error.code] += 1
            told.append(error.details["retry_after"])

    async with open_ledger(), asyncio.TaskGroup() as tasks:
        for number in range(first, first + count):
            tasks.create_task(ask(number))
    say({"outcomes": dict(outcomes), "told": told})
