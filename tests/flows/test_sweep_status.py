# ruff: noqa: F811
"""How far a sweep is, as a user sees it: what failed and why, what was retried, and watched until it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from flows import sweep_watching
from flows.running import begun_runs
from schemas.sweep_results import SweepStatus
from tests.flows.conftest import Look, Run, Start
from tests.flows.test_sweep import USAGE, Writer, _until, provider, spec  # noqa: F401
from tests.scripted_provider import Reply
from tests.tasks.sweep.experiments import Planted, store_experiment


class Unsteady(Writer):
    """Overloaded as often as is said."""

    def __init__(self) -> None:
        super().__init__()
        self.overloaded = 0

    def __call__(self, request: dict[str, Any]) -> Reply:
        if request["temperature"] == 0 and self.overloaded:
            self.overloaded -= 1
            return Reply(status=503, text="overloaded")
        return super().__call__(request)


@pytest.fixture
def writer() -> Unsteady:
    return Unsteady()


def test_what_failed_and_what_came_after_a_retry_is_told(
    headrace: Run, look: Look, spec: Callable[..., Path], writer: Unsteady, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.ledger.retries.FIRST_PAUSE_SECONDS", 0.0)
    writer.overloaded, writer.fails = 1, lambda request: request["temperature"] == 1
    done = headrace("sweep", spec(response_count=2), "--yes", "--bare", "--json").json
    assert (done["stored"], done["failed"], done["retried"]) == (4, 2, 1)
    status = headrace("sweep-status", done["experiment_id"], "--json").json
    assert status["retried"] == 1
    (failed,) = status["failed_responses"]
    assert (failed["model"], failed["reason"], failed["responses"]) == ("gpt-4o-mini", "bad_input", 2)
    assert "HTTP status 400" in failed["message"]
    tries = {each["reason"]: each for each in status["failed_attempts"]}
    assert (tries["BadInput"]["attempts"], tries["BadInput"]["answered"]) == (2, 0)
    overloaded = tries["ProviderUnavailable"]
    assert (overloaded["attempts"], overloaded["responses"], overloaded["answered"]) == (1, 1, 1)
    told = headrace("sweep-status", done["experiment_id"]).out
    assert "1 came after a retry" in told
    assert "Responses that failed" in told
    assert "Attempts that failed" in told
    analysis = headrace("sweep-analysis", done["experiment_id"], "--json").json
    assert (analysis["responses"], analysis["failed"], analysis["retried"]) == (2, 2, 1)
    assert len(look("SELECT DISTINCT context ->> 'response_id' FROM llm_requests")) == 4


def test_what_was_answered_before_shows_what_that_saved(
    headrace: Run,
    look: Look,
    spec: Callable[..., Path],
) -> None:
    headrace("sweep", spec(), "--yes", "--bare", "--json")
    again = headrace("sweep", spec(), "--yes", "--bare", "--json").json
    once = Decimal(USAGE["prompt_tokens"]) * Decimal("0.15e-6") + Decimal(USAGE["completion_tokens"]) * Decimal(
        "0.6e-6"
    )
    assert (again["replayed"], Decimal(again["saved_usd"])) == (2, 2 * once)
    assert Decimal(headrace("sweep-status", again["experiment_id"], "--json").json["saved_usd"]) == 2 * once


def test_a_sweep_is_watched_until_it_ends(
    headrace: Run,
    start: Start,
    look: Look,
    spec: Callable[..., Path],
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hold(request: dict[str, Any]) -> bool:
        if request["temperature"] == 1:
            assert released.wait(60)
        return False

    writer.fails = hold
    sweep = start("sweep", spec(), "--yes", "--bare", "--json")
    _until(lambda: look("SELECT id FROM responses"))
    seen: list[SweepStatus] = []
    really_look = sweep_watching.look_at_sweep

    async def look_and_go_on(*said: Any) -> SweepStatus:
        seen.append(await really_look(*said))
        released.set()
        return seen[-1]

    monkeypatch.setattr(sweep_watching, "look_at_sweep", look_and_go_on)
    monkeypatch.setattr(sweep_watching, "SECONDS", 0.05)
    watched = headrace("sweep-status", "sweep", "--watch")
    assert sweep.wait().code == watched.code == 0
    assert (seen[0].status, seen[0].completed_calls) == ("running", 1)
    assert (seen[-1].status, seen[-1].completed_calls) == ("completed", 2)
    assert "sweep: running, 50.0 %; 1 of 2 answers" in watched.err
    assert "sweep: completed, 100.0 %" in watched.out


def test_watching_is_interrupted_in_order_and_leaves_the_sweep_alone(
    headrace: Run, start: Start, look: Look, spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start("sweep", spec(), "--yes", "--bare", "--json").wait()
    look("UPDATE experiments SET status = 'pending'")
    begun_runs.clear()  # of commands that ran in this process before
    really_look = sweep_watching.look_at_sweep

    async def look_and_interrupt(*said: Any) -> SweepStatus:
        signal.raise_signal(signal.SIGINT)
        return await really_look(*said)

    monkeypatch.setattr(sweep_watching, "look_at_sweep", look_and_interrupt)
    watched = headrace("sweep-status", "sweep", "--watch")
    assert (watched.code, watched.reason) == (130, "headrace: interrupted")
    assert look("SELECT status FROM experiments") == [{"status": "pending"}]


def test_nobody_to_ask_is_refused_before_anything_is_paid(
    headrace: Run,
    look: Look,
    spec: Callable[..., Path],
    provider: Any,
) -> None:
    done = headrace("sweep", spec())
    assert done.code == 2
    assert "--yes" in done.reason
    assert provider.paid == 0
    assert look("SELECT id FROM llm_requests") == []


def test_a_pace_that_leads_to_no_day_is_no_estimate(headrace: Run, look: Look, database: Engine) -> None:
    store_experiment(database, Planted(temperatures=(0.1,), top_ps=(1.0,), repeats=1))
    look("UPDATE experiments SET status = 'running', total_calls = 10000000")
    look("UPDATE responses SET created_at = created_at + interval '30 days' WHERE id = 'planted/00001'")
    done = headrace("sweep-status", "planted", "--json")
    assert (done.code, done.json["status"], done.json["estimated_completion"]) == (0, "running", None)
