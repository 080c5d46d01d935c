"""A process that is killed outright, and the command that goes on where it stopped.

Each test kills one run again and again, at one kind of transition. The provider's own log is the oracle:
what had a stored answer is not asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from sqlalchemy import Engine, text

from tests.flows.analyst import ScriptedAnalyst
from tests.flows.commands import Command, Done
from tests.flows.conftest import Look, Start
from tests.scripted_provider import ScriptedProvider

CALLS = ("research", "generate", "review", "refine", "review")
PATIENCE_SECONDS = 60.0
COMMAND = "headrace-to-be-killed"
"""Its sessions have this name in Postgres."""


@dataclass
class Turnstile:
    """Lets requests through to the analyst one by one; the others wait."""

    analyst: ScriptedAnalyst
    admitted: float = float("inf")
    arrived: int = 0

    async def __call__(self, request: dict[str, Any]) -> Any:
        self.arrived += 1
        number = self.arrived
        while number > self.admitted:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.002)
        return self.analyst(request)

    def admit(self, more: float) -> None:
        """Those who wait pass, and so many more that are still to come."""
        self.admitted = self.arrived + more


@pytest.fixture
def turnstile(analyst: ScriptedAnalyst) -> Turnstile:
    """Before the analyst, whose second draft is the first to pass."""
    analyst.passes_at = 2
    return Turnstile(analyst)


@pytest.fixture
def provider(turnstile: Turnstile) -> Iterator[ScriptedProvider]:
    with ScriptedProvider(turnstile) as server:
        yield server


def until(condition: Callable[[], object]) -> None:
    """Returns when `condition` holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@dataclass
class Scene:
    """An analysis, and what was on record when it was killed last."""

    bill: Path
    start: Start
    look: Look
    database: Engine
    provider: ScriptedProvider
    turnstile: Turnstile
    finished: dict[Any, Any] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    asked: int = 0

    def go_on(self) -> Command:
        """The run is resumed, or begun where there is none."""
        runs = self.look("SELECT id FROM runs")
        what = ("resume", runs[0]["id"]) if runs else ("analyze", self.bill)
        with patch.dict(os.environ, PGAPPNAME=COMMAND):
            return self.start(*what, "--bare", "--json")

    @contextmanager
    def no_writes_to(self, table: str) -> Iterator[None]:
        """Whoever writes to `table` waits; whoever reads it does not."""
        with self.database.connect() as connection:
            connection.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
            yield

    def kill(self, command: Command) -> None:
        """The process is gone as with its machine, and what it left behind is remembered.

        Postgres would still do what it was sent last, once it no longer has to wait.
        """
        command.kill()
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
        until(lambda: not self.look(ended, name=COMMAND))
        self.check_nothing_twice()
        self.finished, self.answered, self.asked = self.finished_steps(), self.answered_bodies(), len(self.provider.log)

    def check_nothing_twice(self) -> None:
        """Since the last kill nothing that was finished ran again, and nothing that was answered was asked again."""
        finished = self.finished_steps()
        assert {step: finished.get(step) for step in self.finished} == self.finished
        assert [served for served in self.provider.log[self.asked :] if served.sha256 in self.answered] == []

    def finished_steps(self) -> dict[Any, Any]:
        rows = self.look("SELECT id, attempts, completed_at FROM steps WHERE status = 'completed'")
        return {row["id"]: (row["attempts"], row["completed_at"]) for row in rows}

    def answered_bodies(self) -> set[str]:
        rows = self.look("""
            SELECT llm_bodies.request FROM llm_bodies JOIN llm_requests ON llm_requests.id = request_id
            WHERE status = 'succeeded'
        """)
        bodies = [orjson.loads(zlib.decompress(row["request"])) for row in rows]
        return {hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest() for body in bodies}

    def finish(self) -> tuple[int, int, int]:
        """The run goes on to its end, which is that of a run nobody killed; returns rows succeeded, unknown, and paid.

        The number paid is the provider's.
        """
        self.turnstile.admit(float("inf"))
        done = self.go_on().wait()
        assert (done.code, done.json["status"]) == (0, "completed")
        self.check_nothing_twice()
        rows = self.look("SELECT status, count(*) AS n FROM llm_requests GROUP BY status")
        assert {row["status"] for row in self.look("SELECT status FROM runs")} == {"completed"}
        assert len(self.look("SELECT id FROM bill_analyses")) == 1
        counts, paid = {row["status"]: row["n"] for row in rows}, self.provider.paid
        undisturbed = self.start("analyze", self.bill, "--bare", "--json", "--fresh").wait()
        assert comparable(done) == comparable(undisturbed)
        return counts["succeeded"], counts.get("unknown", 0), paid


def comparable(done: Done) -> Any:
    """What a report says, without the ids of the calls behind it."""
    names = ("bill", "analysis", "review", "passed", "quality_score", "research", "rounds")
    report = {name: done.json[name] for name in names}
    for part in ("review", "research"):
        report[part] = {name: value for name, value in report[part].items() if name != "readings"}
    return report


@pytest.fixture
def scene(
    bill: Path, start: Start, look: Look, database: Engine, provider: ScriptedProvider, turnstile: Turnstile
) -> Scene:
    return Scene(bill, start, look, database, provider, turnstile)


def test_killed_when_the_run_was_created_and_when_its_first_step_was_begun(scene: Scene) -> None:
    with scene.no_writes_to("steps"):
        command = scene.go_on()
        until(lambda: scene.look("SELECT id FROM runs"))
        scene.kill(command)
    with scene.no_writes_to("bills"):
        command = scene.go_on()
        until(lambda: scene.look("SELECT id FROM steps"))
        scene.kill(command)
    assert scene.finished == {}
    assert scene.finish() == (len(CALLS), 0, len(CALLS))


def test_killed_while_each_call_was_in_flight(scene: Scene) -> None:
    for call in range(len(CALLS)):
        before = scene.turnstile.arrived
        asked_again = min(call, 1)
        scene.turnstile.admit(asked_again)
        command = scene.go_on()
        until(lambda: scene.turnstile.arrived == before + asked_again + 1)  # noqa: B023 - called at once
        scene.kill(command)
        assert len(scene.answered) == call
    assert scene.finish() == (len(CALLS), len(CALLS), 2 * len(CALLS))


def test_killed_when_each_call_was_answered_and_not_settled(scene: Scene) -> None:
    for call in range(len(CALLS)):
        before = scene.turnstile.arrived
        asked_again = min(call, 1)
        scene.turnstile.admit(asked_again)
        command = scene.go_on()
        until(lambda: scene.turnstile.arrived == before + asked_again + 1)  # noqa: B023
        with scene.no_writes_to("llm_requests"):
            paid = scene.provider.paid
            scene.turnstile.admit(0)
            until(lambda: scene.provider.paid > paid)  # noqa: B023
            scene.kill(command)
        assert len(scene.answered) == call
    assert scene.finish() == (len(CALLS), len(CALLS), 2 * len(CALLS))


def test_killed_when_each_call_was_settled_and_its_step_not_completed(scene: Scene) -> None:
    for call in range(len(CALLS)):
        before = scene.turnstile.arrived
        scene.turnstile.admit(0)
        command = scene.go_on()
        until(lambda: scene.turnstile.arrived == before + 1)  # noqa: B023
        with scene.no_writes_to("steps"):
            scene.turnstile.admit(0)
            until(lambda: len(scene.answered_bodies()) > call)  # noqa: B023
            scene.kill(command)
    assert scene.finish() == (len(CALLS), 0, len(CALLS))


def test_killed_when_the_analysis_was_stored(scene: Scene) -> None:
    scene.turnstile.admit(len(CALLS) - 1)
    command = scene.go_on()
    until(lambda: scene.turnstile.arrived == len(CALLS))
    with scene.no_writes_to("runs"):
        scene.turnstile.admit(0)
        until(lambda: scene.look("SELECT id FROM bill_analyses"))
        scene.kill(command)
    assert len(scene.finished) == 8
    assert scene.finish() == (len(CALLS), 0, len(CALLS))


def test_killed_at_any_instant(scene: Scene) -> None:
    for milliseconds in range(30, 630, 60):
        command = scene.go_on()
        time.sleep(milliseconds / 1000)
        scene.kill(command)
    succeeded, unknown, paid = scene.finish()
    assert succeeded == len(CALLS)
    assert succeeded <= paid <= succeeded + unknown
