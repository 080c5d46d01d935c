"""Prefect alone: one flow run over all documents, a task for each question, the openai client in it.

Nothing but Prefect's own record is kept: what it shows is how much of Headrace's time in a flow run is
Prefect's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.contestants.bare_openai import ask, new_client, transport
from benchmarks.trial import Trial
from benchmarks.workload import QUESTIONS, Analyse, Document, Finding, each_at_once, question

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["open_contestant", "transport"]


@asynccontextmanager
async def open_contestant(trial: Trial) -> AsyncIterator[Analyse]:
    """One flow run for all documents."""
    assert trial.prefect_api is not None
    os.environ["PREFECT_API_URL"] = trial.prefect_api
    from prefect import flow

    async with new_client(trial) as client:
        tasks = [_task(client, number) for number in range(len(QUESTIONS))]

        async def analyse_one(given: Document) -> Finding:
            finding: Finding | None = None
            for ask_next in tasks:
                finding = await ask_next(given, finding)
            assert finding is not None
            return finding

        @flow(name="prefect-alone", persist_result=False)
        async def analyze_documents(labels: list[str]) -> list[Finding]:
            return await each_at_once(labels, trial.at_once, analyse_one)

        async def analyse(labels: Sequence[str]) -> list[Finding]:
            return await analyze_documents(list(labels))

        yield analyse


def _task(client: AsyncOpenAI, number: int) -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    @task(name=QUESTIONS[number][0], persist_result=False, cache_policy=NO_CACHE)
    async def answer(given: Document, before: Finding | None) -> Finding:
        return await ask(client, question(number, given.text, before))

    return answer
