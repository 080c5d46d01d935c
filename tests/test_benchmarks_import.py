"""The benchmarks as far as they go without their own environment: what they compute, and that Headrace's turn works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from benchmarks.analysis import TURN_SECONDS, read_arguments
from benchmarks.calls import CallMeasurement, CallTrial
from benchmarks.contestant import MODULES
from benchmarks.pace import PaceMeasurement, PaceTrial, percentile
from benchmarks.records import read_ledger
from benchmarks.results import Turn, compare_with_aims, disagreements, ratio, summarize
from benchmarks.trial import NAMES, TITLES, Measurement, Name, Trial
from benchmarks.workload import QUESTIONS, Finding, document, question
from tests.scripted_provider import ScriptedProvider

ROOT = Path(__file__).parents[1]


def turn(contestant: Name, repeat: int, milliseconds: float, *, latency_ms: float = 0.0, answers: str = "a") -> Turn:
    measured = Measurement(
        milliseconds=milliseconds,
        cpu_milliseconds=milliseconds / 2,
        imported_mib=80,
        peak_mib=100,
        transport="aiohttp",
        answers=answers,
    )
    return Turn(
        contestant=contestant,
        latency_ms=latency_ms,
        repeat=repeat,
        measured=measured,
        servers_cpu_milliseconds=1.0,
        paid=8,
    )


def last_line(module: str, trial: BaseModel) -> str:
    """What the process of a turn printed last."""
    done = subprocess.run(
        [sys.executable, "-m", module, trial.model_dump_json()],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PREFECT_"))},
        capture_output=True,
        text=True,
        timeout=TURN_SECONDS,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_a_ratio_is_the_median_of_the_ratios_within_each_repeat() -> None:
    turns = [turn("bare", 0, 10), turn("bare", 1, 100), turn("bare", 2, 10)]
    turns += [turn("headrace", 0, 20), turn("headrace", 1, 110), turn("headrace", 2, 30)]
    assert ratio(turns, 0.0, "headrace", "bare") == pytest.approx(2.0)  # of 2.0, 1.1 and 3.0
    assert ratio(turns, 0.0, "headrace", "langgraph") is None
    row = next(row for row in summarize(turns) if row.contestant == "headrace")
    assert (row.milliseconds, row.least_milliseconds, row.to_langgraph) == (30, 20, None)


def test_an_aim_is_compared_only_where_both_sides_took_part() -> None:
    turns = [turn("langgraph", 0, 20), turn("headrace", 0, 19)]
    (aim,) = compare_with_aims(turns)
    assert (aim.contestant, aim.to, aim.reached) == ("headrace", "langgraph", True)
    assert aim.ratio == pytest.approx(0.95)


def test_different_findings_in_one_repeat_are_reported() -> None:
    same = [turn("bare", 0, 10), turn("headrace", 0, 10), turn("headrace", 1, 10, answers="b")]
    assert disagreements(same) == []
    (said,) = disagreements([*same, turn("bare", 1, 10)])
    assert "repeat 1" in said


def test_each_question_holds_the_answer_before_it_and_no_two_documents_ask_the_same() -> None:
    finding = Finding(summary="Rents are capped.", affected=["tenants"], amounts_usd=[12.5], confidence=0.5)
    first, other = document("one"), document("two")
    assert first.text != other.text
    assert finding.model_dump_json() in question(1, first.text, finding)
    assert len({question(number, first.text, finding) for number in range(len(QUESTIONS))}) == len(QUESTIONS)


def test_every_contestant_has_a_module_and_a_title() -> None:
    assert set(MODULES) == set(TITLES) == set(NAMES)
    assert all((ROOT / "benchmarks" / "contestants" / f"{name}.py").exists() for name in MODULES.values())


def test_a_missing_peer_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["analysis", "--json", "--contestants", "bare", "langgraph"])
    monkeypatch.setattr("benchmarks.analysis.find_spec", lambda name: None)
    plan, as_json = read_arguments()
    assert (plan.contestants, as_json) == (["bare"], True)
    assert "LangGraph is not installed" in capsys.readouterr().err


def test_headrace_takes_its_turn_and_leaves_a_complete_record(
    database_url: str, provider: ScriptedProvider, tmp_path: Path
) -> None:
    trial = Trial(
        contestant="headrace",
        label="test",
        documents=3,
        at_once=2,
        home=str(tmp_path),
        provider_url=provider.url,
        checkpoint_database="",
        ledger_database=database_url,
    )
    measured = json.loads(last_line("benchmarks.contestant", trial))
    assert measured["transport"] == "aiohttp"
    record = read_ledger(database_url, trial.project)
    assert record.faults(documents=5, calls=20, paid=provider.paid) == []  # the two of the warm-up are on record too
    (missing,) = record.faults(documents=5, calls=20, paid=21)
    assert missing == "21 answers were paid for, 20 rows succeeded"


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (100, 198, 7)


def test_bare_aiohttp_and_headrace_are_answered_alike(
    database_url: str, provider: ScriptedProvider, tmp_path: Path
) -> None:
    trial = CallTrial(
        caller="aiohttp",
        label="test",
        calls=6,
        at_once=3,
        home=str(tmp_path),
        provider_url=provider.url,
        ledger_database=database_url,
    )
    bare = CallMeasurement.model_validate_json(last_line("benchmarks.calls", trial))
    assert provider.paid == 9
    own = trial.model_copy(update={"caller": "headrace"})
    assert CallMeasurement.model_validate_json(last_line("benchmarks.calls", own)).answers == bare.answers
    assert provider.paid == 18


def test_a_pace_is_kept_for_commits_and_calls(database_url: str, provider: ScriptedProvider, tmp_path: Path) -> None:
    trial = PaceTrial(
        home=str(tmp_path),
        provider_url=provider.url,
        ledger_database=database_url,
        label="test",
        calls_a_second=200,
        seconds=0.2,
    )
    measured = PaceMeasurement.model_validate_json(last_line("benchmarks.pace", trial))
    assert (measured.calls, provider.paid) == (40, 2 * 240)  # bare calls, and two warm-ups of both, are answered too
    assert 0 < measured.added_median_ms <= measured.added_p99_ms
