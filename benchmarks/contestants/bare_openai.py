"""The bare minimum: the openai client and Pydantic, nothing recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.trial import Trial
from benchmarks.workload import (
    MAX_TOKENS,
    MODEL,
    QUESTIONS,
    TEMPERATURE,
    Analyse,
    Document,
    Finding,
    answer_format,
    each_at_once,
    question,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@asynccontextmanager
async def open_contestant(trial: Trial) -> AsyncIterator[Analyse]:
    """Four calls after one another for each document."""
    async with new_client(trial) as client:

        async def analyse_one(given: Document) -> Finding:
            finding = await ask(client, question(0, given.text, None))
            for number in range(1, len(QUESTIONS)):
                finding = await ask(client, question(number, given.text, finding))
            return finding

        async def analyse(labels: Sequence[str]) -> list[Finding]:
            return await each_at_once(labels, trial.at_once, analyse_one)

        yield analyse


def transport(trial: Trial) -> str:
    """What HTTP goes over."""
    aiohttp = trial.contestant != "bare-httpx" and find_spec("httpx_aiohttp") is not None
    return "openai over aiohttp" if aiohttp else "openai over httpx"


def new_client(trial: Trial) -> AsyncOpenAI:
    """A client as its documentation makes it for asynchronous work: over aiohttp where that is installed."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http_client = DefaultAioHttpClient() if transport(trial).endswith("aiohttp") else None
    return AsyncOpenAI(api_key="benchmark", base_url=trial.provider_url, http_client=http_client, max_retries=0)


async def ask(client: AsyncOpenAI, prompt: str) -> Finding:
    """One structured call, its answer validated."""
    wanted: Any = answer_format()
    completion = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
        response_format=wanted,
    )
    return Finding.model_validate_json(completion.choices[0].message.content or "")
