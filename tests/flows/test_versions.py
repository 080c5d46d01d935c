"""`headrace versions`, `ab-test` and `feedback-stats`, as people and machines meet them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from flows.ab_report import as_markdown
from flows.ab_testing import report_ab_test
from flows.running import run_flow
from schemas.settings import Settings
from tests.flows.conftest import Look, Run
from tests.tasks.versions.rows import call, rating, store

SMALL, LARGE = "gpt-4o-mini", "gpt-4o"


def test_versions_are_registered_promoted_rolled_back_and_listed(headrace: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b'{"a": 1}\n\n{"b": 2}')
    empty = headrace("versions", "list")
    assert empty.out == "no version is registered: headrace versions register PURPOSE MODEL\n"
    assert headrace("versions", "register", "radar", SMALL).out == f"version 1 of radar is {SMALL}\n"
    made = headrace("versions", "register", "radar", LARGE, "--training-file", rows, "--base", SMALL, "--json").json
    assert (made["status"], made["number"], made["training_rows"], made["base_model"]) == ("completed", 2, 2, SMALL)
    for number in (1, 2):
        assert headrace("versions", "promote", "radar", number).code == 0
    assert headrace("versions", "rollback", "radar").out == f"version 1 of radar, {SMALL}, is in charge again\n"
    refused = headrace("versions", "rollback", "radar", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "bad_input")
    lines = headrace("versions", "list", "radar").out.splitlines()
    assert [line.split()[:3] for line in lines if line.strip().startswith("radar")] == [
        ["radar", "1", SMALL], ["radar", "2", LARGE],
    ]  # fmt: skip
    assert "in charge" in lines[2]
    assert "rows.jsonl" in lines[3]
    found = headrace("versions", "list", "--json").json
    assert [each["in_charge"] for each in found["versions"]] == [True, False]


def test_a_test_is_created_asked_listed_and_stopped(headrace: Run) -> None:
    headrace("versions", "register", "radar", SMALL)
    began = headrace(
        "ab-test", "create", "newer", "--purpose", "radar", "--variant", "old=1", "--variant", f"new={LARGE}",
        "--weight", 3, "--weight", 1,
    )  # fmt: skip
    assert began.out == f"newer on radar, running: old 75 % {SMALL}, new 25 % {LARGE}\n"
    who = headrace("ab-test", "assign", "newer", "ada", "--json").json
    assert headrace("ab-test", "assign", "newer", "ada").out == f"ada has {who['variant']} ({who['model']})\n"
    assert headrace("ab-test", "create", "own", "--variant", "a", "--variant", "b", "--json").json["purpose"] is None
    assert headrace("ab-test", "stop", "newer").out.startswith("newer on radar, stopped ")
    assert headrace("ab-test", "assign", "newer", "ada").out.endswith("; the test is stopped\n")
    assert len(headrace("ab-test", "list").out.splitlines()) == 2
    assert [each["name"] for each in headrace("ab-test", "list", "--json").json["tests"]] == ["newer", "own"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--variant", "a", "--variant", "b", "--weight", "1"], "there are 2 variants and 1 weights"),
        (["--variant", "a", "--variant", "b b"], "variant 'b b': name"),
        (["--variant", "a", "--variant", "b", "--weight", "1", "--weight", "0"], "variant 'b': weight"),
        (["--variant", "a"], "two variants or more"),
    ],
)
def test_a_test_that_is_none_is_bad_usage(headrace: Run, arguments: list[str], why: str) -> None:
    done = headrace("ab-test", "create", "t", *arguments)
    assert (done.code, why in done.reason) == (2, True)


@pytest.fixture
def pleased(headrace: Run, database: Engine, look: Look) -> None:
    """A test of four days in which the new variant pleases 9 in 10, the old one 5 in 10."""
    headrace(
        "ab-test", "create", "newer", "--purpose", "radar", "--variant", f"old={SMALL}", "--variant", f"new={LARGE}",
        "--effect", 0.2,
    )  # fmt: skip
    look("UPDATE ab_tests SET started_at = now() - interval '4 days'")
    calls, ratings = [], []
    for number in range(400):
        moment = datetime.now(UTC) - timedelta(days=3.5 - number // 100)
        variant, positive = ("old", number % 4 == 0) if number % 2 == 0 else ("new", number % 20 != 1)
        calls.append(call(moment, f"user-{number}", {"newer": variant}, latency_ms=400 + 200 * (number % 2)))
        ratings.append(rating(calls[-1], "positive" if positive else "negative", moment))
    store(database, calls, ratings)


@pytest.mark.usefixtures("pleased")
def test_a_report_says_which_is_better_since_when_and_what_it_costs(headrace: Run, look: Look) -> None:
    done = headrace("ab-test", "report", "newer")
    assert done.code == 0, done.err
    (sentence,) = [line for line in done.out.splitlines() if line.startswith("new against old")]
    assert "+40.0 points (+" in sentence
    assert sentence.split(". ")[-1].startswith("new is better, established on 20")
    assert "50.0% (43.1% to 56.9%)" in done.out  # Wilson, 100 of 200
    assert "400 ms (400 ms to 400 ms)" in done.out
    assert "confidence sequence" in done.out
    report = headrace("ab-test", "report", "newer", "--json").json
    assert [each["first_positive"] for each in report["variants"]] == [100, 180]
    assert report["comparisons"][0]["verdict"] == "better"
    runs = look("SELECT flow, status, result FROM runs ORDER BY started_at")
    assert [(run["flow"], run["status"]) for run in runs] == [("ab-report", "completed")] * 2
    assert runs[1]["result"]["run_id"] == report["run_id"]


@pytest.mark.usefixtures("pleased")
def test_the_artifact_has_the_same_tables(settings: Settings) -> None:
    report = asyncio.run(run_flow(report_ab_test, {"test": "newer"}, bare=True))
    page = as_markdown(report)
    assert page.startswith("# newer\n")
    assert "| old | gpt-4o-mini | 200 | 200 | 100 | 50.0% (43.1% to 56.9%) |" in page
    assert "new is better" in page


def test_a_test_that_has_hardly_begun_says_what_is_missing(headrace: Run, database: Engine) -> None:
    headrace("ab-test", "create", "own", "--variant", "a", "--variant", "b", "--effect", 0.1)
    done = headrace("ab-test", "report", "own")
    assert "b against a: too few users have rated to say anything." in done.out
    needed = headrace("ab-test", "report", "own", "--json").json["comparisons"][0]["needed"]
    assert f"{needed} of the {needed} rated users for a difference of 10 points" in done.out
    assert headrace("ab-test", "report", "none").code == 2


@pytest.mark.usefixtures("pleased")
def test_an_open_test_with_a_wrong_division_warns(headrace: Run, database: Engine, look: Look) -> None:
    look("DELETE FROM feedback WHERE rating = 'negative'")
    look("UPDATE llm_requests SET cost_usd = NULL WHERE context #>> '{ab_tests,newer}' = 'old' AND user_id < 'user-2'")
    look("DELETE FROM llm_requests WHERE context #>> '{ab_tests,newer}' = 'new' AND user_id > 'user-2'")
    done = headrace("ab-test", "report", "newer")
    assert "Warning: users are not divided as the weights say (old 200, new " in done.out
    assert "Warning: no cost is known of " in done.out


def test_satisfaction_is_shown_by_week_model_and_type(headrace: Run, database: Engine) -> None:
    nobody = headrace("feedback-stats")
    assert nobody.out == "nobody has rated an answer of then; --unrated lists those there are\n"
    moment = datetime(2026, 3, 4, tzinfo=UTC)
    calls = [call(moment, f"user-{number}") for number in range(10)]
    calls.append(call(moment, "eve", model_version="radar/2", insight_type=None))
    store(
        database,
        calls,
        [rating(each, "positive" if place < 9 else "neutral", moment) for place, each in enumerate(calls)],
    )
    lines = headrace("feedback-stats").out.splitlines()
    assert lines[2].split()[:9] == ["2026-03-02", SMALL, "radar", "10", "10", "10", "9", "0", "1"]
    assert lines[2].rstrip().endswith("90% (60% to 98%)")
    assert "gpt-4o-mini (radar/2)" in lines[3]
    found = headrace("feedback-stats", "--since", "2026-03-01", "--period", "month", "--json").json
    assert [line["period"] for line in found["lines"]] == ["2026-03-01", "2026-03-01"]


def test_a_setting_that_names_a_purpose_is_no_trouble(headrace: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CHAT_MODEL", "version:radar")
    found = headrace("models", "--json").json
    assert "version:radar" not in [model["name"] for model in found["models"]]
    lines = headrace("doctor").out
    assert "headrace versions list radar" in " ".join(lines.split())
