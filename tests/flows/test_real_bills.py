"""The real bills, each analysed to its end; they are no part of the project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.analysis import analyze_bills
from flows.running import run_flow
from schemas.settings import Settings
from tests.conftest import shared_data
from tests.flows.analyst import Prompt, ScriptedAnalyst, cite, impact
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look
from tests.scripted_provider import ScriptedProvider

LONGEST = "WA-2021-HB1210-S2.txt"
BOUND_KIB = 300 * 1024


@pytest.fixture
def provider(analyst: ScriptedAnalyst) -> Iterator[ScriptedProvider]:
    """Forgets what it was asked: the bills are long."""
    with ScriptedProvider(analyst, keep_bodies=False) as server:
        yield server


@pytest.fixture
def bills() -> list[Path]:
    """The thirty bills."""
    return sorted(shared_data("bills").glob("*.txt"))


async def test_every_real_bill_is_analysed_and_stored_without_loss(
    bills: list[Path], settings: Settings, look: Look, provider: ScriptedProvider
) -> None:
    outcomes = await run_flow(analyze_bills, {"sources": [str(path) for path in bills], "at_once": 4}, bare=True)
    assert [(Path(item.source).name, item.status, item.error) for item in outcomes] == [
        (path.name, "completed", None) for path in bills
    ]
    joined = look("""
        SELECT bills.source, string_agg(bill_sections.text, '' ORDER BY ordinal) AS sections, bills.text
        FROM bills JOIN bill_sections ON bill_sections.bill_id = bills.id GROUP BY bills.id
    """)
    assert {row["source"] for row in joined} == {str(path) for path in bills}
    for row in joined:
        assert row["sections"] == row["text"] == text_of(row["source"])
    reports = [item.report for item in outcomes]
    assert all(report.coverage.complete for report in reports)
    assert all(item.located for report in reports for item in report.analysis.evidence)
    assert provider.paid == len(look("SELECT id FROM llm_requests WHERE status = 'succeeded'"))


def text_of(path: str) -> str:
    return Path(path).read_text().replace("\r\n", "\n")


def quoted(prompt: Prompt) -> list[dict[str, Any]]:
    """Impacts that quote in words, one of them words that stand nowhere: both kinds are looked up."""
    *found, last = prompt.sections[:3]
    invented = cite(last[1], "every grower receives a free greenhouse from the state each spring")
    return [*(impact(title, cite(number, said)) for title, number, said in found), impact(last[0], invented)]


def test_the_longest_bill_is_analysed_in_bounded_memory(
    bills: list[Path], settings: Settings, analyst: ScriptedAnalyst
) -> None:
    analyst.impacts = quoted
    path = next(path for path in bills if path.name == LONGEST)
    assert path.stat().st_size == 731_397
    program = [sys.executable, "-m", "tests.flows.memory_probe", str(path)]
    done = subprocess.run(program, cwd=PROJECT, capture_output=True, text=True, check=True)
    imported, most = map(int, done.stdout.split())
    assert most - imported <= BOUND_KIB
