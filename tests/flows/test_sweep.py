"""Sweeps as a user runs them: asked, scored, stored, interrupted and gone on with."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Environment
from tests.flows.conftest import Look, Run, Start
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.sweep.test_grid import OLD_REQUEST

USAGE = {"prompt_tokens": 20, "completion_tokens": 12}


class Writer:
    """Answers with sentences that differ from call to call; what `fails` says yes to is refused."""

    def __init__(self) -> None:
        self.number = 0
        self.fails: Callable[[dict[str, Any]], bool] = lambda request: False

    def __call__(self, request: dict[str, Any]) -> Reply:
        self.number += 1
        if self.fails(request):
            return Reply(status=400, text="these parameters are not supported")
        said = f"The gates of lock {self.number} close. Water lifts the boat by {self.number % 7} metres, slowly."
        return Reply(said, usage=USAGE)


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def provider(writer: Writer) -> Iterator[ScriptedProvider]:
    with ScriptedProvider(writer) as server:
        yield server


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., Path]:
    def write(**said: Any) -> Path:
        path = tmp_path / "sweep.json"
        small = {"prompt": "How does a lock work?", "model": "gpt-4o-mini", "parameter_ranges": {"temperature": [0, 1]}}
        path.write_text(json.dumps({**small, **said}))
        return path

    return write


def test_the_old_example_is_asked_and_scored_and_again_for_nothing(
    headrace: Run, look: Look, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    done = headrace("sweep", spec(**OLD_REQUEST), "--yes", "--bare", "--json")
    assert (done.code, done.json["combinations"], done.json["stored"], done.json["failed"]) == (0, 150, 450, 0)
    assert provider.paid == 450
    (counted,) = look("""
        SELECT count(*) AS n, count(DISTINCT (combination_key, repetition)) AS cells,
               count(DISTINCT request_id) AS requests, max(top_p) AS most FROM responses
    """)
    assert counted == {"n": 450, "cells": 450, "requests": 450, "most": 1.0}
    (scores,) = look("SELECT count(*) AS n, count(DISTINCT metric) AS metrics FROM quality_metrics")
    assert scores == {"n": 450 * 7, "metrics": 7}
    (batch,) = look("SELECT status, total_combinations, completed_combinations, total_cost FROM batch_experiments")
    assert (batch["status"], batch["total_combinations"], batch["completed_combinations"]) == ("completed", 150, 150)
    assert len(look("SELECT id FROM batch_results WHERE overall_score BETWEEN 0 AND 100")) == 450

    again = headrace("sweep", spec(**OLD_REQUEST), "--yes", "--bare", "--json")
    assert (again.json["replayed"], again.json["cost_usd"], provider.paid) == (450, "0", 450)


def test_a_wider_range_pays_only_for_what_is_new(
    headrace: Run, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    headrace("sweep", spec(), "--yes", "--bare", "--json")
    wider = headrace("sweep", spec(parameter_ranges={"temperature": [0, 0.5, 1]}), "--yes", "--bare", "--json")
    assert (wider.json["stored"], wider.json["replayed"], provider.paid) == (3, 2, 3)


def test_the_plan_tells_what_it_comes_to_and_asks_one_answer(
    headrace: Run, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    plan = headrace("sweep", spec(**OLD_REQUEST), "--estimate", "--json")
    assert plan.code == 0
    assert (plan.json["combinations"], plan.json["calls"], plan.json["answered"]) == (150, 450, 1)
    assert provider.paid == 1
    assert plan.json["models"][0]["output_tokens"] == 450 * 12
    assert headrace("sweep", spec(**OLD_REQUEST), "--estimate", "--no-probe", "--json").json["models"][0]["probed"] is (
        False
    )
    assert provider.paid == 1


def test_the_plan_of_a_fresh_sweep_takes_no_answer_from_the_ledger(
    headrace: Run, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    headrace("sweep", spec(), "--yes", "--bare", "--json")
    known = headrace("sweep", spec(), "--estimate", "--json").json
    fresh = headrace("sweep", spec(), "--estimate", "--fresh", "--json").json
    assert (known["answered"], float(known["cost_usd"])) == (2, 0)
    assert (fresh["answered"], float(fresh["cost_usd"]) > 0) == (0, True)
    done = headrace("sweep", spec(), "--yes", "--bare", "--fresh", "--json").json
    assert (done["replayed"], provider.paid) == (0, 4)


def test_a_model_that_is_also_the_configured_one_is_refused(
    headrace: Run, spec: Callable[..., Path], environment: Environment, look: Look
) -> None:
    environment(HEADRACE_CHAT_MODEL="gpt-4o-mini")
    done = headrace("sweep", spec(model=[None, "gpt-4o-mini"]), "--yes", "--bare")
    assert (done.code, "models: gpt-4o-mini is there twice" in done.reason) == (2, True)
    assert look("SELECT id FROM runs") == []


def test_without_anybody_to_ask_nothing_is_begun(headrace: Run, spec: Callable[..., Path], look: Look) -> None:
    done = headrace("sweep", spec(), "--no-probe")
    assert done.code == 2
    assert "--yes" in done.reason
    assert look("SELECT id FROM experiments") == []


def test_a_failed_call_is_a_response_with_its_reason_and_is_asked_again_by_the_next_sweep(
    headrace: Run, look: Look, spec: Callable[..., Path], writer: Writer
) -> None:
    writer.fails = lambda request: request["temperature"] == 1
    done = headrace("sweep", spec(response_count=2), "--yes", "--bare", "--json")
    assert (done.code, done.json["stored"], done.json["failed"]) == (0, 4, 2)
    assert done.json["failures"] == {"bad_input": 2}
    (failed, _) = look("SELECT content, error_message FROM responses WHERE status = 'failed'")
    assert failed["content"] is None
    assert "HTTP status 400" in failed["error_message"]
    status = headrace("sweep-status", done.json["experiment_id"], "--json").json
    assert (status["status"], status["completed_calls"], status["failed_calls"]) == ("completed", 4, 2)
    writer.fails = lambda request: False
    again = headrace("sweep", spec(response_count=2), "--yes", "--bare", "--json").json
    assert (again["stored"], again["failed"], again["replayed"]) == (4, 0, 2)


def test_the_wall_of_the_spec_keeps_what_is_paid_and_the_run_can_be_resumed(
    headrace: Run, look: Look, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    ranges = {"temperature": {"min": 0.1, "max": 1.0, "step": 0.1}, "max_tokens": [100]}
    wall = headrace("sweep", spec(parameter_ranges=ranges, max_cost_usd="0.00008"), "--yes", "--bare", "--json")
    assert wall.code == 3
    (run,) = look("SELECT id, status FROM runs")
    stored = look("SELECT id FROM responses WHERE status = 'succeeded'")
    assert run["status"] == "failed"
    assert 1 <= len(stored) == provider.paid < 10
    (experiment,) = look("SELECT status, error_message FROM experiments")
    assert experiment["status"] == "failed"
    headrace("budget", "set", "--run", run["id"], "--total", "none")
    done = headrace("resume", run["id"], "--bare", "--json")
    assert (done.code, done.json["stored"], provider.paid) == (0, 10, 10)


def test_ten_kills_lose_nothing_and_ask_nothing_twice(
    start: Start, look: Look, spec: Callable[..., Path], provider: ScriptedProvider
) -> None:
    seeded = random.Random(11)
    path = spec(**OLD_REQUEST)
    in_flight = 0
    for kill in range(10):
        runs = look("SELECT id FROM runs")
        command = start(*(("resume", runs[0]["id"]) if runs else ("sweep", path, "--yes")), "--bare", "--json")
        _until(lambda: len(look("SELECT id FROM responses")) >= seeded.randint(20, 42) * (kill + 1))  # noqa: B023
        command.kill()
        in_flight += look("SELECT count(*) AS n FROM llm_requests WHERE status = 'reserved'")[0]["n"]
    done = start("resume", look("SELECT id FROM runs")[0]["id"], "--bare", "--json").wait()
    assert (done.code, done.json["stored"], done.json["failed"]) == (0, 450, 0)
    (cells,) = look("SELECT count(*) AS n, count(DISTINCT (combination_key, repetition)) AS cells FROM responses")
    assert cells == {"n": 450, "cells": 450}
    assert 450 <= provider.paid <= 450 + in_flight


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"parameter_ranges": {"temperature": {"min": 0, "max": 1, "step": 0}}}, "step is 0: it must be above 0"),
        ({"parameter_ranges": {"temperatur": [1]}}, "temperatur"),
        ({"prompt": []}, "prompt"),
        ({"weights": {"beauty": 1}}, "beauty is no metric"),
        ({"strategy": "magic"}, "magic"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_spec_that_cannot_be_asked_is_refused_in_a_sentence(
    headrace: Run, spec: Callable[..., Path], said: dict[str, Any], reason: str, look: Look
) -> None:
    done = headrace("sweep", spec(**said), "--yes", "--bare")
    assert done.code == 2
    assert reason in done.reason
    assert look("SELECT id FROM experiments") == []
