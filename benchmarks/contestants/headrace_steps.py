"""Headrace: a run for each document, a recorded step for each question, every call under a budget.

As one Prefect flow run the same function is called through `run_flow`, and each step is a Prefect task.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.ledger_environment import configure_ledger
from benchmarks.trial import Trial
from benchmarks.workload import (
    MAX_TOKENS,
    MODEL,
    TEMPERATURE,
    Analyse,
    Document,
    Finding,
    each_at_once,
    question,
)
from blocks.settings import get_settings
from schemas.calls import ChatParameters
from tasks.ledger.calls import complete_structured
from tasks.ledger.limits import set_budgets
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import open_ledger
from tasks.ledger.steps import step

PARAMETERS = ChatParameters(max_tokens=MAX_TOKENS, temperature=TEMPERATURE)
FLOW = "benchmark-analysis"


@asynccontextmanager
async def open_contestant(trial: Trial) -> AsyncIterator[Analyse]:
    """The ledger is open, a budget set, and the work a Prefect flow run where there is an API."""
    _configure(trial)
    async with open_ledger():
        await set_budgets(project=trial.project, day="1000", month="10000")
        if trial.prefect_api is None:

            async def analyse(labels: Sequence[str]) -> list[Finding]:
                return await analyze_documents(list(labels), trial.at_once)

            yield analyse
        else:
            yield _in_a_flow_run(trial)


def transport(_: Trial) -> str:
    """What HTTP goes over."""
    return "aiohttp"


def _configure(trial: Trial) -> None:
    """The settings a user would make in the environment."""
    if trial.prefect_api is not None:
        os.environ["PREFECT_API_URL"] = trial.prefect_api
    configure_ledger(trial.home, trial.ledger_database, trial.provider_url, trial.project)


def _in_a_flow_run(trial: Trial) -> Analyse:
    from prefect import flow

    from flows.running import run_flow

    analyze: Any = flow(name=FLOW, persist_result=False)(analyze_documents)

    async def analyse(labels: Sequence[str]) -> list[Finding]:
        found: list[Finding] = await run_flow(analyze, {"labels": list(labels), "at_once": trial.at_once})
        return found

    return analyse


async def analyze_documents(labels: list[str], at_once: int) -> list[Finding]:
    """All documents, each with a run of its own."""
    async with open_ledger():
        return await each_at_once(labels, at_once, analyze_document)


async def analyze_document(document: Document) -> Finding:
    """One document through its four steps."""
    request = RunRequest(
        flow=FLOW,
        subject=document.label,
        project=get_settings().project,
        parameters={"label": document.label},
        prefect_flow_run_id=_flow_run_id(),
    )
    async with open_run(request) as run:
        found = await extract(document)
        assessed = await assess(document, found)
        reviewed = await review(document, assessed)
        concluded = await conclude(document, reviewed)
        run.result = concluded.model_dump(mode="json")
    return concluded


@step("extract", version="1")
async def extract(document: Document) -> Finding:
    """What the bill changes."""
    return await _ask(question(0, document.text, None))


@step("assess", version="1")
async def assess(document: Document, finding: Finding) -> Finding:
    """What that would cost."""
    return await _ask(question(1, document.text, finding))


@step("review", version="1")
async def review(document: Document, finding: Finding) -> Finding:
    """The assessment without its mistakes."""
    return await _ask(question(2, document.text, finding))


@step("conclude", version="1")
async def conclude(document: Document, finding: Finding) -> Finding:
    """The conclusion."""
    return await _ask(question(3, document.text, finding))


async def _ask(prompt: str) -> Finding:
    return (await complete_structured(prompt, Finding, model=MODEL, parameters=PARAMETERS)).value


def _flow_run_id() -> Any:
    """The Prefect flow run in progress, if there is one; Prefect is not imported to find out."""
    import sys

    if "prefect" not in sys.modules:
        return None
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None
