"""The benchmarks as far as they go without their own environment: what they compute, and that Headrace's turn works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.analysis import TURN_SECONDS, read_arguments
from benchmarks.contestant import MODULES
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
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.contestant", trial.model_dump_json()],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PREFECT_"))},
        capture_output=True,
        text=True,
        timeout=TURN_SECONDS,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["transport"] == "aiohttp"
    record = read_ledger(database_url, trial.project)
    assert record.faults(documents=5, calls=20, paid=provider.paid) == []  # the two of the warm-up are on record too
    (missing,) = record.faults(documents=5, calls=20, paid=21)
    assert missing == "21 answers were paid for, 20 rows succeeded"
