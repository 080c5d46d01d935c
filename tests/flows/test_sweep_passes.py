# ruff: noqa: F811
"""Answers of a sweep measured by embeddings and judged in pairs, as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Look, Run, Start
from tests.flows.test_sweep import USAGE, Writer, _until, provider, spec  # noqa: F401
from tests.scripted_provider import Reply, ScriptedProvider
from tests.tasks.sweep.test_judging import longer, shown

JUDGED: dict[str, Any] = {
    "name": "judged",
    "prompt": ["How does a lock work?", "What is a weir?"],
    "response_count": 2,
    "judge": {"model": "gpt-4o", "opponents": 2},
    "meaning": "text-embedding-3-small",
}
PAIRS = 2 * 4
"""Of two prompts with four answers each: in a circle, each meets the next."""


class Author(Writer):
    """Writes answers that differ in length, and judges by it; `breaks` says when the judge is out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.judged = 0
        self.breaks: Callable[[int], bool] = lambda number: False

    def __call__(self, request: dict[str, Any]) -> Reply:
        if request["model"] == "gpt-4o":
            self.judged += 1
            if self.breaks(self.judged):
                return Reply(status=401, text="no such key")
            return Reply(longer(request), usage=USAGE)
        reply = super().__call__(request)
        return Reply(f"{reply.text} {'It floats. ' * (self.number % 5)}", usage=USAGE)


@pytest.fixture
def writer() -> Author:
    return Author()


def test_answers_are_measured_and_judged_and_the_judges_agreement_is_told(
    headrace: Run, look: Look, spec: Callable[..., Path], provider: ScriptedProvider, writer: Author
) -> None:
    done = headrace("sweep", spec(**JUDGED), "--yes", "--bare", "--json")
    assert done.code == 0
    judge, meaning = done.json["judge"], done.json["meaning"]
    assert (judge["model"], judge["analysis_version"]) == ("gpt-4o", "judge-1+gpt-4o")
    assert (judge["pairs"], judge["judged"], judge["unjudged"]) == (PAIRS, PAIRS, 0)
    assert (judge["swapped"]["raw"], judge["swapped"]["pairs"]) == (1.0, PAIRS)
    assert judge["overall"]["pairs"] <= PAIRS
    assert (meaning["answers"], meaning["measured"]) == (8, 8)
    assert set(meaning["means"]) == {"topic_coherence", "prompt_coverage"}
    versions = look("SELECT analysis_version, count(*) AS n FROM quality_metrics GROUP BY 1 ORDER BY 1")
    assert versions == [
        {"analysis_version": "headrace-1", "n": 8 * 7},
        {"analysis_version": "headrace-1+text-embedding-3-small", "n": 8 * 2},
        {"analysis_version": "judge-1+gpt-4o", "n": 8},
    ]
    (counted,) = look("""
        SELECT count(*) AS n, count(forward_request_id) AS forward, count(DISTINCT backward_request_id) AS backward
        FROM judge_verdicts WHERE forward = backward
    """)
    assert counted["n"] == PAIRS
    assert judge["calls"] == writer.judged
    told = headrace("sweep-status", "judged").out
    assert f"{PAIRS} of {PAIRS} pairs judged by gpt-4o" in told
    assert "with the answers swapped the judge agrees with itself on 100 % of 8 pairs" in told
    analysis = headrace("sweep-analysis", "judged", "--json").json
    assert {"overall", "judge", "topic_coherence", "prompt_coverage"} <= set(analysis["metrics"])
    alone = headrace("sweep-analysis", "judged", "--analysis-version", "judge-1+gpt-4o", "--json").json
    assert alone["metrics"] == ["judge"]

    paid = provider.paid
    again = headrace("sweep", spec(**JUDGED), "--yes", "--bare", "--json").json
    assert (again["judge"]["judged"], again["judge"]["calls"], provider.paid) == (PAIRS, 0, paid)


def test_longer_answers_that_the_judge_prefers_score_higher(
    headrace: Run, look: Look, spec: Callable[..., Path]
) -> None:
    headrace("sweep", spec(**JUDGED), "--yes", "--bare", "--json")
    verdicts = look("""
        SELECT forward, length(first.content) > length(second.content) AS longer
        FROM judge_verdicts JOIN responses AS first ON first.id = first_id
        JOIN responses AS second ON second.id = second_id WHERE length(first.content) <> length(second.content)
    """)
    assert verdicts
    assert all((each["forward"] == "first") == each["longer"] for each in verdicts)
    scores = look("""
        SELECT score FROM quality_metrics JOIN responses ON responses.id = response_id
        WHERE metric = 'judge' AND responses.prompt = 'What is a weir?' ORDER BY length(content)
    """)
    assert scores[0]["score"] < 0.5 < scores[-1]["score"]


def test_a_judge_that_fails_ends_the_run_which_goes_on_where_it_was(
    headrace: Run, look: Look, spec: Callable[..., Path], provider: ScriptedProvider, writer: Author, settings: Any
) -> None:
    writer.breaks = lambda number: number > 6
    ended = headrace("sweep", spec(**JUDGED), "--yes", "--bare", "--json")
    assert (ended.code, ended.json["status"]) == (2, "failed")
    (run,) = look("SELECT id, status FROM runs")
    assert run["status"] == "failed"
    answered = look("SELECT count(*) AS n FROM llm_requests WHERE purpose = 'judging' AND status = 'succeeded'")
    assert 1 <= answered[0]["n"] <= 6
    writer.breaks = lambda number: False
    done = headrace("resume", run["id"], "--bare", "--json")
    assert (done.code, done.json["judge"]["judged"]) == (0, PAIRS)
    (asked,) = look("""
        SELECT count(*) AS n, count(DISTINCT answer_key) AS keys FROM llm_requests
        WHERE purpose = 'judging' AND status = 'succeeded'
    """)
    assert asked["n"] == asked["keys"] <= 2 * PAIRS


def test_the_wall_of_the_spec_holds_for_the_judge_too(
    headrace: Run, look: Look, spec: Callable[..., Path], writer: Author
) -> None:
    wall = headrace("sweep", spec(**JUDGED, max_cost_usd="0.0045"), "--yes", "--bare", "--json")
    assert wall.code == 3
    (spent,) = look("SELECT sum(cost_usd) AS usd FROM llm_requests")
    assert spent["usd"] <= Decimal("0.0045")
    assert look("SELECT count(*) AS n FROM responses WHERE status = 'succeeded'") == [{"n": 8}]
    assert writer.judged < 2 * PAIRS


def test_a_sweep_killed_while_it_is_judged_pays_no_verdict_twice(
    start: Start, look: Look, spec: Callable[..., Path], provider: ScriptedProvider, writer: Author
) -> None:
    path = spec(**{**JUDGED, "response_count": 10})
    command = start("sweep", path, "--yes", "--bare", "--json")
    _until(lambda: look("SELECT id FROM llm_requests WHERE purpose = 'judging' AND status = 'succeeded' LIMIT 1"))
    command.kill()
    (in_flight,) = look("SELECT count(*) AS n FROM llm_requests WHERE status = 'reserved'")
    done = start("resume", look("SELECT id FROM runs")[0]["id"], "--bare", "--json").wait()
    assert (done.code, done.json["judge"]["judged"]) == (0, 2 * 20)
    assert len(look("SELECT first_id FROM judge_verdicts")) == 2 * 20
    assert writer.judged <= 2 * 2 * 20 + in_flight["n"]


def test_the_plan_counts_the_judge_and_the_embeddings(headrace: Run, spec: Callable[..., Path]) -> None:
    plan = headrace("sweep", spec(**JUDGED), "--estimate", "--json").json
    judge, meaning = plan["judge"], plan["meaning"]
    assert (judge["model"], judge["calls"], meaning["model"]) == ("gpt-4o", 2 * PAIRS, "text-embedding-3-small")
    assert judge["input_tokens"] > 2 * PAIRS * 2 * USAGE["completion_tokens"]
    assert Decimal(judge["cost_usd"]) < Decimal(judge["most_usd"])
    assert meaning["input_tokens"] >= 8 * USAGE["completion_tokens"]
    parts = [*plan["models"], judge, meaning]
    assert plan["input_tokens"] == sum(part["input_tokens"] for part in parts)
    of_answers = Decimal(plan["models"][0]["most_usd"]) * (8 - plan["answered"]) / 8
    whole = of_answers + Decimal(judge["most_usd"]) + Decimal(meaning["most_usd"])
    assert Decimal(plan["most_usd"]) == pytest.approx(whole)
    told = headrace("sweep", spec(**JUDGED), "--estimate", "--no-probe").out
    assert "gpt-4o (judge)" in told
    assert "text-embedding-3-small (meaning)" in told


@pytest.mark.parametrize(("said", "reason"), [({"opponents": 0}, "judge.opponents"), ([1], "judge"), ("", "judge")])
def test_a_judge_that_cannot_be_is_refused(headrace: Run, spec: Callable[..., Path], said: Any, reason: str) -> None:
    done = headrace("sweep", spec(judge=said), "--yes", "--bare")
    assert done.code == 2
    assert reason in done.reason


def test_what_the_judge_is_shown_are_two_answers(headrace: Run, spec: Callable[..., Path], provider: Any) -> None:
    headrace("sweep", spec(**JUDGED), "--yes", "--bare", "--json")
    asked = [served.body for served in provider.log if served.body.get("model") == "gpt-4o"]
    assert asked
    assert all(all(text.startswith("The gates of lock") for text in shown(body)) for body in asked)
    assert json.dumps(asked[0]["response_format"])
