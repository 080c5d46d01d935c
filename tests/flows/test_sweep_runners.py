# ruff: noqa: F811
"""Chunks of a sweep asked in threads and processes of their own, as Prefect tasks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from pydantic import BaseModel

from flows.sweep import sweep_parameters
from schemas.errors import BudgetExceeded, ConfigurationError
from schemas.settings import Settings
from schemas.task_runners import RunnerChoice, parse_task_runner
from tasks.ledger.task_runners import ChunkRunner
from tests.conftest import Environment
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run, Start
from tests.flows.test_sweep import USAGE, _until, provider, spec  # noqa: F401
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.sweep.test_judging import longer

SPEC: dict[str, Any] = {
    "name": "spread",
    "prompts": ["How does a lock work?"],
    "models": ["gpt-4o-mini"],
    "parameter_ranges": {"temperature": {"min": 0.1, "max": 1.0, "step": 0.1}, "max_tokens": [100]},
    "response_count": 2,
}
CALLS = 20
PARALLEL = 4


class Busy:
    """Answers after a while, and knows how many it answered at once."""

    def __init__(self) -> None:
        self.number = self.now = self.most = 0

    async def __call__(self, request: dict[str, Any]) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.02)
        self.now -= 1
        self.number += 1
        if "response_format" in request:
            return Reply(longer(request), usage=USAGE)
        return Reply(f"Answer {self.number} says how the gates close.", usage=USAGE)


@pytest.fixture
def writer() -> Busy:
    return Busy()


@pytest.fixture(scope="module")
def prefect_api() -> Iterator[str]:
    """The address of a Prefect API on SQLite."""
    with prefect_test_harness(server_startup_timeout=120):
        yield PREFECT_API_URL.value()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch, environment: Environment, settings: Settings) -> None:
    """Chunks of four cells, few calls at once."""
    monkeypatch.setattr("tasks.sweep.sweeping.CHUNK", 4)
    environment(HEADRACE_PARALLEL_CALLS=PARALLEL)


@pytest.mark.usefixtures("small_chunks", "prefect_api")
@pytest.mark.parametrize("runner", ["threads:2", "processes:2"])
async def test_chunks_are_asked_by_the_workers_of_the_runner_within_the_limits(
    environment: Environment, look: Look, writer: Busy, runner: str, provider: ScriptedProvider
) -> None:
    environment(HEADRACE_TASK_RUNNER=runner)
    report = await sweep_parameters(SPEC)
    assert (report.stored, report.failed, provider.paid) == (CALLS, 0, CALLS)
    assert writer.most <= PARALLEL
    (asked,) = look("""
        SELECT count(DISTINCT llm_requests.worker_id) AS workers, count(DISTINCT step_id) AS steps,
               bool_or(llm_requests.worker_id = run_attempts.worker_id) AS by_the_flow
        FROM llm_requests JOIN run_attempts ON run_attempts.run_id = llm_requests.run_id
    """)
    assert asked == {"workers": CALLS // 4, "steps": CALLS // 4, "by_the_flow": False}
    assert look("SELECT status, count(*) AS n FROM steps GROUP BY 1") == [{"status": "completed", "n": CALLS // 4}]


@pytest.mark.usefixtures("small_chunks", "prefect_api")
async def test_what_a_strategy_learns_comes_back_and_the_wall_holds(environment: Environment, look: Look) -> None:
    environment(HEADRACE_TASK_RUNNER="threads:2")
    raced = await sweep_parameters({**SPEC, "response_count": 4, "strategy": "race", "name": "raced"})
    scored = look("SELECT count(*) AS n FROM quality_metrics WHERE metric = 'overall'")
    assert raced.asked == raced.stored == scored[0]["n"]
    with pytest.raises(BudgetExceeded):
        await sweep_parameters({**SPEC, "name": "walled", "prompts": ["And a weir?"], "max_cost_usd": "0.0001"})
    (experiment,) = look("SELECT status, error_message FROM experiments WHERE name = 'walled'")
    assert experiment["status"] == "failed"
    assert "budget" in experiment["error_message"]


@pytest.mark.usefixtures("small_chunks", "prefect_api")
async def test_the_judges_agreement_is_a_table_artifact(environment: Environment) -> None:
    environment(HEADRACE_TASK_RUNNER="threads:2")
    await sweep_parameters({**SPEC, "name": "Judged: it", "judge": "gpt-4o", "response_count": 1})
    async with get_client() as client:
        (found,) = await client.read_artifacts(artifact_filter=ArtifactFilter(key={"any_": ["judge-judged-it"]}))
    itself, overall = json.loads(found.data)
    assert (itself["agreement with"], itself["pairs"], itself["share"]) == ("itself, answers swapped", 20, 1.0)
    assert (overall["agreement with"], overall["judge"]) == ("overall", "gpt-4o")


@pytest.mark.usefixtures("small_chunks")
def test_a_sweep_asked_in_threads_that_is_killed_is_gone_on_with(
    environment: Environment,
    start: Start,
    look: Look,
    spec: Callable[..., Path],
    prefect_api: str,
    provider: ScriptedProvider,
) -> None:
    environment(HEADRACE_TASK_RUNNER="threads:2", PREFECT_API_URL=prefect_api)
    said = {name: value for name, value in SPEC.items() if name not in ("prompts", "models")}
    path = spec(**{**said, "response_count": 21})
    command = start("sweep", path, "--yes", "--json")
    _until(lambda: look("SELECT id FROM responses LIMIT 1"))
    command.kill()
    (in_flight,) = look("SELECT count(*) AS n FROM llm_requests WHERE status = 'reserved'")
    done = start("resume", look("SELECT id FROM runs")[0]["id"], "--json").wait()
    assert (done.code, done.json["stored"], done.json["failed"]) == (0, 210, 0)
    (cells,) = look("SELECT count(*) AS n, count(DISTINCT (combination_key, repetition)) AS cells FROM responses")
    assert cells == {"n": 210, "cells": 210}
    assert 210 <= provider.paid <= 210 + max(in_flight["n"], PARALLEL)


@pytest.mark.usefixtures("small_chunks")
def test_a_worker_that_is_killed_ends_the_sweep_in_a_sentence_and_it_is_gone_on_with(
    environment: Environment,
    start: Start,
    look: Look,
    spec: Callable[..., Path],
    prefect_api: str,
    provider: ScriptedProvider,
) -> None:
    environment(HEADRACE_TASK_RUNNER="processes:1", PREFECT_API_URL=prefect_api)
    said = {name: value for name, value in SPEC.items() if name not in ("prompts", "models")}
    command = start("sweep", spec(**{**said, "response_count": 21}), "--yes", "--json")
    _until(lambda: look("SELECT id FROM responses LIMIT 1"))
    workers = look("SELECT DISTINCT pid FROM workers JOIN llm_requests ON worker_id = workers.id")
    (worker,) = {row["pid"] for row in workers} - {command.pid}
    psutil.Process(worker).kill()
    ended = command.wait()
    assert (ended.code, ended.json["error"]["code"]) == (1, "retries_exhausted")
    assert "a process that worked on a chunk was killed" in ended.json["error"]["message"]
    environment(HEADRACE_TASK_RUNNER="threads:2")
    done = start("resume", look("SELECT id FROM runs")[0]["id"], "--json").wait()
    assert (done.code, done.json["stored"], done.json["failed"]) == (0, 210, 0)


PARENT = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tasks.ledger.task_runners import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


def test_a_process_that_works_for_another_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(30)
    assert not child.is_running()


def test_without_prefect_the_process_asks_by_itself_and_says_so(
    environment: Environment, settings: Settings, headrace: Run, spec: Callable[..., Path]
) -> None:
    environment(HEADRACE_TASK_RUNNER="threads")
    done = headrace("sweep", spec(), "--yes", "--bare", "--json")
    assert (done.code, done.json["stored"]) == (0, 2)
    assert "HEADRACE_TASK_RUNNER is not used without Prefect" in done.err


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("dask://127.0.0.1:8786", "prefect-dask"),
        ("ray", "prefect-ray"),
        ("magic", "threads:4"),
        ("threads:0", "it must"),
    ],
)
def test_a_runner_that_is_not_there_is_refused_in_a_sentence(
    environment: Environment,
    settings: Settings,
    headrace: Run,
    spec: Callable[..., Path],
    look: Look,
    said: str,
    reason: str,
) -> None:
    environment(HEADRACE_TASK_RUNNER=said)
    done = headrace("sweep", spec(), "--yes", "--bare")
    assert done.code == 2
    assert reason in done.reason
    assert look("SELECT id FROM runs") == []


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        (None, None),
        (" ", None),
        ("threads", RunnerChoice(kind="threads", workers=4)),
        ("processes:8", RunnerChoice(kind="processes", workers=8)),
        ("dask://scheduler:8786", RunnerChoice(kind="dask", workers=4, address="scheduler:8786")),
        ("ray://head:10001/16", RunnerChoice(kind="ray", workers=16, address="head:10001")),
    ],
)
def test_a_runner_is_said_in_a_word(said: str | None, choice: RunnerChoice | None) -> None:
    assert parse_task_runner(said) == choice


@pytest.mark.parametrize("said", ["threads://here", "dask://", "processes:x", "loop", "threads:-1"])
def test_what_is_no_runner_is_refused(said: str) -> None:
    with pytest.raises(ConfigurationError, match="HEADRACE_TASK_RUNNER"):
        parse_task_runner(said)


class Waiting:
    """A task runner whose chunks take until they are let go."""

    def __init__(self) -> None:
        self.go = Event()

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *problem: object) -> None: ...

    def submit(self, task: object, parameters: dict[str, Any]) -> Waiting:
        return self

    def result(self) -> RunnerChoice:
        assert self.go.wait(60)
        return RunnerChoice(kind="threads")


async def test_however_many_chunks_are_waited_for_the_event_loop_keeps_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting()
    monkeypatch.setattr("tasks.ledger.task_runners._make", lambda choice: waiting)
    with ChunkRunner(RunnerChoice(kind="threads", workers=64)) as runner:
        chunks = [asyncio.create_task(runner.run("ask", parse, RunnerChoice(kind="threads"))) for _ in range(64)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(threading.active_count), 30) > 64
        waiting.go.set()
        assert len(await asyncio.gather(*chunks)) == 64


def parse(order: BaseModel) -> RunnerChoice:
    """The work of a chunk that never gets to it."""
    raise NotImplementedError
