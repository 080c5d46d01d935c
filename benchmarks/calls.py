"""One turn of one way to call a model, as a process of its own.

    python -m benchmarks.calls '{"caller": "aiohttp", …}'

prints a `CallMeasurement` as JSON on the last line.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict

from benchmarks.ledger_environment import configure_ledger
from benchmarks.memory import peak_mib, resident_mib

Caller = Literal["aiohttp", "openai-aiohttp", "openai-httpx", "litellm", "headrace"]
CALLERS: tuple[Caller, ...] = get_args(Caller)
MODEL = "gpt-4o-mini"
MAX_TOKENS = 200

Ask = Callable[[str], Awaitable[str]]
"""One call: from the prompt to the answer's text."""


class CallTrial(BaseModel):
    """One caller's turn: `calls` distinct calls, `at_once` at a time."""

    model_config = ConfigDict(frozen=True)

    caller: Caller
    label: str
    calls: int
    at_once: int
    home: str
    provider_url: str
    ledger_database: str

    def prompts(self, kind: str, count: int) -> list[str]:
        """So many prompts that nobody else asks."""
        return [f"Call {self.label} {kind} {number}: what is a headrace?" for number in range(count)]


class CallMeasurement(BaseModel):
    """One turn, measured inside the caller's process.

    Attributes:
        seconds: wall time of all calls.
        cpu_milliseconds: processor time of one call in this process.
        imported_mib: resident memory once everything is imported, connected and warm.
        peak_mib: largest resident memory, the warm-up included.
        answers: digest of the answers; equal for callers that were answered alike.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    cpu_milliseconds: float
    imported_mib: float
    peak_mib: float
    answers: str


def main() -> None:
    """The trial of the first argument is run, its measurement printed."""
    trial = CallTrial.model_validate_json(sys.argv[1])
    print(asyncio.run(measure(trial)).model_dump_json())


async def measure(trial: CallTrial) -> CallMeasurement:
    """The trial's calls are made; imports, connecting and a warm-up are over when the clock starts."""
    async with open_caller(trial) as ask:
        await ask_all(ask, trial.prompts("warm-up", trial.at_once), trial.at_once)
        imported = resident_mib()
        cpu, began = time.process_time(), time.perf_counter()
        answers = await ask_all(ask, trial.prompts("measured", trial.calls), trial.at_once)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return CallMeasurement(
        seconds=seconds,
        cpu_milliseconds=cpu_seconds * 1000 / trial.calls,
        imported_mib=imported,
        peak_mib=peak_mib(),
        answers=hashlib.sha256("\n".join(answers).encode()).hexdigest()[:16],
    )


async def ask_all(ask: Ask, prompts: Sequence[str], at_once: int) -> list[str]:
    """The answers to `prompts`, in order."""
    slots = asyncio.Semaphore(at_once)

    async def attempt(prompt: str) -> str:
        async with slots:
            return await ask(prompt)

    return list(await asyncio.gather(*map(attempt, prompts)))


def open_caller(trial: CallTrial) -> AbstractAsyncContextManager[Ask]:
    """The caller of the trial, connected."""
    match trial.caller:
        case "aiohttp":
            return bare_caller(trial.provider_url, at_once=trial.at_once)
        case "openai-aiohttp" | "openai-httpx":
            return _openai(trial)
        case "litellm":
            return _litellm(trial)
        case "headrace":
            return _headrace(trial)


def _body(prompt: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}


@asynccontextmanager
async def bare_caller(provider_url: str, *, at_once: int) -> AsyncIterator[Ask]:
    """The bare minimum: a JSON body posted, the answer's text taken out."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=at_once)
    headers = {"Authorization": "Bearer benchmark", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(prompt: str) -> str:
            async with session.post(f"{provider_url}/chat/completions", data=orjson.dumps(_body(prompt))) as reply:
                reply.raise_for_status()
                return str(orjson.loads(await reply.read())["choices"][0]["message"]["content"])

        yield ask


@asynccontextmanager
async def _openai(trial: CallTrial) -> AsyncIterator[Ask]:
    """The openai client, over httpx as it comes or over aiohttp as its documentation offers."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http_client = DefaultAioHttpClient() if trial.caller == "openai-aiohttp" else None
    async with AsyncOpenAI(
        api_key="benchmark", base_url=trial.provider_url, http_client=http_client, max_retries=0
    ) as client:

        async def ask(prompt: str) -> str:
            completion = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=MAX_TOKENS
            )
            return completion.choices[0].message.content or ""

        yield ask


@asynccontextmanager
async def _litellm(trial: CallTrial) -> AsyncIterator[Ask]:
    """LiteLLM as it comes, its retries off."""
    import os

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a price table when imported
    import litellm

    async def ask(prompt: str) -> str:
        completion: Any = await litellm.acompletion(
            **_body(prompt), api_base=trial.provider_url, api_key="benchmark", num_retries=0
        )
        return str(completion.choices[0].message.content)

    yield ask


@asynccontextmanager
async def _headrace(trial: CallTrial) -> AsyncIterator[Ask]:
    """`complete`, every call recorded and under a budget."""
    configure_ledger(trial.home, trial.ledger_database, trial.provider_url, "benchmark-gateway")
    from schemas.calls import ChatParameters
    from tasks.ledger import complete, open_ledger
    from tasks.ledger.limits import set_budgets

    parameters = ChatParameters(max_tokens=MAX_TOKENS)
    async with open_ledger():
        await set_budgets(project="benchmark-gateway", day="1000", month="10000")

        async def ask(prompt: str) -> str:
            return (await complete(prompt, model=MODEL, parameters=parameters)).text

        yield ask


if __name__ == "__main__":
    main()
